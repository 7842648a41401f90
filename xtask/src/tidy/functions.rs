//! Rule `functions`: a function fits on a screen. 70 lines at most, from its signature to its closing brace.

use super::{Report, Rule, Tree};

pub(super) const RULE: Rule =
    Rule { name: "functions", refuses: "a function of more than 70 lines outside of tests", run };

const MAX_LINES: usize = 70;

fn run(tree: &Tree, report: &mut Report) {
    for source in &tree.sources {
        for function in &source.functions {
            let (start, end) = (*function.lines.start(), *function.lines.end());
            let lines = end + 1 - start;
            if lines > MAX_LINES && !source.is_test_line(start) {
                let message = format!(
                    "function `{}` has {lines} lines; the limit is {MAX_LINES}: branch here, compute in helpers",
                    function.name
                );
                report.error(&source.path, start, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    fn check(before: &str, body_lines: usize) -> Vec<String> {
        let text = format!("{before}fn f() {{\n{}}}\n", "    g();\n".repeat(body_lines));
        findings_of(&RULE, &[("crates/flow/src/a.rs", text.as_str())])
    }

    #[test]
    fn the_limit_holds_to_the_line() {
        assert_eq!(check("/// Docs do not\n/// count.\n#[inline]\n", MAX_LINES - 2), [""; 0]);
        assert!(check("", MAX_LINES - 1)[0].contains("function `f` has 71 lines"));
    }

    #[test]
    fn methods_and_default_methods_count_and_tests_do_not() {
        let body = "    g();\n".repeat(MAX_LINES);
        for text in [format!("impl A {{ fn f() {{\n{body}}}\n}}\n"), format!("trait A {{ fn f() {{\n{body}}}\n}}\n")] {
            assert_eq!(findings_of(&RULE, &[("crates/flow/src/a.rs", text.as_str())]).len(), 1);
        }
        assert_eq!(check("#[test]\n", MAX_LINES), [""; 0]);
    }
}
