//! Problems as tools read them.

use serde_json::{Value, json};

use super::{Label, Problem, Problems, Severity};
use crate::files::Files;

/// A list with one object for each problem: `code`, `page` (where the documents say more about it), `severity`, `title`, `labels` (with `file`, `line` and `column`
/// from 1, `start` and `end` in bytes from 0, `text`), `notes`, `helps`, and `fix` (or null).
#[must_use]
pub fn problems_to_json(files: &Files, problems: &Problems) -> Value {
    problems.sorted().into_iter().map(|problem| one(files, problem)).collect()
}

fn one(files: &Files, problem: &Problem) -> Value {
    json!({
        "code": problem.code.as_str(),
        "page": format!("docs/errors.md#{}", problem.code.as_str().to_ascii_lowercase()),
        "severity": match problem.severity() { Severity::Error => "error", Severity::Warning => "warning" },
        "title": problem.title,
        "labels": problem.labels.iter().map(|label| labelled(files, label)).collect::<Vec<_>>(),
        "notes": problem.notes,
        "helps": problem.helps,
        "fix": problem.fix.as_ref().map(|fix| json!({
            "file": files.get(fix.place.file).name,
            "start": fix.place.start,
            "end": fix.place.end,
            "replacement": fix.replacement,
        })),
    })
}

fn labelled(files: &Files, label: &Label) -> Value {
    let position = files.position(label.place);
    json!({
        "file": files.get(label.place.file).name,
        "line": position.line,
        "column": position.column,
        "start": label.place.start,
        "end": label.place.end,
        "text": label.text,
    })
}
