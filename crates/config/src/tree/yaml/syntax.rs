//! What YAML's mistakes are called, and what people mostly meant.

use granit_parser::{ErrorKind, ScanError};

use crate::files::{FileId, Place};
use crate::problem::{Code, Problem};
use crate::tree::MAX_DEPTH;

/// The problem for an error of the parser.
pub(super) fn describe(error: &ScanError, text: &str, file: FileId) -> Problem {
    let at = text.floor_char_boundary(error.marker().byte_offset().unwrap_or_default().min(text.len()));
    let len = text[at..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let place = Place::new(file, at..at + len);
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        let title = format!("values nest more than {MAX_DEPTH} deep");
        return Problem::new(Code::TooDeep, title).at(place, "here");
    }
    let before = &text[..at];
    let line = &text[before.rfind('\n').map_or(0, |found| found + 1)..];
    let line = line.lines().next().unwrap_or_default();
    let (title, help) = explain(error.kind(), line, before);
    let problem = Problem::new(Code::YamlSyntax, title).at(place, "");
    let open = open_bracket(error.kind(), before).or_else(|| open_quote(error.kind(), before));
    let problem = match open {
        Some((open, found)) => problem.at(Place::new(file, open..open + 1), format!("`{found}` is open since here")),
        None => problem,
    };
    if help.is_empty() { problem } else { problem.help(help) }
}

fn explain(kind: &ErrorKind, line: &str, before: &str) -> (String, String) {
    let braces = line.contains("${");
    match kind {
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator if braces => (
            "inside of `{ }` or `[ ]` a `}` ends more than the reference".to_string(),
            "put the reference in quotes: \"${NAME}\"".to_string(),
        ),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::UnexpectedEofFlowMapping => (
            "a comma or `}` is missing before this".to_string(),
            "close the `{`, or separate its entries with commas".to_string(),
        ),
        ErrorKind::ExpectedFlowSequenceSeparator | ErrorKind::UnexpectedEofFlowSequence => (
            "a comma or `]` is missing before this".to_string(),
            "close the `[`, or separate its entries with commas".to_string(),
        ),
        ErrorKind::UnclosedFlowCollection { open } => {
            (format!("`{open}` is never closed"), "close it on the line where it ends".to_string())
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("`{open}` is closed by `{close}`"), String::new())
        }
        ErrorKind::InvalidColonPlacement if unclosed(before).is_some() => {
            ("a colon cannot stand here: a bracket above is still open".to_string(), "close the bracket".to_string())
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a value cannot contain `: `".to_string(),
            "put the value in quotes, or begin a table on the next line, indented further".to_string(),
        ),
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            ("a tab stands in the indentation".to_string(), "YAML is indented with spaces".to_string())
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => (
            "a quoted text above is never closed".to_string(),
            "close the quotes on the line where they end".to_string(),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => (
            "this line is indented like none of the lines above that it could continue".to_string(),
            "line it up with the other keys of its table".to_string(),
        ),
        ErrorKind::ExpectedBlockSequenceEntry => (
            "this line stands where the next `-` of the list is expected".to_string(),
            "indent the list further than what follows it, or begin the line with `- `".to_string(),
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("a colon is missing behind a key".to_string(), "write `key: value`".to_string())
        }
        ErrorKind::UnexpectedCharacter { character } => (
            format!("a value cannot begin with `{}`", character.escape_default()),
            "put the value in quotes".to_string(),
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "no escape is written like this".to_string(),
            "in double quotes a backslash is written \\\\; in single quotes it stands for itself".to_string(),
        ),
        kind => (format!("this is not YAML: {kind}"), String::new()),
    }
}

/// The innermost bracket that is open where the error is, for errors that are about one.
fn open_bracket(kind: &ErrorKind, before: &str) -> Option<(usize, char)> {
    let fitting = matches!(
        kind,
        ErrorKind::InvalidColonPlacement
            | ErrorKind::ExpectedFlowMappingSeparator
            | ErrorKind::ExpectedFlowSequenceSeparator
            | ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::UnclosedFlowCollection { .. }
    );
    if fitting { unclosed(before) } else { None }
}

/// The last quote before the error that begins a value and that no other follows on its line.
fn open_quote(kind: &ErrorKind, before: &str) -> Option<(usize, char)> {
    if !matches!(kind, ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent) {
        return None;
    }
    let begins = |(at, quote): &(usize, char)| {
        let line = before[at + 1..].lines().next().unwrap_or_default();
        before[..*at].ends_with([' ', '[', '{', ',']) && !line.contains(*quote)
    };
    before.char_indices().rev().filter(|(_, c)| matches!(c, '"' | '\'')).find(begins)
}

/// Roughly: brackets in quotes and comments count too. It only chooses what to underline beside the error.
fn unclosed(before: &str) -> Option<(usize, char)> {
    let mut open = Vec::new();
    for (at, c) in before.char_indices() {
        match c {
            '{' | '[' => open.push((at, c)),
            '}' | ']' => drop(open.pop()),
            _ => {}
        }
    }
    open.pop()
}
