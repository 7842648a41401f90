//! Rule `file-size`: one idea per file. 400 lines without tests warn, 600 fail; there is no list of exceptions.

use super::{Place, Report, Rule, Tree};

pub(super) const RULE: Rule =
    Rule { name: "file-size", refuses: "a source of more than 600 lines without its tests (warns from 400)", run };

const WARN_LINES: usize = 400;
const MAX_LINES: usize = 600;

fn run(tree: &Tree, report: &mut Report) {
    for source in tree.sources.iter().filter(|source| source.place != Place::Test) {
        let lines = source.lines_without_tests();
        if lines > MAX_LINES {
            let message =
                format!("{lines} lines without tests; the limit is {MAX_LINES}: split it by idea, not by helper");
            report.error(&source.path, 0, message);
        } else if lines > WARN_LINES {
            report.warning(
                &source.path,
                0,
                format!("{lines} lines without tests; from {WARN_LINES} on look for a second idea"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    fn check(lines: usize, tests: usize) -> Vec<String> {
        let text = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "const A: u8 = 0;\n".repeat(lines),
            "    const B: u8 = 0;\n".repeat(tests)
        );
        findings_of(&RULE, &[("crates/flow/src/a.rs", text.as_str())])
    }

    #[test]
    fn the_limits_hold_to_the_line_and_tests_do_not_count() {
        assert_eq!(check(WARN_LINES, 900), [""; 0]);
        assert!(check(WARN_LINES + 1, 0)[0].contains("second idea"));
        assert!(check(MAX_LINES, 0)[0].contains("second idea"));
        assert!(check(MAX_LINES + 1, 0)[0].contains("the limit is 600"));
    }

    #[test]
    fn a_file_of_tests_has_no_limit() {
        let text = "const A: u8 = 0;\n".repeat(MAX_LINES + 1);
        assert_eq!(findings_of(&RULE, &[("crates/flow/tests/a.rs", text.as_str())]), [""; 0]);
    }
}
