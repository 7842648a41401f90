//! A child process that is measured: its first line, its answers, its CPU time and memory by the operating system, its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{self, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::Fail;

/// What a process has cost so far.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Cost {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Time on the wall since it was started.
    pub(crate) wall: Duration,
    /// The most memory that was resident.
    pub(crate) peak_rss_mib: f64,
}

/// A child that is killed when it is dropped.
pub(crate) struct Child {
    child: process::Child,
    lines: BufReader<ChildStdout>,
    started: Instant,
}

impl Child {
    pub(crate) fn start(command: &mut Command) -> Result<Self, Fail> {
        Self::spawn(command.stderr(Stdio::inherit()))
    }

    /// Starts it with its standard error in a file.
    pub(crate) fn start_logged(command: &mut Command, log: &Path) -> Result<Self, Fail> {
        let file = File::create(log).map_err(|error| Fail::red(format!("{}: {error}", log.display())))?;
        Self::spawn(command.stderr(file))
    }

    fn spawn(command: &mut Command) -> Result<Self, Fail> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Fail::red(format!("{command:?}: {error}")))?;
        let Some(stdout) = child.stdout.take() else { return Err(Fail::red("a child without output")) };
        Ok(Self { child, lines: BufReader::new(stdout), started: now() })
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> Result<String, Fail> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(Fail::red("a part of the benchmark ended early")),
        }
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            let _ = writeln!(stdin, "{line}");
        }
    }

    /// Asks it for what it has seen or done so far.
    pub(crate) fn ask(&mut self) -> Result<String, Fail> {
        self.tell("");
        self.line()
    }

    /// Whether it has ended, and whether well.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().ok().flatten().map(|status| status.success())
    }

    /// Kills it as `kill -9` does, and waits.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks a receiver until it has seen so many records, or no more come; its last answer.
    pub(crate) fn until_received(&mut self, records: u64) -> Result<String, Fail> {
        let (mut last, mut same) = (String::new(), 0);
        while same < 50 {
            let answer = self.ask()?;
            if answer.contains(&format!("\"records\":{records},")) {
                return Ok(answer);
            }
            same = if answer == last { same + 1 } else { 0 };
            last = answer;
            nap();
        }
        Ok(last)
    }

    /// Waits for a condition.
    pub(crate) fn until(&mut self, most: Duration, is: impl FnMut() -> bool) -> Result<(), Fail> {
        if poll(most, is) { Ok(()) } else { Err(Fail::red(format!("not done after {most:?}"))) }
    }

    /// What it has cost so far.
    pub(crate) fn cost(&self) -> Result<Cost, Fail> {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", self.child.id());
            std::fs::read_to_string(&path)
                .map_err(|error| Fail::red(format!("{path}: {error}; the benchmark needs Linux")))
        };
        Ok(Cost { cpu: cpu_of(&read("stat")?), wall: self.started.elapsed(), peak_rss_mib: peak_of(&read("status")?) })
    }

    /// What it has cost when it ends by itself.
    pub(crate) fn cost_at_end(&mut self) -> Result<Cost, Fail> {
        let mut cost = self.cost()?;
        // A process that has ended stays readable until it is waited for, but for its memory.
        loop {
            let now = self.cost()?;
            cost = Cost { peak_rss_mib: cost.peak_rss_mib.max(now.peak_rss_mib), ..now };
            let path = format!("/proc/{}/stat", self.child.id());
            let state = std::fs::read_to_string(&path).unwrap_or_default();
            if state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
                return Ok(cost);
            }
            nap();
        }
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of `/proc/PID/stat`, in ticks of 10 ms.
fn cpu_of(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// `VmHWM` of `/proc/PID/status`, in MiB.
fn peak_of(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// Looks every few milliseconds whether `is`, for at most so long.
pub(crate) fn poll(most: Duration, mut is: impl FnMut() -> bool) -> bool {
    let begun = now();
    while begun.elapsed() < most {
        if is() {
            return true;
        }
        nap();
    }
    false
}

/// Lets so much time pass: the processes that are measured run on their own.
#[allow(clippy::disallowed_methods, reason = "other processes are watched, which wake nobody here")]
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "other processes are waited for, which wake nobody here")]
fn nap() {
    std::thread::sleep(Duration::from_millis(10));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let stat = "4711 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 99 0 0";
        assert_eq!(cpu_of(stat), Duration::from_secs(2));
        assert!((peak_of("Name: x\nVmHWM:\t   20480 kB\nVmRSS: 1 kB\n") - 20.0).abs() < 1e-9);
    }
}
