//! Rule `dependencies`: each outside crate that a manifest names has its note in `docs/dependencies.md`.

use std::collections::BTreeSet;

use toml::Table;

use super::{Report, Rule, Tree, markdown};

pub(super) const RULE: Rule = Rule {
    name: "dependencies",
    refuses: "a dependency without its row (why it is here, what was refused) in docs/dependencies.md, or an idle row",
    run,
};

const DOCUMENT: &str = "docs/dependencies.md";
const HEADER: [&str; 3] = ["crate", "used by", "why it is here"];

fn run(tree: &Tree, report: &mut Report) {
    let table = tree.text(DOCUMENT).and_then(|text| markdown::table(text, &HEADER)).unwrap_or_default();
    let mut noted = BTreeSet::new();
    for (line, cells) in &table.rows {
        for name in cells.first().map(|cell| markdown::quoted(cell)).unwrap_or_default() {
            noted.insert((name, *line));
        }
    }
    let named = named(tree);
    for (name, manifest) in &named {
        if !noted.iter().any(|(other, _)| other == name) {
            report.error(
                manifest,
                0,
                format!("`{name}` has no row in {DOCUMENT}: say why it is here and what was refused"),
            );
        }
    }
    for (name, line) in &noted {
        if !named.iter().any(|(other, _)| other == name) {
            report.error(DOCUMENT, *line, format!("`{name}` is in no manifest any more: remove its row"));
        }
    }
}

/// The outside crates that manifests name, each with the first manifest that does.
fn named(tree: &Tree) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut add = |table: Option<&toml::Value>, path: &str| {
        for (name, value) in table.and_then(toml::Value::as_table).into_iter().flatten() {
            let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            let is_ours = package == "tidegate" || package.starts_with("tidegate-");
            if !is_ours && names.iter().all(|(other, _)| other != package) {
                names.push((package.to_owned(), path.to_owned()));
            }
        }
    };
    for file in tree.files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let Ok(manifest) = file.text.parse::<Table>() else { continue };
        add(manifest.get("workspace").and_then(|workspace| workspace.get("dependencies")), &file.path);
        let targets = manifest.get("target").and_then(toml::Value::as_table);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            add(manifest.get(section), &file.path);
            for target in targets.into_iter().flat_map(Table::values) {
                add(target.get(section), &file.path);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    const NOTES: &str =
        "| crate | used by | why it is here | refused |\n|---|---|---|---|\n| `tokio`, `loom` | x | y | z |\n";

    fn check(manifest: &str) -> Vec<String> {
        findings_of(&RULE, &[(DOCUMENT, NOTES), ("crates/a/Cargo.toml", manifest)])
    }

    #[test]
    fn noted_dependencies_pass() {
        let manifest =
            "[dependencies]\ntokio = \"1\"\ntidegate-flow = \"1\"\n[target.'cfg(x)'.dependencies]\nloom = \"1\"\n";
        assert_eq!(check(manifest), [""; 0]);
    }

    #[test]
    fn a_dependency_without_a_note_is_found_in_every_section() {
        for section in ["workspace.dependencies", "dev-dependencies", "target.'cfg(x)'.build-dependencies"] {
            let found = check(&format!("[dependencies]\ntokio = \"1\"\nloom = \"1\"\n[{section}]\nrand = \"1\"\n"));
            assert!(found[0].contains("`rand` has no row"), "{section}: {found:?}");
        }
    }

    #[test]
    fn a_note_without_its_dependency_is_found() {
        assert!(check("[dependencies]\ntokio = \"1\"\n")[0].contains("`loom` is in no manifest"));
    }
}
