//! Rule `markers`: nothing unfinished is left behind in the text: it is done, or it is an issue.

use super::{Report, Rule, Tree};

pub(super) const RULE: Rule =
    Rule { name: "markers", refuses: "to-do marks in any file, and the macros for unwritten code", run };

/// Split, so that this file does not contain them.
const MARKS: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("TB", "D"), concat!("XX", "X")];
const MACROS: [&str; 2] = [concat!("to", "do"), concat!("unimple", "mented")];

fn run(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.path != "Cargo.lock") {
        for (at, line) in file.text.lines().enumerate() {
            for mark in MARKS.iter().filter(|mark| has_word(line, mark)) {
                report.error(&file.path, at + 1, format!("`{mark}`: do it now, or open an issue and remove the mark"));
            }
        }
    }
    for source in &tree.sources {
        for name in MACROS {
            for at in source.finds(&[name, "!"]) {
                report.error(
                    &source.path,
                    source.tokens[at].line,
                    format!("`{name}!`: write the code, or return an error"),
                );
            }
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    #[test]
    fn marks_are_found_in_any_file_but_only_as_words() {
        for mark in MARKS {
            let text = format!("a {mark}: b\n");
            assert_eq!(findings_of(&RULE, &[("docs/a.md", text.as_str())]).len(), 1, "{mark}");
            let inside = format!("{mark}S\n");
            assert_eq!(findings_of(&RULE, &[("docs/a.md", inside.as_str())]), [""; 0]);
        }
    }

    #[test]
    fn macros_for_unwritten_code_are_found() {
        for name in MACROS {
            let text = format!("fn f() {{ {name}!() }}\n");
            assert_eq!(findings_of(&RULE, &[("crates/flow/src/a.rs", text.as_str())]).len(), 1, "{name}");
        }
    }
}
