//! Rule `mutant-table`: every planted bug still fits the code that it is planted in.
//!
//! Running the mutants takes minutes; that one no longer applies is found here at once.

use super::{Report, Rule, Tree};
use crate::mutants::table;

pub(super) const RULE: Rule = Rule {
    name: "mutant-table",
    refuses: "a mutant whose file is gone or whose `find` text does not stand in it exactly once",
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
            for mutant in mutants {
                let result = tree.text(&mutant.file).ok_or_else(|| "no such file".to_owned());
                if let Err(why) = result.and_then(|text| mutant.apply(text)) {
                    report.error(table::PATH, 0, format!("mutant `{}` ({}): {why}", mutant.name, mutant.file));
                }
            }
        }
    }
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
    fn a_mutant_that_no_longer_fits_is_found() {
        assert_eq!(check("fn f() { x + 1 }"), [""; 0]);
        assert!(check("fn f() { x + 2 }")[0].contains("not in the file"));
        assert!(check("fn f() { x + 1 + x + 1 }")[0].contains("2 times"));
        assert!(findings_of(&RULE, &[(table::PATH, TABLE)])[0].contains("no such file"));
        assert!(findings_of(&RULE, &[(table::PATH, "[[mutant]]\n")]).len() == 1);
        assert!(findings_of(&RULE, &[])[0].contains("missing"));
    }
}
