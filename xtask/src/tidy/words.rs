//! Rule `words`: one word for one thing. The table of words in ARCHITECTURE.md names those that are refused.
//!
//! Looked at are the names that the code defines (not those that it uses: other crates have their own words) and the
//! prose of documents and doc comments.

use super::markdown;
use super::{Report, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "words",
    refuses: "words that the table of words in ARCHITECTURE.md refuses, in defined names and in docs",
    run,
};

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADER: [&str; 3] = ["use", "for", "not"];

/// A refused word or phrase, in lower case, and what to say instead.
struct Refused {
    words: String,
    instead: String,
    line: usize,
}

fn run(tree: &Tree, report: &mut Report) {
    let refused = refused(tree);
    if refused.is_empty() {
        report.error(DOCUMENT, 0, format!("there is no table of words with the columns {}", HEADER.join(" | ")));
    }
    for source in tree.sources.iter().filter(|source| source.krate != "xtask") {
        for (name, line) in &source.definitions {
            let words = words_of_name(name);
            for word in refused.iter().filter(|word| contains(&words, &word.words)) {
                report.error(&source.path, *line, format!("`{name}`: not `{}` but {}", word.words, word.instead));
            }
        }
    }
    for file in &tree.files {
        for (line, text) in prose_of(&file.path, &file.text) {
            let words = words_of_prose(text);
            for word in refused.iter().filter(|word| contains(&words, &word.words)) {
                let is_the_table = file.path == DOCUMENT && word.line == line;
                if !is_the_table {
                    report.error(&file.path, line, format!("not \"{}\" but {}", word.words, word.instead));
                }
            }
        }
    }
}

fn refused(tree: &Tree) -> Vec<Refused> {
    let table = tree.text(DOCUMENT).and_then(|text| markdown::table(text, &HEADER)).unwrap_or_default();
    let mut refused = Vec::new();
    for (line, cells) in table.rows {
        let instead = cells.first().map(|cell| cell.replace("**", "")).unwrap_or_default();
        for words in cells.get(2).map(|cell| markdown::quoted(cell)).unwrap_or_default() {
            refused.push(Refused { words: words_of_prose(&words).join(" "), instead: instead.clone(), line });
        }
    }
    refused
}

/// Lines of prose: of a document without its code, or the doc comments of a source.
fn prose_of<'a>(path: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    if path.ends_with(".md") {
        return markdown::prose(text).collect();
    }
    if !path.ends_with(".rs") || path.starts_with("xtask/") {
        return Vec::new();
    }
    let docs = |(at, line): (usize, &'a str)| {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
        Some((at + 1, doc))
    };
    text.lines().enumerate().filter_map(docs).collect()
}

/// The words of a text in lower case, without what stands in backticks.
fn words_of_prose(text: &str) -> Vec<String> {
    let prose: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" ` ");
    prose.split(|c: char| !(c.is_alphanumeric() || c == '-')).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

/// `drop_oldestRow` as `drop`, `oldest`, `row`.
fn words_of_name(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        let starts_word = c == '_' || c.is_uppercase();
        if starts_word && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// Whether the phrase stands in the words, in this order.
fn contains(words: &[String], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).any(|window| window.iter().zip(&phrase).all(|(have, want)| have == want))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    const WORDS: &str = "\
| use | for | not |
|---|---|---|
| **plan** | the checked graph | `topology` |
| **drop_oldest** | a policy | `head drop` |
";

    fn check(path: &str, text: &str) -> Vec<String> {
        findings_of(&RULE, &[(DOCUMENT, WORDS), (path, text)])
    }

    #[test]
    fn refused_names_are_found_where_they_are_defined() {
        for code in ["struct RunningTopology;", "fn topology() {}", "enum A { HeadDrop }", "struct A { head_drop: u8 }"]
        {
            assert_eq!(check("crates/flow/src/a.rs", code).len(), 1, "{code}");
        }
        for code in ["fn f() { other::topology(); }", "struct Topologist;", "struct HeadOfDrop;"] {
            assert_eq!(check("crates/flow/src/a.rs", code), [""; 0], "{code}");
        }
    }

    #[test]
    fn refused_words_are_found_in_docs_but_not_in_code_spans() {
        assert_eq!(check("docs/a.md", "The topology.\n"), ["docs/a.md:1: not \"topology\" but plan"]);
        assert_eq!(check("crates/flow/src/a.rs", "//! A Head drop.\n").len(), 1);
        assert_eq!(check("crates/flow/src/a.rs", "// A topology of theirs.\n"), [""; 0]);
        assert_eq!(check("docs/a.md", "Their `topology`.\n```\ntopology\n```\n"), [""; 0]);
    }

    #[test]
    fn a_missing_table_is_found() {
        assert!(findings_of(&RULE, &[(DOCUMENT, "nothing")])[0].contains("no table of words"));
    }
}
