//! [`Offsets`]: the way back from a byte of a text to the file, past quotes, escapes and indentation.

/// Where the bytes of a text stand in its file: runs of bytes that are the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Offsets {
    runs: Vec<Run>,
}

/// `len` bytes that stand at `text` in the text and at `file` in the file. Bytes of the text behind the run and before
/// the next one have no counterpart; they map to its end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Run {
    text: usize,
    file: usize,
    len: usize,
}

impl Offsets {
    /// A text that stands in the file byte by byte.
    #[must_use]
    pub fn verbatim(file: usize, len: usize) -> Self {
        Self { runs: vec![Run { text: 0, file, len }] }
    }

    /// Aligns `text` with `raw`, which is how it is written at `file`. With `escapes`, a backslash in `raw` begins an
    /// escape. White space that stands in one only (indentation, folded lines) is skipped. One pass, linear.
    #[must_use]
    pub fn align(text: &str, raw: &str, file: usize, escapes: bool) -> Self {
        let mut offsets = Self::default();
        let (mut at, mut from) = (0, 0);
        while let (Some(wanted), Some(found)) = (char_at(text, at), char_at(raw, from)) {
            let len = found.len_utf8();
            if escapes && found == '\\' {
                let escape = escape_len(&raw[from..]);
                if raw[from + 1..].starts_with(['\n', '\r']) {
                    from += escape;
                    continue;
                }
                offsets.push(at, file + from, 0);
                at += wanted.len_utf8();
                from += escape;
            } else if wanted == found {
                offsets.push(at, file + from, len);
                at += len;
                from += len;
            } else if found.is_whitespace() || !wanted.is_whitespace() {
                from += len;
            } else {
                at += wanted.len_utf8();
            }
        }
        offsets
    }

    /// Where byte `at` of the text stands in the file; `None` only for a text without any place.
    #[must_use]
    pub fn to_file(&self, at: usize) -> Option<usize> {
        let index = self.runs.partition_point(|run| run.text <= at);
        let run = self.runs.get(index.saturating_sub(1))?;
        Some(run.file + at.saturating_sub(run.text).min(run.len))
    }

    /// Appends a run at `text`; one that continues the last is joined to it.
    pub(crate) fn push(&mut self, text: usize, file: usize, len: usize) {
        if let Some(last) = self.runs.last_mut()
            && last.len > 0
            && len > 0
            && last.text + last.len == text
            && last.file + last.len == file
        {
            last.len += len;
            return;
        }
        self.runs.push(Run { text, file, len });
    }

    /// Appends the part `range` of other offsets, for a copy of those bytes that stands at `text` here.
    pub(crate) fn push_part(&mut self, text: usize, other: &Self, range: std::ops::Range<usize>) {
        for run in &other.runs {
            let start = run.text.max(range.start);
            let end = (run.text + run.len.max(1)).min(range.end);
            if start < end {
                let len = if run.len == 0 { 0 } else { end - start };
                self.push(text + start - range.start, run.file + start - run.text, len);
            }
        }
    }
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// The length of the escape that begins here, in YAML, TOML and JSON alike. One that ends the line takes the white
/// space behind it along.
fn escape_len(raw: &str) -> usize {
    let digits = match raw.as_bytes().get(1) {
        Some(b'x') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        Some(b'\n' | b'\r') => return 1 + raw[1..].len() - raw[1..].trim_start().len(),
        _ => 0,
    };
    let second = raw[1..].chars().next().map_or(0, char::len_utf8);
    raw.floor_char_boundary((1 + second + digits).min(raw.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(text: &str, raw: &'a str, escapes: bool, part: &str) -> &'a str {
        let at = text.find(part).expect("the part stands in the text");
        &raw[Offsets::align(text, raw, 0, escapes).to_file(at).expect("a place")..]
    }

    #[test]
    fn indentation_of_block_scalars_is_skipped() {
        let raw = "      one = 1\n\n        two = x\n      three";
        let text = "one = 1\n\n  two = x\nthree";
        assert_eq!(shown(text, raw, false, "two"), "two = x\n      three");
        assert_eq!(shown(text, raw, false, "= x"), "= x\n      three");
        assert_eq!(shown(text, raw, false, "three"), "three");
    }

    #[test]
    fn escapes_of_quoted_text_are_one_character() {
        let raw = r#""a\n\\n\u00e9 b""#;
        let text = "a\n\\né b";
        assert_eq!(shown(text, raw, true, "b"), "b\"");
        assert_eq!(shown(text, raw, true, "é"), r#"\u00e9 b""#);
        assert_eq!(shown("it's x", "'it''s x'", false, "x"), "x'");
        assert_eq!(shown("one two x", "\"one \\\n     two x\"", true, "two"), "two x\"");
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        assert_eq!(Offsets::verbatim(5, 3).to_file(9), Some(8));
        assert_eq!(Offsets::default().to_file(0), None);
    }
}
