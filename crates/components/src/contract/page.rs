//! [`Page`]: what stands about a component at the head of its file, for those who use it.
//!
//! The head is the one source: `tidegate list`, the reference in the documents and the documentation of the crate are made
//! of it, and so cannot differ.

/// What stands at the head of a component's file, read apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The lines that each component has, by their first word: `Accepted` (sinks) or `Emits`, `Blocks`, `Sheds`,
    /// `Settles`, `Completes`, `Fails`.
    pub lines: Vec<(String, String)>,
    /// The paragraphs behind them.
    pub more: Vec<String>,
}

impl Page {
    /// Reads the head of a file: lines that begin with `//!`.
    #[must_use]
    pub fn parse(head: &str) -> Self {
        let mut page = Self { lines: Vec::new(), more: Vec::new() };
        let texts = head.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim);
        // What belongs to the last line or paragraph goes on there; the sentence at the top is the summary.
        let mut is_open = false;
        let mut is_behind = false;
        for text in texts {
            if let Some((word, rest)) = text.strip_prefix("* **").and_then(|text| text.split_once("**")) {
                page.lines.push((word.to_owned(), rest.trim_start().to_owned()));
                (is_open, is_behind) = (true, false);
            } else if text.is_empty() {
                is_open = false;
                is_behind = !page.lines.is_empty();
            } else if is_open {
                let last = if is_behind { page.more.last_mut() } else { page.lines.last_mut().map(|(_, text)| text) };
                if let Some(last) = last {
                    last.push(' ');
                    last.push_str(text);
                }
            } else if is_behind {
                page.more.push(text.to_owned());
                is_open = true;
            }
        }
        page
    }
}

/// The bytes of the head of a file: its first lines, as long as they begin with `//!`.
pub(crate) const fn head_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 3 <= bytes.len() && bytes[at] == b'/' && bytes[at + 1] == b'/' && bytes[at + 2] == b'!' {
        while at < bytes.len() && bytes[at] != b'\n' {
            at += 1;
        }
        at += 1;
    }
    if at < bytes.len() { at } else { bytes.len() }
}

/// The first `N` bytes of a file.
pub(crate) const fn head<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut head = [0; N];
    let mut at = 0;
    while at < N {
        head[at] = bytes[at];
        at += 1;
    }
    head
}

/// The head of the file of this name, beside the one that asks: the program holds nothing else of it.
macro_rules! page {
    ($file:literal) => {{
        const TEXT: &str = include_str!($file);
        const HEAD: [u8; $crate::contract::page::head_len(TEXT)] = $crate::contract::page::head(TEXT);
        match std::str::from_utf8(&HEAD) {
            Ok(text) => text,
            Err(_) => "",
        }
    }};
}
pub(crate) use page;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SINKS, SOURCES, TRANSFORMS};

    #[test]
    fn a_head_is_read_apart_and_ends_with_its_last_line() {
        const TEXT: &str = "//! `x`: does.\n//!\n//! * **Emits** one\n//!   and more.\n//! * **Fails** never.\n//!\n//! Holds\n//! much.\n//!\n//! Is old.\n\nuse x;\n";
        assert!(TEXT[..head_len(TEXT)].ends_with("Is old.\n"));
        let page = Page::parse(&TEXT[..head_len(TEXT)]);
        let line = |word: &str, text: &str| (word.to_owned(), text.to_owned());
        assert_eq!(page.lines, [line("Emits", "one and more."), line("Fails", "never.")]);
        assert_eq!(page.more, ["Holds much.", "Is old."]);
    }

    #[test]
    fn each_component_says_all_that_its_kind_says() {
        let sources = SOURCES.iter().map(|kind| (kind.name, kind.page, "Emits"));
        let transforms = TRANSFORMS.iter().map(|kind| (kind.name, kind.page, "Emits"));
        let sinks = SINKS.iter().map(|kind| (kind.name, kind.page, "Accepted"));
        for (name, page, first) in sources.chain(transforms).chain(sinks) {
            let page = Page::parse(page);
            let words: Vec<&str> = page.lines.iter().map(|(word, _)| word.as_str()).collect();
            assert_eq!(words, [first, "Blocks", "Sheds", "Settles", "Completes", "Fails"], "{name}");
            assert!(page.lines.iter().all(|(_, text)| text.ends_with('.')), "{name}: {:?}", page.lines);
        }
    }
}
