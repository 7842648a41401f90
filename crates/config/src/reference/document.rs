//! The reference of the components as a page of the documents.

use std::fmt::Write as _;

use super::{Entry, KeyFacts, and, entries};

/// The page, in Markdown.
#[must_use]
pub fn reference_page() -> String {
    let entries = entries();
    let mut page = String::from(HEAD);
    for (kind, title) in [("source", "Sources"), ("transform", "Transforms"), ("sink", "Sinks")] {
        let _ = writeln!(page, "\n**{title}:** {}", links(&entries, kind));
    }
    page.push_str(FRAMING);
    for (kind, title) in [("source", "Sources"), ("transform", "Transforms"), ("sink", "Sinks")] {
        let _ = write!(page, "\n## {title}\n");
        entries.iter().filter(|entry| entry.kind == kind).for_each(|entry| section(&mut page, entry));
    }
    page
}

fn links(entries: &[Entry], kind: &str) -> String {
    let of_kind = entries.iter().filter(|entry| entry.kind == kind);
    let links: Vec<_> = of_kind.map(|entry| format!("[{}](#{}-{})", entry.name, entry.kind, entry.name)).collect();
    links.join(", ")
}

fn section(page: &mut String, entry: &Entry) {
    let Entry { kind, name, summary, example, .. } = entry;
    let _ = write!(page, "\n### {kind} {name}\n\n{summary}\n\n```yaml\n{}\n```\n\n", example.trim_end());
    for (word, about) in &entry.page.lines {
        let _ = writeln!(page, "- **{word}** {about}");
    }
    for paragraph in &entry.page.more {
        let _ = write!(page, "\n{paragraph}\n");
    }
    page.push_str("\n| key | what it is for |\n|---|---|\n");
    for key in &entry.keys {
        let _ = writeln!(page, "| `{}` | {} |", key.path, cell(key));
    }
    let common: Vec<_> = entry.common.iter().map(|key| format!("`{key}`")).collect();
    let _ = write!(page, "\nAnd, as every {kind}: {}.\n", and(&common));
    if !entry.counts.is_empty() {
        let counts: Vec<_> = entry.counts.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(page, "\nCounts, beside the records: {}.\n", and(&counts));
    }
}

/// What may stand in a cell of a table.
fn cell(key: &KeyFacts) -> String {
    key.in_words().replace('|', "\\|")
}

const HEAD: &str = "\
# Components

What each source, transform and sink does, and its keys. `tidegate list NAME` prints the same for one of them. This page is
made from the code: `UPDATE=1 cargo test -p tidegate-config --test reference`.

Of each component it says: what it *emits*, or when a sink has *accepted* a record, which is when its source may
acknowledge it; where it *blocks*, so that pressure travels upstream; what it *sheds*, which is always counted; how it
*settles* records; when it *completes*; when it *fails*.
";

const FRAMING: &str = "
## Where a record ends

What sources of lines (`file`, `stdin`, `socket`, `http_server`) do with what is not an ordinary line:

| what comes | what becomes of it |
|---|---|
| a line that ends with CR LF | The CR is removed with the LF. A CR elsewhere stays, and so does one before another delimiter than a newline. |
| an empty line | Skipped, and not counted: it is no record. The same holds for an empty record with another delimiter. |
| a last line without a newline | A record, when the stream or the connection ends. Source `file` waits for the newline as long as the file is there. |
| a line longer than `max_length` (`max_line_bytes` of `file`; 102400 bytes unless set) | Skipped up to the next newline, and counted as `frames_oversize`. It is never cut in two, and takes no more memory than the limit. |
| bytes that are not UTF-8 | They stay as they are: a record that nothing changes leaves with the same bytes. Written as JSON, each becomes U+FFFD. A record that is read as JSON (`decoding.codec: json`) must be UTF-8. |
| JSON that is broken, too deep, no object or not UTF-8, with `decoding.codec: json` | Not a record: skipped, and counted as `records_malformed`. `http_server` answers the request with 400 and takes nothing of it. |
| a record that says its length (`octet_counting`, `length_delimited`) and is not whole when the stream ends | Not a record: counted as `frames_cut_off`. |
| a UDP or unix packet | One record, unless `framing` says otherwise. |
| a body over `max_body_bytes` (source `http_server`) | Answered with 413; nothing of it is taken. |

Sinks put a newline behind each record, unless `framing` says otherwise. A newline *within* a record is written as `\\n` by
`encoding.codec: json`, and as it is by `text` and `raw_message`: whoever reads that sees two lines.
";
