//! A sink that is down while its buffer on disk takes gibibytes, and that catches up: `spill`.

use std::time::Duration;

use super::float;
use super::ground::{Ground, PEER_BUFFER, free_address, seen, sent_at_end};
use super::outcome::Outcome;
use crate::process::{Child, pass, poll};
use crate::rig::RECORD_BYTES;
use crate::shell::Fail;

/// What each sync takes longer, so that a disk without one does not flatter.
const SYNC: &str = "2ms";
/// The share of the rate over memory that is left while records go to disk.
const SPILLING: f64 = 0.5;
/// The share of what is offered that the other branch has in every second.
const SIBLING: f64 = 0.9;
/// Records a second that are offered to the fork: less than it could take, so that keeping up is exact.
const OFFERED: u64 = 60_000;
/// What a start on a full log may take.
const RECOVERY: Duration = Duration::from_secs(10);

/// TCP -> fork -> `fast`, and `far` with its buffer; either may be missing.
fn pipeline(data: &str, listen: &str, fast: Option<&str>, far: Option<(&str, &str)>) -> String {
    let mut text = format!(
        "memory: 64MiB\ndata_dir: \"{data}\"\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{listen}\" }}\nsinks:\n"
    );
    let branches = fast.map(|to| ("fast", to, "max_size: 1MiB")).into_iter();
    for (name, to, buffer) in branches.chain(far.map(|(to, buffer)| ("far", to, buffer))) {
        text.push_str(&format!(
            "  {name}: {{ type: socket, mode: tcp, inputs: [in], address: \"{to}\", encoding: {{ codec: text }}, buffer: {{ \
             {buffer} }} }}\n"
        ));
    }
    text
}

/// Over memory, then to disk with the sink down, then killed, started and caught up; then a fork.
pub(super) fn run(ground: &Ground) -> Result<Outcome, Fail> {
    let bytes: u64 = if ground.smoke { 64 << 20 } else { 2 << 30 };
    let records = bytes / RECORD_BYTES as u64;
    let mut outcome = Outcome { offered: records, ..Outcome::default() };
    let memory = over_memory(ground, records / 4)?;
    let disk = to_disk(ground, records, bytes, &mut outcome)?;
    let share = disk / memory.max(1.0);
    outcome.law(
        share >= SPILLING || ground.smoke,
        format!(
            "to disk, {SYNC} more for each sync, the sink down: {disk:.0} records/s; over memory {memory:.0}: {:.0} %",
            share * 100.0
        ),
    );
    beside(ground, &mut outcome)?;
    Ok(outcome)
}

fn send(ground: &Ground, at: &str, records: u64, rate: u64) -> Result<Child, Fail> {
    let (records, rate) = (records.to_string(), rate.to_string());
    Child::start(
        &mut ground.rig("send", &[("to", at), ("records", &records), ("rate", &rate), ("send-buffer", PEER_BUFFER)]),
    )
}

/// Records a second from a sender to a receiver that is there.
fn over_memory(ground: &Ground, records: u64) -> Result<f64, Fail> {
    let (mut receiver, to) = ground.listener("receive", &[("listen", "127.0.0.1:0")])?;
    let (at, data) = (free_address()?, data(ground)?);
    let text = pipeline(&data, &at, None, Some((&to, "max_size: 1MiB")));
    let mut program = ground.program("spill_memory", &text)?;
    let mut sender = send(ground, &at, records, 0)?;
    sent_at_end(&mut sender)?;
    let last = super::ground::all_seen(&mut receiver, records)?;
    let answer: serde_json::Value = serde_json::from_str(&receiver.ask()?).unwrap_or_default();
    program.stop();
    Ok(float(last.records) / (float(answer["micros"].as_u64().unwrap_or(0)) / 1e6).max(1e-6))
}

/// An empty folder for data.
fn data(ground: &Ground) -> Result<String, Fail> {
    let data = ground.fresh("spill.data");
    std::fs::create_dir_all(&data).map_err(|error| Fail::red(format!("{}: {error}", data.display())))?;
    Ok(data.display().to_string())
}

/// Records a second into the buffer; what a start on it takes; whether all of it comes out.
fn to_disk(ground: &Ground, records: u64, bytes: u64, outcome: &mut Outcome) -> Result<f64, Fail> {
    let (at, to, data) = (free_address()?, free_address()?, data(ground)?);
    // Records are stored with their envelope.
    let buffer = format!("type: disk, max_size: {}MiB", (bytes * 2) >> 20);
    let text = pipeline(&data, &at, None, Some((&to, &buffer)));
    let delay = [("TIDEGATE_SYNC_DELAY", SYNC)];
    let mut program = ground.program_in("spill", &text, &delay)?;
    let resident = program.resident_mib();
    let mut sender = send(ground, &at, records, 0)?;
    let begun = begin();
    sent_at_end(&mut sender)?;
    // What is counted as delivered to the stage that appends is durable.
    let durable =
        || program.metric("tidegate_records_total", &["name=\"far.to_disk\"", "kind=\"sink\"", "flow=\"output\""]);
    let all = poll(Duration::from_secs(60), || durable() >= float(records) - 0.5);
    let rate = float(records) / begun.elapsed().as_secs_f64().max(1e-6);
    outcome.law(all, format!("{:.0} of {records} records are on disk, {} MiB", durable(), size_of(&data) >> 20));
    outcome.peak_rss_mib = program.peak_rss_mib()?;
    program.kill();

    let (mut receiver, _) = ground.listener("receive", &[("listen", to.as_str())])?;
    let begun = begin();
    let mut program = ground.start_in("spill", &delay)?;
    let comes = poll(RECOVERY, || seen(&mut receiver).is_ok_and(|seen| seen.records > 0));
    let recovery = begun.elapsed();
    let rss = program.peak_rss_mib()?;
    outcome.law(
        comes,
        format!(
            "after SIGKILL the first of it came out {:.2} s after a start, with {rss:.1} MiB resident",
            recovery.as_secs_f64()
        ),
    );
    let last = super::ground::all_seen(&mut receiver, records)?;
    let caught_up = float(last.records) / begun.elapsed().as_secs_f64().max(1e-6);
    outcome.note(format!("caught up at {caught_up:.0} records/s"));
    outcome.delivered = last.unique;
    outcome.repeated = last.repeated;
    outcome.law(outcome.lost() == 0, format!("{} of {records} came out", last.unique));
    outcome.peak_rss_mib = outcome.peak_rss_mib.max(program.peak_rss_mib()?);
    outcome.law_of_memory(resident);
    program.stop();
    ground.fresh("spill.data");
    Ok(rate)
}

/// Bytes of the files in a folder and those below it.
fn size_of(folder: &str) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| {
        let path = entry.path();
        if path.is_dir() {
            size_of(&path.display().to_string())
        } else {
            entry.metadata().map_or(0, |about| about.len())
        }
    };
    entries.map(size).sum()
}

/// A fork whose far branch is down and goes to disk: the other one has what is offered, in every second.
fn beside(ground: &Ground, outcome: &mut Outcome) -> Result<(), Fail> {
    let (mut fast, fast_at) = ground.listener("receive", &[("listen", "127.0.0.1:0")])?;
    let (at, far, data) = (free_address()?, free_address()?, data(ground)?);
    let buffer = "type: disk, max_size: 4GiB";
    let text = pipeline(&data, &at, Some(&fast_at), Some((&far, buffer)));
    let mut program = ground.program_in("spill_fork", &text, &[("TIDEGATE_SYNC_DELAY", SYNC)])?;
    let seconds = ground.seconds.max(3);
    let mut sender = send(ground, &at, OFFERED * (seconds + 2), OFFERED)?;
    pass(Duration::from_secs(1));
    let (mut least, mut before) = (f64::INFINITY, (seen(&mut fast)?.records, begin()));
    for _ in 0..seconds - 1 {
        pass(Duration::from_secs(1));
        let now = (seen(&mut fast)?.records, begin());
        let rate = float(now.0 - before.0) / (now.1 - before.1).as_secs_f64();
        least = least.min(rate / float(OFFERED));
        before = now;
    }
    let offered = sent_at_end(&mut sender)?;
    let last = super::ground::all_seen(&mut fast, offered)?;
    outcome.law(
        least >= SIBLING || ground.smoke,
        format!("beside it the other branch had {:.0} % of {OFFERED} records/s in its worst second", least * 100.0),
    );
    outcome.law(last.unique == offered, format!("the other branch had {} of {offered}", last.unique));
    outcome.peak_rss_mib = outcome.peak_rss_mib.max(program.peak_rss_mib()?);
    program.kill();
    ground.fresh("spill.data");
    Ok(())
}

fn begin() -> std::time::Instant {
    std::time::Instant::now()
}
