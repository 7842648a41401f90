//! A receiver that is slower than what is offered: `slow_sink`, `slow_sink_big_buffers`, `offered_10x`.

use std::time::Duration;

use super::float;
use super::ground::{Ground, PEER_BUFFER, all_seen, free_address, seen, sent, sent_at_end};
use super::outcome::{Outcome, Seen};
use crate::process::{Child, pass};
use crate::shell::Fail;

/// Records a second that the slow receiver takes.
const SLOW: u64 = 5_000;
/// How long the receiver is fast again, and the sender goes on.
const RECOVERY: u64 = 3;
/// The most that a record may be late in a chain whose every buffer is bounded, at 5,000 records a second.
const LATE_MILLIS: f64 = 1_000.0;

/// TCP -> remap -> TCP.
pub(super) fn pipeline(listen: &str, to: &str) -> String {
    format!(
        "memory: 32MiB\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{listen}\" }}\ntransforms:\n  parse:\n    \
         type: remap\n    inputs: [in]\n    source: |\n      . = parse_json!(.message)\n      .pipeline = \"edge\"\nsinks:\n  \
         out: {{ type: socket, mode: tcp, inputs: [parse], address: \"{to}\", encoding: {{ codec: json }} }}\n"
    )
}

/// The peers' own kernel buffers are bounded, so that what is seen is the program's.
pub(super) fn slow_sink(ground: &Ground) -> Result<Outcome, Fail> {
    let (mut outcome, receive, send) = slow(ground, "slow_sink", true)?;
    let late = outcome.p99_millis.unwrap_or(f64::INFINITY);
    outcome.law(late < LATE_MILLIS, format!("p99 {late:.0} ms < {LATE_MILLIS:.0} ms while the receiver was slow"));
    outcome.note(format!("kernel buffers asked for: {receive} at the source, {send} at the sink, 64 KiB at each peer"));
    Ok(outcome)
}

/// The peers' own buffers are as large as the kernel likes: what is in them is late, whatever stands between.
pub(super) fn slow_sink_big_buffers(ground: &Ground) -> Result<Outcome, Fail> {
    let (mut outcome, ..) = slow(ground, "slow_sink_big_buffers", false)?;
    outcome.note("latency includes what waits in the sender's own kernel buffer, before it reaches the program");
    Ok(outcome)
}

fn slow(ground: &Ground, name: &str, bounded: bool) -> Result<(Outcome, String, String), Fail> {
    let buffer = |key| if bounded { vec![(key, PEER_BUFFER)] } else { Vec::new() };
    let rate = SLOW.to_string();
    let mut options = vec![("listen", "127.0.0.1:0"), ("rate", rate.as_str())];
    options.extend(buffer("receive-buffer"));
    let (mut receiver, to) = ground.listener("receive", &options)?;
    let at = free_address()?;
    let mut program = ground.program(name, &pipeline(&at, &to))?;
    let seconds = (ground.seconds + RECOVERY).to_string();
    let mut options = vec![("to", at.as_str()), ("seconds", seconds.as_str())];
    options.extend(buffer("send-buffer"));
    let mut sender = Child::start(&mut ground.rig("send", &options))?;

    pass(Duration::from_secs(ground.seconds) / 2);
    let half = sent(&mut sender)?;
    pass(Duration::from_secs(ground.seconds) / 2);
    let slow = seen(&mut receiver)?;
    let sent_slow = sent(&mut sender)?;
    let rate = float(sent_slow - half) / (float(ground.seconds) / 2.0);
    receiver.tell("rate 0");
    let offered = sent_at_end(&mut sender)?;
    let last = all_seen(&mut receiver, offered)?;
    let mut outcome = Outcome {
        offered,
        delivered: last.unique,
        repeated: last.repeated,
        slowed: Some(rate < float(SLOW) * 1.5),
        held: Some(sent_slow.saturating_sub(slow.records)),
        peak_rss_mib: program.peak_rss_mib()?,
        p50_millis: Some(slow.p50_millis),
        p99_millis: Some(slow.p99_millis),
        ..Outcome::default()
    };
    exactly_once(&mut outcome, &last);
    outcome.law_of_memory(program.resident_mib());
    outcome.law(rate < float(SLOW) * 1.5, format!("the sender was slowed to {rate:.0} records/s"));
    let recovered = float(offered - slow.records) / float(RECOVERY);
    outcome.note(format!("fast again: about {recovered:.0} records/s"));
    outcome.note(bottleneck(&program.stop()));
    let size = |part: &str| kernel_buffer(program.explained(), part);
    Ok((outcome, size("source"), size("sink")))
}

/// The kernel buffers of a kind of component, as `explain` prints them.
fn kernel_buffer(explained: &serde_json::Value, part: &str) -> String {
    let kernel = explained["kernel"].as_array().into_iter().flatten();
    let own = kernel.filter(|buffer| buffer["kind"].as_str() == Some(part));
    let sizes: Vec<String> =
        own.filter_map(|buffer| buffer["bytes"].as_u64()).map(|size| format!("{} KiB", size >> 10)).collect();
    if sizes.is_empty() { "unknown".to_owned() } else { sizes.join(", ") }
}

pub(super) fn exactly_once(outcome: &mut Outcome, last: &Seen) {
    outcome.law(
        outcome.lost() == 0 && last.repeated == 0 && last.foreign == 0,
        format!("exactly once: {} lost, {} repeated, {} garbled", outcome.lost(), last.repeated, last.foreign),
    );
}

/// The sentence of the exit report.
pub(super) fn bottleneck(log: &str) -> String {
    log.lines().find(|line| line.starts_with("bottleneck:")).unwrap_or("the exit report names no bottleneck").to_owned()
}

/// Records a second that the receiver of `offered_10x` takes.
const CAPACITY: u64 = 20_000;
/// What a goodput may be under the highest.
const GOODPUT: f64 = 0.95;
/// What may come and go in the resident memory of one and the same program, in MiB.
const FLAT_MIB: f64 = 4.0;

/// What is offered, in multiples of what is taken; what came of it.
struct Load {
    times: u64,
    goodput: f64,
    peak_rss_mib: f64,
}

/// 1, 2 and 10 times what the receiver takes.
pub(super) fn offered(ground: &Ground) -> Result<Outcome, Fail> {
    let mut outcome = Outcome::default();
    let mut loads = Vec::new();
    for times in [1, 2, 10] {
        loads.push(load(ground, times, &mut outcome)?);
    }
    let best = loads.iter().map(|load| load.goodput).fold(0.0, f64::max);
    for load in &loads {
        let share = load.goodput / best.max(1.0);
        let text =
            format!("{} x: goodput {:.0} records/s, {:.1} % of the best", load.times, load.goodput, share * 100.0);
        outcome.law(share >= GOODPUT, text);
    }
    let (one, ten) = (loads[0].peak_rss_mib, loads[2].peak_rss_mib);
    outcome.law(ten <= one + FLAT_MIB, format!("RSS flat: {one:.1} MiB at 1 x, {ten:.1} MiB at 10 x"));
    Ok(outcome)
}

fn load(ground: &Ground, times: u64, outcome: &mut Outcome) -> Result<Load, Fail> {
    let rate = CAPACITY.to_string();
    let options = [("listen", "127.0.0.1:0"), ("rate", rate.as_str()), ("receive-buffer", PEER_BUFFER)];
    let (mut receiver, to) = ground.listener("receive", &options)?;
    let at = free_address()?;
    let mut program = ground.program("offered_10x", &pipeline(&at, &to))?;
    let measured = Duration::from_secs((ground.seconds / 3).max(1));
    let (rate, seconds) = ((CAPACITY * times).to_string(), (measured.as_secs() + 1).to_string());
    let options = [("to", at.as_str()), ("seconds", &seconds), ("rate", &rate), ("send-buffer", PEER_BUFFER)];
    let mut sender = Child::start(&mut ground.rig("send", &options))?;
    // What it takes to start is not counted.
    pass(Duration::from_millis(700));
    let from = seen(&mut receiver)?;
    pass(measured);
    let to = seen(&mut receiver)?;
    receiver.tell("rate 0");
    let sent = sent_at_end(&mut sender)?;
    let last = all_seen(&mut receiver, sent)?;
    let peak_rss_mib = program.peak_rss_mib()?;
    outcome.offered += sent;
    outcome.delivered += last.unique;
    outcome.repeated += last.repeated;
    outcome.peak_rss_mib = outcome.peak_rss_mib.max(peak_rss_mib);
    outcome.law(last.unique == sent && last.repeated == 0, format!("{times} x: exactly once"));
    if times == 10 {
        outcome.slowed = Some(sent < CAPACITY * times * measured.as_secs());
        outcome.p50_millis = Some(to.p50_millis);
        outcome.p99_millis = Some(to.p99_millis);
        outcome.law_of_memory(program.resident_mib());
    }
    program.stop();
    Ok(Load { times, goodput: float(to.records - from.records) / measured.as_secs_f64(), peak_rss_mib })
}
