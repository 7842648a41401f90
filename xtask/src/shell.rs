//! Running other programs, and how this tool looks on a terminal: errors, colours, times.

use std::fmt::Display;
use std::io::IsTerminal;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Why a verb ended badly; decides the exit code.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The command line was wrong: exit code 2.
    Usage(String),
    /// A check is red, or a program could not be run: exit code 1.
    Red(String),
}

impl Fail {
    /// A red check with its reason.
    pub(crate) fn red(text: impl Into<String>) -> Self {
        Self::Red(text.into())
    }

    /// A wrong command line, with what would have been right.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The reason, without the exit code.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Red(text) => text,
        }
    }
}

/// The cargo that runs us, so that a pinned toolchain stays pinned.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `command` with our terminal and fails unless it succeeds. The command line is printed first.
pub(crate) fn run(command: &mut Command) -> Result<(), Fail> {
    println!("{}", dim(format!("$ {}", line_of(command))));
    run_bare(command)
}

/// Runs `command` with our terminal and prints nothing of our own.
pub(crate) fn run_bare(command: &mut Command) -> Result<(), Fail> {
    let status = command.status().map_err(|error| cannot_run(command, &error))?;
    if status.success() { Ok(()) } else { Err(Fail::red(format!("`{}` failed ({status})", line_of(command)))) }
}

/// Runs `command` silently and returns what it wrote to its standard output, or fails with what it said.
pub(crate) fn capture(command: &mut Command) -> Result<String, Fail> {
    let output = command.output().map_err(|error| cannot_run(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Fail::red(format!("`{}` failed ({}):\n{}", line_of(command), output.status, said.trim_end())))
}

/// Whether `cargo <sub> --version` works.
pub(crate) fn has_cargo_tool(sub: &str) -> bool {
    cargo().args([sub, "--version"]).output().is_ok_and(|output| output.status.success())
}

fn cannot_run(command: &Command, error: &std::io::Error) -> Fail {
    Fail::red(format!("cannot run `{}`: {error}", command.get_program().to_string_lossy()))
}

/// The command as one would type it, with the environment that we set.
pub(crate) fn line_of(command: &Command) -> String {
    let mut parts: Vec<String> = command
        .get_envs()
        .filter_map(|(key, value)| Some(format!("{}={}", key.to_string_lossy(), quoted(&value?.to_string_lossy()))))
        .collect();
    let program = command.get_program().to_string_lossy();
    parts.push(program.rsplit('/').next().unwrap_or(&program).to_owned());
    parts.extend(command.get_args().map(|arg| quoted(&arg.to_string_lossy())));
    parts.join(" ")
}

fn quoted(text: &str) -> String {
    if text.is_empty() || text.contains(' ') { format!("'{text}'") } else { text.to_owned() }
}

/// `1.2 s`, or `3 min 04 s` from a minute on.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

fn paint(code: &str, text: impl Display) -> String {
    static COLOUR: OnceLock<bool> = OnceLock::new();
    let on = *COLOUR.get_or_init(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    if on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
}

/// Text for "good".
pub(crate) fn green(text: impl Display) -> String {
    paint("32", text)
}

/// Text for "bad".
pub(crate) fn red(text: impl Display) -> String {
    paint("1;31", text)
}

/// Text for "look at this".
pub(crate) fn yellow(text: impl Display) -> String {
    paint("33", text)
}

/// Text that may be skipped.
pub(crate) fn dim(text: impl Display) -> String {
    paint("2", text)
}

/// Text that should stand out.
pub(crate) fn bold(text: impl Display) -> String {
    paint("1", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_back() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.args(["test", "a b"]).env("RUSTFLAGS", "--cfg x");
        assert_eq!(line_of(&command), "RUSTFLAGS='--cfg x' cargo test 'a b'");
    }

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(human(Duration::from_millis(1240)), "1.2 s");
        assert_eq!(human(Duration::from_secs(184)), "3 min 04 s");
    }

    #[test]
    fn a_failing_program_is_red_and_says_what_it_said() {
        let fail = capture(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(fail.text().contains("broken"), "{fail:?}");
        assert!(matches!(run(Command::new("sh").args(["-c", "exit 3"])), Err(Fail::Red(_))));
    }
}
