//! Rule `mutant-table`: every planted bug still fits the code that it is planted in, and every invariant has one.
//!
//! Running the mutants takes minutes; that one no longer applies is found here at once.

use super::{Report, Rule, Tree};
use crate::mutants::table;

pub(super) const RULE: Rule = Rule {
    name: "mutant-table",
    refuses: "a mutant whose file is gone or whose `find` text does not stand in it exactly once; an invariant without a mutant",
    run,
};

fn run(tree: &Tree, report: &mut Report) {
    let Some(text) = tree.text(table::PATH) else {
        report.error(table::PATH, 0, "the table of mutants is missing");
        return;
    };
    match table::parse(text) {
        Err(error) => report.error(table::PATH, 0, error),
        Ok(mutants) => {
            for invariant in invariants(tree) {
                if !mutants.iter().any(|mutant| mutant.breaks == invariant) {
                    report.error(
                        table::PATH,
                        0,
                        format!("no mutant breaks {invariant}: plant a bug that a test catches"),
                    );
                }
            }
            for mutant in mutants {
                let result = tree.text(&mutant.file).ok_or_else(|| "no such file".to_owned());
                if let Err(why) = result.and_then(|text| mutant.apply(text)) {
                    report.error(table::PATH, 0, format!("mutant `{}` ({}): {why}", mutant.name, mutant.file));
                }
            }
        }
    }
}

/// The invariants that ARCHITECTURE.md numbers.
fn invariants(tree: &Tree) -> Vec<&str> {
    let text = tree.text("ARCHITECTURE.md").unwrap_or_default();
    let marked = text.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**"));
    let is_number = |name: &&str| {
        let digits = name.strip_prefix('A').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    marked.map(|(name, _)| name).filter(is_number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    const TABLE: &str = "\
[[mutant]]
name = \"a\"
breaks = \"A1\"
file = \"src/a.rs\"
find = \"x + 1\"
replace = \"x\"
package = \"p\"
test = \"t\"
";

    fn check(code: &str) -> Vec<String> {
        findings_of(&RULE, &[(table::PATH, TABLE), ("src/a.rs", code)])
    }

    #[test]
    fn an_invariant_without_a_mutant_is_found() {
        let document = "- **A1** one\n- **A2** two\n- **Any** word\n";
        let files = [(table::PATH, TABLE), ("src/a.rs", "fn f() { x + 1 }"), ("ARCHITECTURE.md", document)];
        let found = findings_of(&RULE, &files);
        assert!(found.len() == 1 && found[0].contains("no mutant breaks A2"), "{found:?}");
    }

    #[test]
    fn a_mutant_that_no_longer_fits_is_found() {
        assert_eq!(check("fn f() { x + 1 }"), [""; 0]);
        assert!(check("fn f() { x + 2 }")[0].contains("not in the file"));
        assert!(check("fn f() { x + 1 + x + 1 }")[0].contains("2 times"));
        assert!(findings_of(&RULE, &[(table::PATH, TABLE)])[0].contains("no such file"));
        assert!(findings_of(&RULE, &[(table::PATH, "[[mutant]]\n")]).len() == 1);
        assert!(findings_of(&RULE, &[])[0].contains("missing"));
    }
}
