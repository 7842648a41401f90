//! Rule `arrows`: which crate of the workspace may use which, by the table in ARCHITECTURE.md.
//!
//! The table is the design and this rule makes it true: `cargo metadata` must show no arrow that the table does not.

use super::markdown;
use super::{Report, Rule, Tree};
use crate::workspace::{Dependency, DependencyKind, Member};

pub(super) const RULE: Rule = Rule {
    name: "arrows",
    refuses: "a dependency between crates that the table in ARCHITECTURE.md does not allow; outside crates in a pure one",
    run,
};

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADER: [&str; 4] = ["crate", "may use", "its tests may also use", "kind"];

/// One row of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) name: String,
    may_use: Vec<String>,
    tests_may_use: Vec<String>,
    kind: String,
}

impl Row {
    /// Rules without I/O: std alone.
    pub(super) fn is_pure(&self) -> bool {
        self.first_word() == "pure"
    }

    /// The one crate that may hold `unsafe` code.
    pub(super) fn is_unsafe(&self) -> bool {
        self.first_word() == "unsafe"
    }

    fn first_word(&self) -> &str {
        self.kind.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
    }
}

/// The rows of the table; none when the document or the table is missing.
pub(super) fn rows(tree: &Tree) -> Vec<Row> {
    let table = tree.text(DOCUMENT).and_then(|text| markdown::table(text, &HEADER)).unwrap_or_default();
    let row = |(line, cells): (usize, Vec<String>)| {
        let cell = |at: usize| cells.get(at).map(String::as_str).unwrap_or_default();
        Some(Row {
            line,
            name: markdown::quoted(cell(0)).into_iter().next()?,
            may_use: markdown::quoted(cell(1)),
            tests_may_use: markdown::quoted(cell(2)),
            kind: cell(3).to_owned(),
        })
    };
    table.rows.into_iter().filter_map(row).collect()
}

fn run(tree: &Tree, report: &mut Report) {
    let rows = rows(tree);
    if rows.is_empty() {
        report.error(DOCUMENT, 0, format!("there is no table with the columns {}", HEADER.join(" | ")));
        return;
    }
    for row in &rows {
        check_row(tree, row, &rows, report);
    }
    if rows.iter().filter(|row| row.is_unsafe()).count() > 1 {
        report.error(DOCUMENT, 0, "more than one crate is marked `unsafe`; at most one may be");
    }
    for member in &tree.members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        match rows.iter().find(|row| row.name == member.short()) {
            Some(row) => check_member(tree, member, row, &manifest, report),
            None => report.error(
                &manifest,
                0,
                format!(
                    "crate `{}` has no row in the table of {DOCUMENT}; add one, with a decision record",
                    member.short()
                ),
            ),
        }
    }
}

fn check_row(tree: &Tree, row: &Row, rows: &[Row], report: &mut Report) {
    for name in row.may_use.iter().chain(&row.tests_may_use) {
        if rows.iter().all(|other| other.name != *name) {
            report.error(DOCUMENT, row.line, format!("`{}` may use `{name}`, which has no row", row.name));
        }
    }
    let exists = tree.members.iter().any(|member| member.short() == row.name);
    let is_planned = row.first_word() == "planned";
    if !tree.members.is_empty() && exists == is_planned {
        let fix =
            if exists { "it exists: drop the word `planned`" } else { "there is no such crate: mark it `planned`" };
        report.error(DOCUMENT, row.line, format!("row `{}`: {fix}", row.name));
    }
}

fn check_member(tree: &Tree, member: &Member, row: &Row, manifest: &str, report: &mut Report) {
    for dependency in &member.dependencies {
        if dependency.is_local {
            check_arrow(tree, dependency, row, manifest, report);
        } else if row.is_pure() && dependency.kind != DependencyKind::Dev && !is_for_the_model_checker(dependency) {
            let message = format!(
                "`{}` is pure: it may use the standard library and, under cfg(tidegate_loom), loom; not `{}`",
                row.name, dependency.package
            );
            report.error(manifest, 0, message);
        }
    }
}

fn check_arrow(tree: &Tree, dependency: &Dependency, row: &Row, manifest: &str, report: &mut Report) {
    let used = tree.members.iter().find(|member| member.package == dependency.package);
    let name = used.map_or(dependency.package.as_str(), Member::short);
    let allowed = row.may_use.iter().any(|n| n == name);
    let allowed_in_tests = dependency.kind == DependencyKind::Dev && row.tests_may_use.iter().any(|n| n == name);
    if !(allowed || allowed_in_tests) {
        let message = format!(
            "`{}` must not use `{name}` ({DOCUMENT}, line {}); move the code to where the arrow points, or change the \
             table with a decision record",
            row.name, row.line
        );
        report.error(manifest, 0, message);
    }
}

fn is_for_the_model_checker(dependency: &Dependency) -> bool {
    dependency.package == "loom" && dependency.target.as_deref() == Some("cfg(tidegate_loom)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    const TABLE: &str = "\
| crate | may use | its tests may also use | kind |
|---|---|---|---|
| `flow` | - | - | pure |
| `runtime` | `flow` | `tck` | async |
| `tck` | `flow` | - | kit |
";

    fn dependency(package: &str, kind: DependencyKind) -> Dependency {
        Dependency { package: package.into(), kind, target: None, is_local: package.starts_with("tidegate") }
    }

    fn member(name: &str, dependencies: Vec<Dependency>) -> Member {
        let (package, folder) = (format!("tidegate-{name}"), format!("crates/{name}"));
        Member { package, folder, dependencies, targets: Vec::new() }
    }

    fn check(table: &str, flow: Vec<Dependency>, runtime: Vec<Dependency>) -> Vec<String> {
        let members = vec![member("flow", flow), member("runtime", runtime), member("tck", Vec::new())];
        findings_in(&RULE, &Tree::fake(&[(DOCUMENT, table)]).with_members(members))
    }

    #[test]
    fn arrows_of_the_table_pass() {
        use DependencyKind::{Dev, Normal};
        let loom = Dependency { target: Some("cfg(tidegate_loom)".into()), ..dependency("loom", Normal) };
        let runtime =
            vec![dependency("tidegate-flow", Normal), dependency("tidegate-tck", Dev), dependency("tokio", Normal)];
        assert_eq!(check(TABLE, vec![loom, dependency("proptest", Dev)], runtime), [""; 0]);
    }

    #[test]
    fn an_arrow_against_the_table_is_found() {
        let found = check(TABLE, vec![dependency("tidegate-runtime", DependencyKind::Normal)], Vec::new());
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("`flow` must not use `runtime`"), "{found:?}");
    }

    #[test]
    fn what_tests_may_use_the_crate_may_not() {
        let found = check(TABLE, Vec::new(), vec![dependency("tidegate-tck", DependencyKind::Normal)]);
        assert!(found[0].contains("`runtime` must not use `tck`"), "{found:?}");
    }

    #[test]
    fn an_outside_crate_in_a_pure_one_is_found() {
        let found = check(TABLE, vec![dependency("tokio", DependencyKind::Normal)], Vec::new());
        assert!(found[0].contains("`flow` is pure"), "{found:?}");
        let unconditional = check(TABLE, vec![dependency("loom", DependencyKind::Normal)], Vec::new());
        assert_eq!(unconditional.len(), 1);
    }

    #[test]
    fn table_and_members_name_the_same_crates() {
        let missing_row = check(&TABLE.replace("| `tck` | `flow` | - | kit |\n", ""), Vec::new(), Vec::new());
        assert!(missing_row.iter().any(|f| f.contains("crate `tck` has no row")), "{missing_row:?}");
        assert!(missing_row.iter().any(|f| f.contains("may use `tck`, which has no row")), "{missing_row:?}");
        let extra = check(&format!("{TABLE}| `store` | `flow` | - | I/O |\n"), Vec::new(), Vec::new());
        assert!(extra[0].contains("no such crate"), "{extra:?}");
        let planned = check(&format!("{TABLE}| `store` | `flow` | - | planned: I/O |\n"), Vec::new(), Vec::new());
        assert_eq!(planned, [""; 0]);
        assert!(check("no table", Vec::new(), Vec::new())[0].contains("there is no table"));
    }

    #[test]
    fn at_most_one_crate_may_be_unsafe() {
        let two = TABLE.replace("| pure |", "| unsafe |").replace("| kit |", "| unsafe |");
        assert!(check(&two, Vec::new(), Vec::new())[0].contains("more than one crate"));
    }
}
