//! What the terminal is like, and quiet endings where it is a pipe that was closed.

use std::io::{self, IsTerminal, Write};

/// Whether standard error takes colours: it is a terminal, and `NO_COLOR` is not set.
pub(super) fn has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal, as far as the environment says; 100 otherwise.
pub(super) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    columns.filter(|columns| (40..1_000).contains(columns)).unwrap_or(100)
}

/// Writes to standard output; that nobody reads it any more (`| head`) is no error.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
