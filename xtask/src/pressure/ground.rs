//! [`Ground`]: where scenarios are played: the binaries, a folder for files, and the parts that all scenarios start.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::outcome::Seen;
use crate::process::{Child, poll};
use crate::shell::{self, Fail};
use crate::workspace::Workspace;

/// The size that a peer of ours asks for where its own kernel buffers are not what is measured.
pub(super) const PEER_BUFFER: &str = "65536";

/// The longest that is waited for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where scenarios are played.
pub(super) struct Ground {
    program: PathBuf,
    xtask: PathBuf,
    scratch: PathBuf,
    /// How long the long phase of a scenario is.
    pub(super) seconds: u64,
    /// Whether only to see that everything works.
    pub(super) smoke: bool,
}

impl Ground {
    /// Builds what is played with. A program that is given is taken as it is, with the peers of this very tool.
    pub(super) fn prepare(
        workspace: &Workspace,
        seconds: u64,
        smoke: bool,
        program: Option<&str>,
    ) -> Result<Self, Fail> {
        let (program, xtask) = match program {
            Some(program) => {
                (PathBuf::from(program), std::env::current_exe().map_err(|error| Fail::red(format!("{error}")))?)
            }
            None => {
                let mut build = shell::cargo();
                let args = ["build", "--quiet", "--release", "-p", "tidegate", "-p", "xtask", "--bins"];
                shell::run_bare(build.current_dir(&workspace.root).args(args))?;
                let built = |name: &str| workspace.target.join("release").join(name);
                (built("tidegate"), built("xtask"))
            }
        };
        let scratch = workspace.target.join("pressure");
        std::fs::create_dir_all(&scratch).map_err(|error| Fail::red(format!("{}: {error}", scratch.display())))?;
        Ok(Self { program, xtask, scratch, seconds, smoke })
    }

    /// A path for a file of a scenario, where nothing is yet.
    pub(super) fn fresh(&self, name: &str) -> PathBuf {
        let path = self.scratch.join(name);
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    /// One of the peers of `xtask rig`.
    pub(super) fn rig(&self, part: &str, options: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(["rig", part]);
        for (key, value) in options {
            command.arg(format!("--{key}")).arg(value);
        }
        command
    }

    /// A peer that prints where it listens.
    pub(super) fn listener(&self, part: &str, options: &[(&str, &str)]) -> Result<(Child, String), Fail> {
        let mut child = Child::start(&mut self.rig(part, options))?;
        let at = child.line()?;
        Ok((child, at))
    }

    /// What is in files that receivers kept.
    pub(super) fn count(&self, file: &Path, more: &[(&str, &str)]) -> Result<String, Fail> {
        let file = file.display().to_string();
        let options: Vec<(&str, &str)> = [("file", file.as_str())].into_iter().chain(more.iter().copied()).collect();
        shell::capture(&mut self.rig("count", &options))
    }

    /// A file of so many records.
    pub(super) fn generate(&self, name: &str, records: u64) -> Result<PathBuf, Fail> {
        let path = self.fresh(name);
        let (file, records) = (path.display().to_string(), records.to_string());
        shell::capture(&mut self.rig("generate", &[("file", &file), ("records", &records)]))?;
        Ok(path)
    }

    /// What the program prints with these arguments.
    pub(super) fn said(&self, args: &[&str]) -> Result<String, Fail> {
        shell::capture(Command::new(&self.program).args(args))
    }

    /// Writes the pipeline file, asks `explain` about it and starts it.
    pub(super) fn program(&self, name: &str, pipeline: &str) -> Result<Program, Fail> {
        self.program_with(name, pipeline, &[])
    }

    /// The same with further options of `tidegate run`.
    pub(super) fn program_with(&self, name: &str, pipeline: &str, options: &[&str]) -> Result<Program, Fail> {
        self.explained(name, pipeline, || self.start_with(name, options, &[]))
    }

    /// The same in an environment that asks for a rehearsal.
    pub(super) fn program_in(&self, name: &str, pipeline: &str, environment: &[(&str, &str)]) -> Result<Program, Fail> {
        self.explained(name, pipeline, || self.start_in(name, environment))
    }

    fn explained(
        &self,
        name: &str,
        pipeline: &str,
        start: impl FnOnce() -> Result<Program, Fail>,
    ) -> Result<Program, Fail> {
        let file = self.scratch.join(format!("{name}.yaml"));
        std::fs::write(&file, pipeline).map_err(|error| Fail::red(format!("{}: {error}", file.display())))?;
        let explained = shell::capture(Command::new(&self.program).arg("explain").arg(&file).arg("--json"))?;
        let explained: serde_json::Value =
            serde_json::from_str(&explained).map_err(|error| Fail::red(format!("explain --json: {error}")))?;
        Ok(Program { explained, ..start()? })
    }

    /// Starts a pipeline file that was written before.
    pub(super) fn start(&self, name: &str) -> Result<Program, Fail> {
        self.start_with(name, &[], &[])
    }

    /// The same in an environment that asks for a rehearsal.
    pub(super) fn start_in(&self, name: &str, environment: &[(&str, &str)]) -> Result<Program, Fail> {
        self.start_with(name, &[], environment)
    }

    fn start_with(&self, name: &str, options: &[&str], environment: &[(&str, &str)]) -> Result<Program, Fail> {
        let log = self.scratch.join(format!("{name}.log"));
        let admin = free_address()?;
        let mut command = Command::new(&self.program);
        command.arg("run").arg(self.scratch.join(format!("{name}.yaml"))).args(["--admin", &admin]).args(options);
        command.envs(environment.iter().copied());
        let mut child = Child::start_logged(&mut command, &log)?;
        let up = poll(Duration::from_secs(30), || is_running(&admin) || child.ended().is_some());
        if !up || child.ended().is_some() {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(Fail::red(format!("the program did not start: {said}")));
        }
        Ok(Program { child, admin, log, explained: serde_json::Value::Null })
    }
}

/// The program at work.
pub(super) struct Program {
    child: Child,
    admin: String,
    log: PathBuf,
    explained: serde_json::Value,
}

impl Program {
    /// The most that should be resident, as `explain` says.
    pub(super) fn resident_mib(&self) -> f64 {
        self.explained["memory"]["resident_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 20)
    }

    /// What `explain` says, as JSON.
    pub(super) const fn explained(&self) -> &serde_json::Value {
        &self.explained
    }

    /// The most that was resident so far.
    pub(super) fn peak_rss_mib(&self) -> Result<f64, Fail> {
        Ok(self.child.cost()?.peak_rss_mib)
    }

    /// The sum of a metric over those of its lines that have all of these labels.
    pub(super) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = get(&self.admin, "/metrics").unwrap_or_default();
        sum_of(&text, name, labels)
    }

    /// Kills it as `kill -9` does.
    pub(super) fn kill(&mut self) {
        self.child.kill();
    }

    /// Asks it to drain and end; what it wrote.
    pub(super) fn stop(&mut self) -> String {
        self.child.stop();
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Whether a pipeline is shown, so that its sources listen. Health is served before.
fn is_running(admin: &str) -> bool {
    get(admin, "/metrics").is_some_and(|text| text.contains("tidegate_held_records{"))
}

/// The sum over the lines of a metric that have these labels, written as `key="value"`.
fn sum_of(text: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = text.lines().filter_map(|line| {
        let (series, figure) = line.rsplit_once(' ')?;
        let own = series.strip_prefix(name)?;
        let is_it = own.is_empty() || own.starts_with('{');
        (is_it && labels.iter().all(|label| own.contains(label))).then(|| figure.parse::<f64>().ok())?
    });
    lines.sum()
}

/// The body of an answer with status 200.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// What a receiver has seen so far.
pub(super) fn seen(receiver: &mut Child) -> Result<Seen, Fail> {
    Ok(Seen::of(&receiver.ask()?))
}

/// Asks a receiver until it has seen so many different records, or for as long as any come.
pub(super) fn all_seen(receiver: &mut Child, unique: u64) -> Result<Seen, Fail> {
    let (mut last, mut same) = (Seen::default(), 0);
    poll(PATIENCE, || {
        let Ok(now) = seen(receiver) else { return true };
        same = if now.records == last.records { same + 1 } else { 0 };
        last = now;
        now.unique >= unique || same > 300
    });
    seen(receiver)
}

/// How much a sender has sent so far; at its end, all.
pub(super) fn sent(sender: &mut Child) -> Result<u64, Fail> {
    let answer = sender.ask()?;
    let object: serde_json::Value =
        serde_json::from_str(&answer).map_err(|error| Fail::red(format!("{answer}: {error}")))?;
    object["sent"].as_u64().ok_or_else(|| Fail::red(format!("a sender said {answer}")))
}

/// Waits for a sender to end; how much it sent.
pub(super) fn sent_at_end(sender: &mut Child) -> Result<u64, Fail> {
    let mut last = 0;
    loop {
        let Ok(line) = sender.line() else { return Ok(last) };
        let object: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        last = object["sent"].as_u64().unwrap_or(last);
    }
}

pub(super) fn free_address() -> Result<String, Fail> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| address.to_string()).map_err(|error| Fail::red(format!("no free port: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_lines_and_no_others() {
        let text =
            "# HELP x y\nheld_records{name=\"a\"} 3\nheld_records{name=\"b\"} 4\nheld_records_more{name=\"a\"} 9\n";
        assert!((sum_of(text, "held_records", &[]) - 7.0).abs() < 1e-9);
        assert!((sum_of(text, "held_records", &["name=\"b\""]) - 4.0).abs() < 1e-9);
        assert!(sum_of(text, "missing", &[]).abs() < 1e-9);
    }
}
