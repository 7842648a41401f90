//! [`Program`]: the program as a child process, looked at as an operator would: its metrics, its report, its memory.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

/// How much a pipeline may hold, in each of these tests.
pub(crate) const BUDGET_BYTES: u64 = 16 << 20;

/// What else a run may add to what the process took at its start: what the kernel's interfaces are used with, 2 KiB for each
/// of a few thousand connections, and pages that the allocator gives back only 10 ms after they were freed: of lines that
/// are read into slabs which double as they grow. Measured in a debug build: up to 9 MiB beside the budget, and nothing
/// where the allocator gives pages back at once (`MIMALLOC_PURGE_DELAY=0`). With huge pages it was up to 33 MiB: the
/// allocator asked for them, and 2 MiB became resident where some KiB were used.
const CONSTANT_BYTES: u64 = 16 << 20;

/// How often the metrics are asked before a test gives up: minutes.
const MOST_LOOKS: usize = 100_000;

/// A run of the program.
pub(crate) struct Program {
    child: Child,
    said: BufReader<ChildStderr>,
    admin: SocketAddr,
    /// The most that it took until it had started.
    at_start: u64,
}

/// A port of the loopback interface that nobody has.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A folder of this test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile").join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

impl Program {
    /// Starts a pipeline with these sources, and a sink that takes everything.
    pub(crate) fn start(name: &str, sources: &str) -> Self {
        let file = folder(name).join("pipeline.yaml");
        let text = format!(
            "memory: {}MiB\ndata_dir: {}\nsources:\n{sources}\nsinks:\n  out: {{ type: blackhole, inputs: ['*'] }}\n",
            BUDGET_BYTES >> 20,
            file.with_file_name("data").display()
        );
        fs::create_dir_all(file.with_file_name("data")).unwrap();
        fs::write(&file, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", file.to_str().unwrap(), "--admin", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut all, mut admin) = (String::new(), None);
        loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it started:\n{all}");
            if let Some((_, address)) = line.trim_end().split_once("on http://") {
                admin = address.parse().ok();
            }
            if line.contains("started") {
                break;
            }
            all.push_str(&line);
        }
        let at_start = peak_bytes(child.id());
        Self { child, said, admin: admin.expect("it says where it serves metrics"), at_start }
    }

    /// Its standard input.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// One figure of its metrics, by the whole of its name; 0 where there is none.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.trim().trim_end_matches(".0").parse().unwrap()
    }

    /// What a component counted beside the records.
    pub(crate) fn tally(&self, node: &str, what: &str) -> u64 {
        self.figure(&format!("tidegate_component_tally_total{{name=\"{node}\",what=\"{what}\"}}"))
    }

    /// The records that a source accepted.
    pub(crate) fn accepted(&self, source: &str) -> u64 {
        self.figure(&format!("tidegate_source_records_total{{source=\"{source}\",outcome=\"accepted\"}}"))
    }

    /// Waits until `holds`, asking again and again.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        assert!((0..MOST_LOOKS).any(|_| holds(self)), "never: {what}");
    }

    /// Drains it; gives its report. It has lived, its ledger balances, and it took no more memory than it may.
    pub(crate) fn end(mut self) -> String {
        let grown = peak_bytes(self.child.id()).saturating_sub(self.at_start);
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let mut report = String::new();
        self.said.read_to_string(&mut report).unwrap();
        assert!(self.child.wait().unwrap().success(), "{report}");
        assert!(report.contains("the ledger balances"), "{report}");
        let allowed = BUDGET_BYTES + CONSTANT_BYTES;
        assert!(grown <= allowed, "it took {grown} bytes more than at its start; {allowed} are allowed\n{report}");
        report
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The most memory that a process had, by the kernel's account, without the pages of its own file: a debug build reads
/// dozens of mebibytes of code as it goes.
fn peak_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    figure("VmHWM:").saturating_sub(figure("RssFile:"))
}

/// Whether a report has a line on what this node counted, with this number.
pub(crate) fn reports(report: &str, node: &str, what: &str, count: u64) -> bool {
    report.lines().any(|line| line.split_whitespace().eq([node, what, count.to_string().as_str()]))
}
