//! What the terminal is like, and quiet endings where it is a pipe that was closed.

use std::io::{self, ErrorKind, IsTerminal, Write};

use rustix::termios::{Winsize, tcgetwinsize};

/// Whether standard error takes colours: it is a terminal, and `NO_COLOR` is not set.
pub(super) fn has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns to write in: those of the terminal, or else what `COLUMNS` says, or else 100.
pub(super) fn width() -> usize {
    let columns = |size: Winsize| Some(usize::from(size.ws_col)).filter(|columns| *columns > 0);
    let said = || std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let columns = size().and_then(columns).or_else(said).unwrap_or(100);
    columns.clamp(20, 1_000)
}

/// Lines of the terminal; as many as anybody needs where there is none.
pub(super) fn height() -> usize {
    size().map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(usize::MAX)
}

/// That of standard error, where people look; or of standard output.
fn size() -> Option<Winsize> {
    tcgetwinsize(io::stderr()).or_else(|_| tcgetwinsize(io::stdout())).ok()
}

/// Writes to standard output. That nobody reads it any more (`| head`) is no error; everything else is, and ends the
/// program.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("tidegate: cannot write to standard output: {error}");
    std::process::exit(1);
}

/// As much of a line as fits into so many columns.
pub(super) fn clipped(line: &str, width: usize) -> String {
    if line.chars().map(columns).sum::<usize>() <= width {
        return line.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let left = room.checked_sub(columns(*c));
        room = left.unwrap_or(0);
        left.is_some()
    };
    line.chars().take_while(fits).chain(['…']).collect()
}

/// How many columns a character takes: two where it is wide.
const fn columns(c: char) -> usize {
    match c as u32 {
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0x1_F300..=0x1_FAFF
        | 0x2_0000..=0x3_FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_columns_not_by_bytes() {
        assert_eq!(clipped("as it is", 8), "as it is");
        assert_eq!(clipped("too long for it", 8), "too lon…");
        assert_eq!(clipped("██████", 4), "███…");
        assert_eq!(clipped("日本語", 5), "日本…");
        assert_eq!(clipped("日本語", 6), "日本語");
    }
}
