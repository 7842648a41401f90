//! `tidegate dlq show`.

use std::fmt::Write as _;

use tidegate_components::letters::Letter;

use super::Which;
use crate::cli::{Done, term};

/// Which letters, and how they are shown.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: u64,
    /// One JSON object a letter: what is known of it, the record as JSON, and its bytes under `text`, or `base64`.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(&self) -> Done {
        let Some((stock, mut wish)) = self.which.find() else { return Done::Wrong };
        let (mut left, mut shown) = (self.limit, 0_u64);
        let looked = stock.look(|letter| {
            if left == 0 {
                return false;
            }
            if wish.as_mut().is_none_or(|wish| wish.matches(letter)) {
                term::print(&if self.json { json_line(letter) } else { page(letter) });
                (left, shown) = (left - 1, shown + 1);
            }
            left > 0
        });
        match looked {
            Ok(_) => {
                if shown == 0 && !self.json {
                    term::print("no such letters\n");
                }
                Done::Well
            }
            Err(error) => {
                eprintln!("tidegate: the dead letters of {}: {error}", self.which.name);
                Done::Failed
            }
        }
    }
}

fn json_line(letter: &Letter<'_>) -> String {
    let mut record = Vec::new();
    letter.row.write_json(&mut record);
    let facts = letter.facts();
    let facts = facts.trim_end_matches('}');
    format!("{facts},\"record\":{},{}}}\n", String::from_utf8_lossy(&record), letter.bytes_json())
}

fn page(letter: &Letter<'_>) -> String {
    let how = match letter.kind() {
        "permanent" => "refused for good",
        "transient" => "given up after its tries",
        _ => "kept",
    };
    let times = if letter.attempts() == 1 { "1 try".to_owned() } else { format!("{} tries", letter.attempts()) };
    let mut text = format!("letter {}: {how}", letter.number);
    if let Some(origin) = letter.origin() {
        let _ = write!(text, " by `{origin}`");
    }
    let _ = writeln!(text, ", {times}, first {}, last {}", letter.first(), letter.last());
    let _ = writeln!(text, "  cause:  {}", printable(letter.cause().as_bytes()));
    let _ = writeln!(text, "  record: {}", printable(letter.row.bytes()));
    text
}

/// Text as it is, control characters and what is no text escaped: nothing that a record holds can steer a terminal.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        chunk.invalid().iter().for_each(|byte| {
            let _ = write!(text, "\\x{byte:02x}");
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_escaped() {
        assert_eq!(printable("größe \u{1b}[2J\t\n".as_bytes()), "größe \\u{1b}[2J\\t\\n");
        assert_eq!(printable(b"a\xff\xfeb"), "a\\xff\\xfeb");
    }
}
