//! [`Program`]: a run of `tidegate run`, as a process that can be killed.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ground::Ground;
use super::wait;

/// The longest that a start takes.
const START: Duration = Duration::from_secs(30);
/// The longest that a drain takes.
const DRAIN: Duration = Duration::from_secs(45);

/// What `tidegate explain` says of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct Explained(serde_json::Value);

impl Explained {
    pub(super) fn of(program: &Path, file: &Path) -> Result<Self, String> {
        let asked = Command::new(program).arg("explain").arg(file).arg("--json").output();
        let output = asked.map_err(|error| format!("{}: {error}", program.display()))?;
        if !output.status.success() {
            return Err(format!("explain: {}", String::from_utf8_lossy(&output.stderr)));
        }
        serde_json::from_slice(&output.stdout).map(Self).map_err(|error| format!("explain --json: {error}"))
    }

    /// The most that should be resident, in MiB.
    pub(super) fn resident_mib(&self) -> f64 {
        self.0["memory"]["resident_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 20)
    }

    /// What goes with a process whose source is raw TCP, in bytes: what the kernel holds before it, and every stage and
    /// edge up to the log; without a log, all of them.
    pub(super) fn exposed_bytes(&self) -> u64 {
        let sum = |list: &str, key: &str, counts: &dyn Fn(&serde_json::Value) -> bool| {
            let all = self.0[list].as_array().into_iter().flatten();
            all.filter(|each| counts(each)).filter_map(|each| each[key].as_u64()).sum::<u64>()
        };
        let logs = self.0["logs"].as_array().map_or(0, Vec::len);
        let name = |each: &serde_json::Value| each["name"].as_str().unwrap_or_default().to_owned();
        let before = |each: &serde_json::Value| logs == 0 || name(each) == "in" || name(each).ends_with(".to_disk");
        sum("kernel", "holds_bytes", &|each| each["kind"] == "source")
            + sum("stages", "holds_bytes", &before)
            + sum("edges", "bytes", &before)
    }
}

/// The process.
pub(super) struct Program {
    child: Child,
    pub(super) admin: String,
    log: PathBuf,
    /// Time until it said that it had started.
    pub(super) start: Duration,
    peak_kib: u64,
}

impl Program {
    /// Starts it, and waits until it has started.
    pub(super) fn start(
        program: &Path,
        ground: &Ground,
        file: &Path,
        environment: &[(&str, String)],
    ) -> Result<Self, String> {
        let log = file.with_extension("log");
        let admin = free_address()?;
        let opened = File::options().create(true).append(true).open(&log);
        let said = opened.map_err(|error| format!("{}: {error}", log.display()))?;
        let before = said.metadata().map_or(0, |about| about.len());
        let mut command = ground.command(program);
        command.arg("run").arg(file).args(["--admin", &admin]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command.envs(environment.iter().map(|(name, value)| (*name, value)));
        let begun = wait::now();
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let mut started = Self { child, admin, log, start: Duration::ZERO, peak_kib: 0 };
        let is_up = wait::until(START, || started.has_said(before, "started:") || !started.runs());
        if !is_up || !started.runs() && !started.has_said(before, "started:") {
            return Err(format!("the program did not start: {}", started.said(before)));
        }
        started.start = begun.elapsed();
        Ok(started)
    }

    fn said(&self, from: u64) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(text.len());
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    fn has_said(&self, from: u64, words: &str) -> bool {
        self.said(from).contains(words)
    }

    /// Whether it still runs. Notes what memory it takes.
    pub(super) fn runs(&mut self) -> bool {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        self.peak_kib = self.peak_kib.max(peak.trim().trim_end_matches(" kB").parse().unwrap_or(0));
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory that was seen, in MiB.
    pub(super) fn peak_mib(&self) -> f64 {
        Duration::from_millis(self.peak_kib).as_secs_f64() * 1_000.0 / 1_024.0
    }

    /// As `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.runs();
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// What `/health/progress` answers.
    pub(super) fn progress(&self) -> Option<(u16, String)> {
        super::web::get(&self.admin, "/health/progress")
    }

    /// Asks it to drain; whether it ended well and its ledger balanced, or what it said.
    pub(super) fn end(mut self) -> Result<f64, String> {
        self.runs();
        let before = std::fs::metadata(&self.log).map_or(0, |about| about.len());
        let sent = Command::new("kill").arg(self.child.id().to_string()).status();
        sent.map_err(|error| format!("kill: {error}"))?;
        if !wait::until(DRAIN, || !self.runs()) {
            return Err(format!("it did not end within {DRAIN:?} of SIGTERM: {}", self.said(before)));
        }
        let ended = self.child.wait().map_err(|error| format!("wait: {error}"))?;
        let said = self.said(before);
        if ended.success() && said.contains("the ledger balances") {
            Ok(self.peak_mib())
        } else {
            Err(format!("it ended with {ended}: {said}"))
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port of the loopback interface that nobody has.
pub(super) fn free_address() -> Result<String, String> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| address.to_string()).map_err(|error| format!("no free port: {error}"))
}
