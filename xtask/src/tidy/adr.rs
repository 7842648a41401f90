//! Rule `adr`: the decision records are complete and their index says what they say.
//!
//! The index in `docs/adr/README.md` is generated from the records (`cargo xtask tidy --fix`) and checked here.

use std::fmt::Write as _;
use std::path::Path;

use super::{Report, Rule, Tree};
use crate::shell::Fail;

pub(super) const RULE: Rule = Rule {
    name: "adr",
    refuses: "a decision record without Status, Context, Decision, Consequences, or an index that lags behind",
    run,
};

const FOLDER: &str = "docs/adr/";
const INDEX: &str = "docs/adr/README.md";
const START: &str = "<!-- index: written by `cargo xtask tidy --fix` -->";
const END: &str = "<!-- end of index -->";
const SECTIONS: [&str; 3] = ["Context", "Decision", "Consequences"];

/// A record as its index line needs it.
struct Record<'a> {
    file: &'a str,
    number: &'a str,
    title: &'a str,
    status: Option<&'a str>,
}

fn run(tree: &Tree, report: &mut Report) {
    let records = records(tree);
    for (record, text) in &records {
        check_record(record, text, report);
    }
    for pair in records.windows(2) {
        if pair[0].0.number == pair[1].0.number {
            report.error(
                &path_of(&pair[1].0),
                0,
                format!("the number {} is taken by {}", pair[1].0.number, pair[0].0.file),
            );
        }
    }
    let Some(text) = tree.text(INDEX) else {
        report.error(INDEX, 0, "the index is missing");
        return;
    };
    match between_marks(text) {
        None => report.error(INDEX, 0, format!("the lines `{START}` and `{END}` are missing")),
        Some(current) if current != index(&records) => {
            report.error(INDEX, 0, "the index lags behind the records: run `cargo xtask tidy --fix`");
        }
        Some(_) => {}
    }
}

fn check_record(record: &Record<'_>, text: &str, report: &mut Report) {
    let path = path_of(record);
    if record.title.is_empty() {
        report.error(&path, 1, "start with `# NNNN: the decision in one line`");
    }
    if record.status.is_none() {
        report.error(&path, 0, "add a line `Status: accepted` (or proposed, refused, replaced by NNNN)");
    }
    for section in SECTIONS {
        let heading = format!("## {section}");
        if !text.lines().any(|line| line.trim_end() == heading) {
            report.error(&path, 0, format!("the section `{heading}` is missing"));
        }
    }
}

fn path_of(record: &Record<'_>) -> String {
    format!("{FOLDER}{}", record.file)
}

/// The records `NNNN-name.md` in order of their file names.
fn records(tree: &Tree) -> Vec<(Record<'_>, &str)> {
    let mut records = Vec::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix(FOLDER) else { continue };
        if let Some(number) = number_of(name) {
            let title = file.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
            let title = title.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | ' ' | '-'));
            let status = file.text.lines().find_map(status_of);
            records.push((Record { file: name, number, title, status }, file.text.as_str()));
        }
    }
    records.sort_by_key(|(record, _)| record.file);
    records
}

fn number_of(name: &str) -> Option<&str> {
    let (number, rest) = name.split_once('-')?;
    let is_record = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()) && rest.ends_with(".md");
    is_record.then_some(number)
}

/// The status in `Status: accepted`, also as a list item or in bold.
fn status_of(line: &str) -> Option<&str> {
    let text = line.trim_start_matches(['-', '*', ' ']);
    let rest = text.strip_prefix("Status")?.trim_start_matches(['*', ':', ' ']).trim_end();
    (!rest.is_empty() && text.contains(':')).then_some(rest)
}

fn index(records: &[(Record<'_>, &str)]) -> String {
    if records.is_empty() {
        return "\nNo records yet.\n\n".to_owned();
    }
    let mut text = String::from("\n| record | decision | status |\n|---|---|---|\n");
    for (record, _) in records {
        let status = record.status.unwrap_or("unknown");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| [{}]({}) | {} | {status} |", record.number, record.file, record.title);
    }
    text.push('\n');
    text
}

fn between_marks(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(START)?;
    let (inner, _) = rest.strip_prefix('\n')?.split_once(END)?;
    Some(inner)
}

/// Rewrites the generated part of the index.
pub(super) fn write_index(root: &Path) -> Result<(), Fail> {
    let tree = Tree::read(root)?;
    let text = tree.text(INDEX).ok_or_else(|| Fail::red(format!("{INDEX} is missing")))?;
    let fresh = rewritten(text, &index(&records(&tree)))
        .ok_or_else(|| Fail::red(format!("{INDEX} lacks the lines `{START}` and `{END}`")))?;
    std::fs::write(root.join(INDEX), fresh).map_err(|error| Fail::red(format!("cannot write {INDEX}: {error}")))
}

fn rewritten(text: &str, index: &str) -> Option<String> {
    let (head, rest) = text.split_once(START)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{START}\n{index}{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    const RECORD: &str =
        "# 0001: One task per stage\n\n- Status: accepted\n\n## Context\nx\n## Decision\nx\n## Consequences\nx\n";

    fn check(index: &str, record: &str) -> Vec<String> {
        findings_of(&RULE, &[(INDEX, index), ("docs/adr/0001-tasks.md", record)])
    }

    fn fresh_index() -> String {
        let tree = Tree::fake(&[("docs/adr/0001-tasks.md", RECORD)]);
        rewritten(&format!("# Records\n{START}\n{END}\nEnd.\n"), &index(&records(&tree))).unwrap()
    }

    #[test]
    fn a_generated_index_passes_and_says_number_title_and_status() {
        let index = fresh_index();
        assert_eq!(check(&index, RECORD), [""; 0]);
        assert!(index.contains("| [0001](0001-tasks.md) | One task per stage | accepted |"), "{index}");
    }

    #[test]
    fn an_index_that_lags_or_lacks_its_marks_is_found() {
        let found = check(&fresh_index(), &RECORD.replace("accepted", "replaced by 0007"));
        assert!(found[0].contains("lags behind"), "{found:?}");
        assert!(check("# Records\n", RECORD)[0].contains("are missing"));
        assert!(findings_of(&RULE, &[])[0].contains("the index is missing"));
    }

    #[test]
    fn each_missing_part_of_a_record_is_found() {
        for (part, message) in
            [("Status: accepted", "Status"), ("## Context", "Context"), ("## Consequences", "Consequences")]
        {
            let record = RECORD.replace(part, "");
            assert!(check(&fresh_index(), &record)[0].contains(message), "{part}");
        }
        assert!(check(&fresh_index(), &RECORD[1..])[0].contains("start with"));
    }

    #[test]
    fn a_number_is_used_once() {
        let index = fresh_index();
        let files = [(INDEX, index.as_str()), ("docs/adr/0001-a.md", RECORD), ("docs/adr/0001-b.md", RECORD)];
        assert!(findings_of(&RULE, &files)[0].contains("the number 0001 is taken by 0001-a.md"));
    }
}
