//! The rows through which records flow: over TCP and from file to file, through the program and through the floor.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Bench, Flow, Outcome, float};
use crate::process::{Child, Cost, poll};
use crate::rig::RECORD_BYTES;
use crate::shell::{self, Fail};

const REMAP: &str = "\
transforms:
  parse:
    type: remap
    inputs: [in]
    source: |
      . = parse_json!(.message)
      .pipeline = \"edge\"
  keep:
    type: filter
    inputs: [parse]
    condition: '.level != \"debug\"'
";

/// What the remap adds to each record.
const ADDED: &str = ",\"pipeline\":\"edge\"";

/// The longest that a row may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// What stands between sender and receiver, from its start to its end.
pub(super) struct Middle {
    pub(super) child: Child,
    /// Where it listens.
    pub(super) at: String,
}

/// Of `records`, those that the remap rows keep: every tenth is at level `debug`.
pub(super) const fn kept_of(records: u64) -> u64 {
    records - records.div_ceil(10)
}

impl Bench {
    pub(super) fn floor_tcp(&self) -> Result<Outcome, Fail> {
        let start = |to: &str| {
            let mut child = Child::start(&mut self.rig("pass", &[("listen", "127.0.0.1:0"), ("to", to)]))?;
            let at = child.line()?;
            Ok(Middle { child, at })
        };
        self.tcp(self.records, self.records, start)
    }

    pub(super) fn passthrough_tcp(&self) -> Result<Outcome, Fail> {
        self.tcp(self.records, self.records, |to| self.tcp_program("", "in", "text", to))
    }

    pub(super) fn remap_tcp(&self) -> Result<Outcome, Fail> {
        self.tcp(self.records, kept_of(self.records), |to| self.tcp_program(REMAP, "keep", "json", to))
    }

    /// The program from TCP to TCP, listening.
    fn tcp_program(&self, transforms: &str, last: &str, codec: &str, to: &str) -> Result<Middle, Fail> {
        let at = free_address()?;
        let text = tcp_pipeline(&at, transforms, last, codec, to);
        let child = Child::start(&mut self.program(&text)?)?;
        wait_for_listener(&at)?;
        Ok(Middle { child, at })
    }

    /// Sends `records` through what `start` gives (which is told where to send to) until `kept` of them have arrived.
    pub(super) fn tcp(
        &self,
        records: u64,
        kept: u64,
        start: impl FnOnce(&str) -> Result<Middle, Fail>,
    ) -> Result<Outcome, Fail> {
        let mut receiver = Child::start(&mut self.rig("receive", &[("listen", "127.0.0.1:0")]))?;
        let to = receiver.line()?;
        let Middle { mut child, at } = start(&to)?;
        // What it costs to start is a row of its own.
        let before = child.cost()?;
        shell::capture(&mut self.rig("send", &[("to", &at), ("records", &records.to_string())]))?;
        let seen = Seen::read(&receiver.until_received(kept)?, kept)?;
        let cost = child.cost()?;
        child.stop();
        let flow = Flow {
            records_per_second: float(records) / (seen.micros / 1e6).max(1e-9),
            peak_rss_mib: cost.peak_rss_mib,
            p99_millis: Some(seen.p99_micros / 1e3),
        };
        Ok(measured(cost, before, records, flow))
    }

    pub(super) fn floor_file(&self) -> Result<Outcome, Fail> {
        let (from, into) = self.files()?;
        let mut copy = self.rig("copy", &[("from", &text(&from)), ("into", &text(&into))]);
        let cost = Child::start(&mut copy)?.cost_at_end()?;
        self.filed(cost, &into, self.records)
    }

    pub(super) fn remap_file(&self) -> Result<Outcome, Fail> {
        let (from, into) = self.files()?;
        let kept = kept_of(self.records);
        let pipeline = format!(
            "memory: 32MiB\ndata_dir: {data}\nsources:\n  in: {{ type: file, include: [\"{from}\"], read_from: beginning, \
             ignore_checkpoints: true }}\n{REMAP}sinks:\n  out: {{ type: file, inputs: [keep], path: \"{into}\", encoding: \
             {{ codec: json }} }}\n",
            data = text(&self.scratch),
            from = text(&from),
            into = text(&into),
        );
        let mut program = Child::start(&mut self.program(&pipeline)?)?;
        let bytes = kept * (RECORD_BYTES + ADDED.len()) as u64;
        program.until(PATIENCE, || std::fs::metadata(&into).is_ok_and(|data| data.len() >= bytes))?;
        let cost = program.cost()?;
        program.stop();
        self.filed(cost, &into, kept)
    }

    /// The outcome of a row that wrote `kept` records into a file.
    fn filed(&self, cost: Cost, into: &Path, kept: u64) -> Result<Outcome, Fail> {
        Seen::read(&shell::capture(&mut self.rig("count", &[("file", &text(into))]))?, kept)?;
        let records_per_second = float(self.records) / cost.wall.as_secs_f64().max(1e-9);
        let flow = Flow { records_per_second, peak_rss_mib: cost.peak_rss_mib, p99_millis: None };
        Ok(measured(cost, Cost::default(), self.records, flow))
    }

    /// The input, written once, and a fresh path for the output.
    fn files(&self) -> Result<(PathBuf, PathBuf), Fail> {
        let (from, into) = (self.scratch.join(format!("in-{}.ndjson", self.records)), self.scratch.join("out.ndjson"));
        if !from.exists() {
            let records = self.records.to_string();
            shell::capture(&mut self.rig("generate", &[("file", &text(&from)), ("records", &records)]))?;
        }
        let _ = std::fs::remove_file(&into);
        Ok((from, into))
    }

    fn rig(&self, part: &str, options: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(["rig", part]);
        for (key, value) in options {
            command.arg(format!("--{key}")).arg(value);
        }
        command
    }

    /// The program with a pipeline file of this text.
    pub(super) fn program(&self, pipeline: &str) -> Result<Command, Fail> {
        let file = self.write("pipeline.yaml", pipeline)?;
        let mut command = Command::new(&self.program);
        command.arg("run").arg(file).arg("--quiet");
        Ok(command)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf, Fail> {
        let path = self.scratch.join(name);
        std::fs::write(&path, content).map_err(|error| Fail::red(format!("{}: {error}", path.display())))?;
        Ok(path)
    }
}

/// The pipeline of the rows over TCP, and of those that measure the program when nothing is sent.
pub(super) fn remap_pipeline(at: &str, to: &str) -> String {
    tcp_pipeline(at, REMAP, "keep", "json", to)
}

fn tcp_pipeline(at: &str, transforms: &str, last: &str, codec: &str, to: &str) -> String {
    format!(
        "memory: 32MiB\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{at}\" }}\n{transforms}sinks:\n  \
         out: {{ type: socket, mode: tcp, inputs: [{last}], address: \"{to}\", encoding: {{ codec: {codec} }} }}\n"
    )
}

fn measured(cost: Cost, before: Cost, records: u64, flow: Flow) -> Outcome {
    let cpu = cost.cpu.saturating_sub(before.cpu);
    Outcome::Measured { value: cpu.as_secs_f64() * 1e6 / float(records), flow: Some(flow) }
}

/// What a receiver saw.
struct Seen {
    micros: f64,
    p99_micros: f64,
}

impl Seen {
    /// Reads a receiver's answer, and refuses it where not every record arrived exactly once.
    fn read(answer: &str, kept: u64) -> Result<Self, Fail> {
        let seen: serde_json::Value =
            serde_json::from_str(answer.trim()).map_err(|error| Fail::red(format!("{answer}: {error}")))?;
        let number = |key: &str| seen[key].as_u64().unwrap_or_default();
        if number("unique") != kept || number("repeated") + number("foreign") > 0 {
            return Err(Fail::red(format!("{kept} records were to arrive once each; the receiver saw {seen}")));
        }
        Ok(Self { micros: float(number("micros")), p99_micros: float(number("p99_us")) })
    }
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn free_address() -> Result<String, Fail> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| address.to_string()).map_err(|error| Fail::red(format!("no free port: {error}")))
}

pub(super) fn wait_for_listener(address: &str) -> Result<(), Fail> {
    let found = poll(Duration::from_secs(10), || TcpStream::connect(address).is_ok());
    if found { Ok(()) } else { Err(Fail::red(format!("nobody listens on {address} after 10 s"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_lost_or_repeated_records_is_refused() {
        let answer = |unique: u64, repeated: u64| {
            format!("{{\"unique\":{unique},\"repeated\":{repeated},\"foreign\":0,\"micros\":1,\"p99_us\":2}}\n")
        };
        assert!(Seen::read(&answer(90, 0), kept_of(100)).is_ok());
        assert!(Seen::read(&answer(89, 0), 90).is_err());
        assert!(Seen::read(&answer(90, 1), 90).is_err());
        assert!(Seen::read("ended", 90).is_err());
    }
}
