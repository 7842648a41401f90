//! [`Program`]: a run of the program, in a folder of the test's own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// Far more than any step takes.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// The pipeline file in a folder.
pub(crate) const FILE: &str = "pipeline.yaml";

/// An empty folder of this test's own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A port of the loopback interface that nobody has.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The program, with this verb.
pub(crate) fn tidegate(verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg(verb).stdin(Stdio::null());
    command
}

/// The body of the next request of an HTTP connection; `None` at its end.
pub(crate) fn request(from: &mut impl std::io::BufRead) -> Option<Vec<u8>> {
    let (mut length, mut line) = (0, String::new());
    while from.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    (!line.is_empty() && from.read_exact(&mut body).is_ok()).then_some(body)
}

/// Waits until something is done, and looks for that now and then.
///
/// # Panics
/// After [`LONG`].
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let pause = Duration::from_millis(2);
    for _ in 0..LONG.as_millis() / pause.as_millis() {
        if done() {
            return;
        }
        std::thread::park_timeout(pause);
    }
    panic!("waited for: {what}");
}

/// A run of the program; killed as by `kill -9` when this is dropped.
pub(crate) struct Program {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Program {
    /// Runs a pipeline of this text in this folder.
    pub(crate) fn start(folder: &Path, pipeline: &str, args: &[&str]) -> Self {
        fs::write(folder.join(FILE), pipeline).unwrap();
        Self::run(folder, args).unwrap_or_else(|said| panic!("{said}"))
    }

    /// Runs the pipeline that is in this folder; what was said, where it did not start.
    pub(crate) fn run(folder: &Path, args: &[&str]) -> Result<Self, String> {
        let mut command = tidegate("run");
        command.arg(FILE).args(args).current_dir(folder).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        while !all.contains("started:") {
            if said.read_line(&mut all).unwrap() == 0 {
                drop(child.wait());
                return Err(all);
            }
        }
        Ok(Self { child, said })
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The first line from here on that has `words`.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended without saying {words:?}:\n{all}");
            if line.contains(words) {
                return line;
            }
            all.push_str(&line);
        }
    }

    /// Sends it a signal, such as `-HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, and gives its exit code.
    pub(crate) fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Drains it; what it said since it was last listened to. It ended well, and its ledger balances.
    pub(crate) fn end(mut self) -> String {
        self.signal("-TERM");
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success() && said.contains("the ledger balances"), "{said}");
        said
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
