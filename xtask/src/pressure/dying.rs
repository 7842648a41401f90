//! A receiver that is killed and started again: `dying_sink_http`, `dying_sink_tcp`.

use std::path::Path;
use std::time::Duration;

use super::ground::{Ground, PEER_BUFFER, Program, free_address, sent_at_end};
use super::outcome::{Outcome, Seen};
use crate::process::{Child, pass, poll};
use crate::rig::RECORD_BYTES;
use crate::shell::Fail;

/// Requests under way at once, and records in each.
const REQUESTS: u64 = 4;
const BATCH: u64 = 200;
/// Records a second offered to the HTTP sink.
const OFFERED: &str = "10000";

/// None is lost, and what is repeated was under way when the receiver died.
pub(super) fn http(ground: &Ground) -> Result<Outcome, Fail> {
    let kept = ground.fresh("dying_sink_http.kept");
    let keep = kept.display().to_string();
    let (at, to) = (free_address()?, free_address()?);
    let text = format!(
        "memory: 32MiB\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{at}\" }}\nsinks:\n  out:\n    type: http\n    \
         inputs: [in]\n    uri: \"http://{to}/\"\n    encoding: {{ codec: text }}\n    batch: {{ max_events: {BATCH} }}\n    \
         request: {{ concurrency: {REQUESTS}, retry_initial_backoff_secs: 0.1, retry_max_duration_secs: 1 }}\n"
    );
    let receive = [("listen", to.as_str()), ("keep", &keep), ("delay-ms", "20")];
    let (mut receiver, _) = ground.listener("receive-http", &receive)?;
    let mut program = ground.program("dying_sink_http", &text)?;
    let seconds = ground.seconds.max(3).to_string();
    let mut sender = Child::start(&mut ground.rig("send", &[("to", &at), ("seconds", &seconds), ("rate", OFFERED)]))?;
    let deaths = deaths(ground);
    for _ in 0..deaths {
        pass(Duration::from_secs(ground.seconds.max(3)) / (deaths + 1));
        receiver.kill();
        pass(Duration::from_millis(300));
        receiver = ground.listener("receive-http", &receive)?.0;
    }
    let offered = sent_at_end(&mut sender)?;
    empty(&program);
    let peak_rss_mib = program.peak_rss_mib()?;
    drop(receiver);
    let seen = Seen::of(&ground.count(&kept, &[])?);
    let mut outcome =
        Outcome { offered, delivered: seen.unique, repeated: seen.repeated, peak_rss_mib, ..Outcome::default() };
    let most = u64::from(deaths) * REQUESTS * BATCH;
    outcome.law(outcome.lost() == 0 && seen.foreign == 0, format!("none lost over {deaths} deaths of the receiver"));
    outcome.law(
        seen.repeated <= most,
        format!("{} repeated <= {most}, the records of the requests under way at each death", seen.repeated),
    );
    outcome.law_of_memory(program.resident_mib());
    program.stop();
    let after = deduped(ground, &kept, offered)?;
    outcome.law(
        after.repeated == 0 && after.unique == offered,
        format!("behind `dedupe` by the record's number: {} of {offered}, {} repeated", after.unique, after.repeated),
    );
    Ok(outcome)
}

/// How often the receiver dies.
fn deaths(ground: &Ground) -> u32 {
    if ground.smoke { 2 } else { 5 }
}

/// Waits until nothing is in the program any more.
fn empty(program: &Program) {
    poll(Duration::from_secs(60), || {
        pass(Duration::from_millis(100));
        program.metric("tidegate_source_in_flight_records", &[]) < 0.5
    });
}

/// What is left behind a second pipeline that passes each number once.
fn deduped(ground: &Ground, kept: &Path, most: u64) -> Result<Seen, Fail> {
    let (into, data) = (ground.fresh("deduped.ndjson"), ground.fresh("deduped.data"));
    std::fs::create_dir_all(&data).map_err(|error| Fail::red(format!("{}: {error}", data.display())))?;
    let text = format!(
        "memory: 256MiB\ndata_dir: \"{}\"\nsources:\n  in: {{ type: file, include: [\"{}\"], read_from: beginning }}\n\
         transforms:\n  parse: {{ type: remap, inputs: [in], source: \". = parse_json!(.message)\" }}\n  once:\n    type: \
         dedupe\n    inputs: [parse]\n    fields: {{ match: [seq] }}\n    cache: {{ num_events: {} }}\nsinks:\n  out: {{ \
         type: file, inputs: [once], path: \"{}\", encoding: {{ codec: json }} }}\n",
        data.display(),
        kept.display(),
        most.clamp(1, 1_000_000),
        into.display()
    );
    let mut program = ground.program("deduped", &text)?;
    let (mut length, mut same) = (0, 0);
    poll(Duration::from_secs(120), || {
        pass(Duration::from_millis(50));
        let now = std::fs::metadata(&into).map_or(0, |data| data.len());
        same = if now == length && now > 0 { same + 1 } else { 0 };
        length = now;
        same > 20
    });
    program.stop();
    Ok(Seen::of(&ground.count(&into, &[])?))
}

/// What is lost is at most what the kernels held at each death.
pub(super) fn tcp(ground: &Ground) -> Result<Outcome, Fail> {
    let kept = ground.fresh("dying_sink_tcp.kept");
    let keep = kept.display().to_string();
    let (at, to) = (free_address()?, free_address()?);
    let text = format!(
        "memory: 32MiB\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{at}\" }}\nsinks:\n  out: {{ type: socket, \
         mode: tcp, inputs: [in], address: \"{to}\", encoding: {{ codec: text }} }}\n"
    );
    // Slow, so that everything is full when it dies: the worst there is.
    let receive = [("listen", to.as_str()), ("keep", &keep), ("rate", "5000"), ("receive-buffer", PEER_BUFFER)];
    let (mut receiver, _) = ground.listener("receive", &receive)?;
    let mut program = ground.program("dying_sink_tcp", &text)?;
    let seconds = ground.seconds.max(3).to_string();
    let options = [("to", at.as_str()), ("seconds", &seconds), ("send-buffer", PEER_BUFFER)];
    let mut sender = Child::start(&mut ground.rig("send", &options))?;
    let deaths = deaths(ground);
    for _ in 0..deaths {
        pass(Duration::from_secs(ground.seconds.max(3)) / (deaths + 1));
        receiver.kill();
        pass(Duration::from_millis(300));
        receiver = ground.listener("receive", &receive)?.0;
    }
    receiver.tell("rate 0");
    let offered = sent_at_end(&mut sender)?;
    empty(&program);
    // What the kernel still has is on its way to a receiver that lives.
    pass(Duration::from_millis(500));
    let peak_rss_mib = program.peak_rss_mib()?;
    drop(receiver);
    let seen = Seen::of(&ground.count(&kept, &[])?);
    let mut outcome =
        Outcome { offered, delivered: seen.unique, repeated: seen.repeated, peak_rss_mib, ..Outcome::default() };
    let own = exposed_bytes(&program);
    let peers = PEER_BUFFER.parse::<u64>().unwrap_or(0) * 2;
    let most = u64::from(deaths) * (own + peers) / RECORD_BYTES as u64;
    outcome.law(
        own > 0 && outcome.lost() <= most,
        format!(
            "{} lost in {deaths} deaths <= {most}: {} KiB that `explain` prints and {} KiB of the receiver's kernel, each time",
            outcome.lost(),
            own >> 10,
            peers >> 10
        ),
    );
    outcome
        .law(seen.repeated == 0 && seen.foreign == 0, format!("{} repeated, {} garbled", seen.repeated, seen.foreign));
    outcome.law_of_memory(program.resident_mib());
    program.stop();
    Ok(outcome)
}

/// What `explain` says that a peer's death may cost, of what this machine's kernel held.
fn exposed_bytes(program: &Program) -> u64 {
    let kernel = program.explained()["kernel"].as_array().into_iter().flatten();
    let sinks = kernel.filter(|buffer| buffer["kind"].as_str() == Some("sink"));
    sinks.filter_map(|buffer| buffer["holds_bytes"].as_u64()).sum()
}
