//! What the program costs before a record comes: the time that it takes to start, its memory when idle, its size.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::parts::{free_address, remap_pipeline};
use super::{Bench, Outcome, float};
use crate::process::Child;
use crate::shell::{self, Fail};

/// How long the program is left alone before its memory is looked at.
const QUIET: Duration = Duration::from_secs(1);

impl Bench {
    /// From the start of the process until it accepts connections, in milliseconds.
    pub(super) fn start(&self) -> Result<Outcome, Fail> {
        let at = free_address()?;
        let mut command = self.program(&remap_pipeline(&at, &free_address()?))?;
        let begun = begin();
        let mut child = Child::start(&mut command)?;
        let listens = listens(&at, begun);
        let took = begun.elapsed();
        child.stop();
        if !listens {
            return Err(Fail::red(format!("nobody listens on {at} after {took:?}")));
        }
        Ok(value(took.as_secs_f64() * 1e3))
    }

    /// Resident memory when nothing was ever sent, in MiB: the most that there was since the start.
    pub(super) fn idle(&self) -> Result<Outcome, Fail> {
        let at = free_address()?;
        let mut child = Child::start(&mut self.program(&remap_pipeline(&at, &free_address()?))?)?;
        let begun = begin();
        child.until(QUIET * 2, || begun.elapsed() >= QUIET)?;
        let rss = child.cost()?.peak_rss_mib;
        child.stop();
        Ok(value(rss))
    }

    /// The size of the program without symbols, in millions of bytes.
    pub(super) fn binary(&self) -> Result<Outcome, Fail> {
        let stripped = self.scratch.join("tidegate-stripped");
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&stripped).arg(&self.program);
        if strip.output().is_err() {
            return Ok(Outcome::Absent("`strip` is not installed".to_owned()));
        }
        shell::capture(&mut strip)?;
        let bytes =
            std::fs::metadata(&stripped).map_err(|error| Fail::red(format!("{}: {error}", stripped.display())))?;
        Ok(value(float(bytes.len()) / 1e6))
    }
}

/// Waits until somebody listens, to a fraction of a millisecond.
fn listens(at: &str, begun: Instant) -> bool {
    while TcpStream::connect(at).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
    true
}

fn value(value: f64) -> Outcome {
    Outcome::Measured { value, flow: None }
}

fn begin() -> Instant {
    Instant::now()
}
