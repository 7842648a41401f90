//! Rule `module-docs`: every source opens with `//!` docs that say what it is, and parses.

use super::{Report, Rule, Tree};

pub(super) const RULE: Rule =
    Rule { name: "module-docs", refuses: "a source that does not open with `//!` docs, or does not parse", run };

fn run(tree: &Tree, report: &mut Report) {
    for source in &tree.sources {
        if let Some(error) = &source.error {
            report.error(&source.path, 0, format!("cannot be parsed: {error}"));
        } else if !source.has_docs {
            report.error(&source.path, 1, "start the file with `//!` and one sentence that says what it holds");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    #[test]
    fn a_file_without_docs_is_found() {
        assert_eq!(findings_of(&RULE, &[("crates/flow/src/a.rs", "//! What it holds.\n")]), [""; 0]);
        assert!(findings_of(&RULE, &[("crates/flow/src/a.rs", "// What it holds.\n")])[0].contains("one sentence"));
        assert!(findings_of(&RULE, &[("crates/flow/tests/a.rs", "use a::b;\n")])[0].contains("one sentence"));
        assert!(findings_of(&RULE, &[("crates/flow/src/a.rs", "fn {")])[0].contains("cannot be parsed"));
    }
}
