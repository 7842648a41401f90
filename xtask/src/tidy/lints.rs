//! Rule `lints`: every crate inherits the lints, the edition and the licence of the workspace.

use toml::{Table, Value};

use super::{Report, Rule, Tree, arrows};

pub(super) const RULE: Rule = Rule {
    name: "lints",
    refuses: "a crate that does not inherit lints, edition, rust-version and licence from the workspace",
    run,
};

const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];

fn run(tree: &Tree, report: &mut Report) {
    let unsafe_crates: Vec<String> = arrows::rows(tree)
        .into_iter()
        .filter(arrows::Row::is_unsafe)
        .map(|row| format!("crates/{}/", row.name))
        .collect();
    for file in tree.files.iter().filter(|file| is_member_manifest(&file.path)) {
        let Ok(manifest) = file.text.parse::<Table>() else {
            report.error(&file.path, 0, "cannot be parsed as TOML");
            continue;
        };
        // The one unsafe crate cannot take over `forbid`; it states its own lints.
        let states_its_own = unsafe_crates.iter().any(|folder| file.path.starts_with(folder));
        if !states_its_own && !inherits(manifest.get("lints")) {
            report.error(&file.path, 0, "add `[lints]` with `workspace = true`");
        }
        for key in INHERITED {
            if !inherits(manifest.get("package").and_then(|package| package.get(key))) {
                report.error(&file.path, 0, format!("write `{key}.workspace = true`, so that it is said once"));
            }
        }
        if manifest.get("package").and_then(|package| package.get("description")).and_then(Value::as_str).is_none() {
            report.error(&file.path, 0, "add a `description`: one sentence that says what the crate is for");
        }
    }
}

fn is_member_manifest(path: &str) -> bool {
    path == "xtask/Cargo.toml" || (path.starts_with("crates/") && path.ends_with("/Cargo.toml"))
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    const GOOD: &str = "\
[package]
name = \"tidegate-a\"
description = \"One sentence.\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
[lints]
workspace = true
";

    fn check(manifest: &str) -> Vec<String> {
        findings_of(&RULE, &[("crates/a/Cargo.toml", manifest)])
    }

    #[test]
    fn a_manifest_that_inherits_passes() {
        assert_eq!(check(GOOD), [""; 0]);
    }

    #[test]
    fn own_lints_an_own_edition_and_no_description_are_found() {
        assert!(check(&GOOD.replace("[lints]\nworkspace = true\n", ""))[0].contains("[lints]"));
        assert!(
            check(&GOOD.replace("edition.workspace = true", "edition = \"2021\""))[0].contains("edition.workspace")
        );
        assert!(check(&GOOD.replace("description", "keywords"))[0].contains("description"));
        assert!(check("[package")[0].contains("TOML"));
    }
}
