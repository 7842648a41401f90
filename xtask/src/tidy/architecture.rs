//! Rule `architecture`: ARCHITECTURE.md can be read in one sitting, and its invariants are numbered without gaps.

use super::{Report, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "architecture",
    refuses: "an ARCHITECTURE.md of more than 300 lines, or with invariants that are not numbered A1, A2, ...",
    run,
};

const DOCUMENT: &str = "ARCHITECTURE.md";
const MAX_LINES: usize = 300;

fn run(tree: &Tree, report: &mut Report) {
    let Some(text) = tree.text(DOCUMENT) else {
        report.error(DOCUMENT, 0, "the document is missing");
        return;
    };
    let lines = text.lines().count();
    if lines > MAX_LINES {
        let message = format!("{lines} lines; the limit is {MAX_LINES}: move detail into module docs");
        report.error(DOCUMENT, MAX_LINES, message);
    }
    let mut expected = 1;
    for (at, line) in text.lines().enumerate() {
        let Some(number) = invariant_number(line) else { continue };
        if number != expected {
            report.error(DOCUMENT, at + 1, format!("invariant A{number} stands where A{expected} is due"));
        }
        expected = number + 1;
    }
    if expected == 1 {
        report.error(DOCUMENT, 0, "there are no invariants; each is a line that starts with `- **A1**`");
    }
}

/// The number in `- **A7** ...`.
fn invariant_number(line: &str) -> Option<usize> {
    line.strip_prefix("- **A")?.split_once("**")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    #[test]
    fn a_long_document_is_found() {
        let long = format!("- **A1** x\n{}", "line\n".repeat(MAX_LINES));
        assert!(findings_of(&RULE, &[(DOCUMENT, long.as_str())])[0].contains("301 lines"));
        let fits = format!("- **A1** x\n{}", "line\n".repeat(MAX_LINES - 1));
        assert_eq!(findings_of(&RULE, &[(DOCUMENT, fits.as_str())]), [""; 0]);
    }

    #[test]
    fn a_gap_in_the_numbers_is_found() {
        let found = findings_of(&RULE, &[(DOCUMENT, "- **A1** x\n- **A3** y\n")]);
        assert!(found[0].contains("A3 stands where A2 is due"), "{found:?}");
        assert!(findings_of(&RULE, &[(DOCUMENT, "nothing\n")])[0].contains("no invariants"));
        assert!(findings_of(&RULE, &[])[0].contains("missing"));
    }
}
