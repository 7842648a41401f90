//! Runs one test command and says how it ended: green, red, or not at all.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::shell::Fail;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Run {
    /// It succeeded; what it wrote.
    Green(String),
    /// It failed; what it wrote.
    Red(String),
    /// It was stopped after its time.
    TimedOut,
}

/// Runs the command with its output captured, and stops it and all that it started after `limit`.
pub(super) fn run(mut command: Command, limit: Duration) -> Result<Run, Fail> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    into_own_group(&mut command);
    let mut child = command.spawn().map_err(|error| Fail::red(format!("cannot run the test: {error}")))?;
    // Both pipes end when the last process that holds them has ended.
    let (done, finished) = sync_channel(2);
    let pipes: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|pipe| Box::new(pipe) as _), child.stderr.take().map(|pipe| Box::new(pipe) as _)];
    let mut open = 0;
    for mut pipe in pipes.into_iter().flatten() {
        open += 1;
        let done = done.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let _ = done.send(bytes);
        });
    }
    let mut said = String::new();
    for _ in 0..open {
        match finished.recv_timeout(limit) {
            Ok(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                stop(&mut child);
                return Ok(Run::TimedOut);
            }
        }
    }
    let status = child.wait().map_err(|error| Fail::red(format!("cannot wait for the test: {error}")))?;
    Ok(if status.success() { Run::Green(said) } else { Run::Red(said) })
}

/// The number of tests that libtest says it ran.
pub(super) fn tests_run(said: &str) -> usize {
    let count = |line: &str| line.strip_prefix("running ")?.split(' ').next()?.parse::<usize>().ok();
    said.lines().filter_map(count).sum()
}

#[cfg(unix)]
fn into_own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn into_own_group(_: &mut Command) {}

/// Stops the child and, where the system has process groups, what it started.
fn stop(child: &mut Child) {
    if cfg!(unix) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn green_and_red_are_told_apart_with_what_was_said() {
        let long = Duration::from_secs(60);
        assert!(matches!(run(shell("echo yes"), long), Ok(Run::Green(said)) if said == "yes\n"));
        assert!(matches!(run(shell("echo no >&2; exit 1"), long), Ok(Run::Red(said)) if said == "no\n"));
    }

    #[test]
    fn a_hang_is_stopped_together_with_its_children() {
        let hang = shell("sleep 600 & wait");
        assert!(matches!(run(hang, Duration::from_millis(50)), Ok(Run::TimedOut)));
    }

    #[test]
    fn tests_are_counted_over_all_binaries() {
        assert_eq!(tests_run("running 0 tests\n\nrunning 2 tests\n..\nrunning 1 test\n"), 3);
    }
}
