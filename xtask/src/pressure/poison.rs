//! A receiver that refuses one record in a thousand, with the whole batch that it is in: `poison`.

use std::time::Duration;

use super::float;
use super::ground::{Ground, all_seen, free_address, seen, sent_at_end};
use super::outcome::Outcome;
use crate::process::{Child, pass};
use crate::shell::Fail;

/// Records a second that are offered: a third of what the receiver takes over four connections, or less.
const OFFERED: u64 = 20_000;
/// One in so many is refused.
const EVERY: u64 = 1_000;
/// What the rate may be under that without poison.
const KEPT: f64 = 0.9;

/// What one run came to.
struct Run {
    sent: u64,
    delivered: u64,
    letters: u64,
    rate: f64,
    peak_rss_mib: f64,
}

/// The rate that is offered is kept, what is refused is in the dead letter queue, and nothing else is.
pub(super) fn run(ground: &Ground) -> Result<Outcome, Fail> {
    let mut outcome = Outcome::default();
    let clean = offered(ground, 0, OFFERED, &mut outcome)?;
    let poisoned = offered(ground, EVERY, OFFERED, &mut outcome)?;
    let share = poisoned.rate / clean.rate.max(1.0);
    let text = format!(
        "{:.0} records/s with poison, {:.0} without: {:.1} % of the rate",
        poisoned.rate,
        clean.rate,
        share * 100.0
    );
    outcome.law(share >= KEPT, text);
    let bad = poisoned.sent.div_ceil(EVERY);
    outcome.law(
        poisoned.letters == bad && poisoned.delivered == poisoned.sent - bad,
        format!("{} letters of {bad} poisoned records, {} others delivered", poisoned.letters, poisoned.delivered),
    );
    outcome.offered = poisoned.sent - bad;
    outcome.delivered = poisoned.delivered;
    outcome.peak_rss_mib = poisoned.peak_rss_mib;
    let (all, most) = (offered(ground, 0, 0, &mut outcome)?, offered(ground, EVERY, 0, &mut outcome)?);
    outcome.note(format!(
        "as fast as it goes: {:.0} records/s with poison, {:.0} without ({:.0} %)",
        most.rate,
        all.rate,
        most.rate / all.rate.max(1.0) * 100.0
    ));
    Ok(outcome)
}

/// Offers so many records a second (0: as fast as they are taken) to a receiver that refuses one in `every`.
fn offered(ground: &Ground, every: u64, rate: u64, outcome: &mut Outcome) -> Result<Run, Fail> {
    let (every, rate) = (every.to_string(), rate.to_string());
    let options = [("listen", "127.0.0.1:0"), ("delay-ms", "2"), ("refuse-every", every.as_str())];
    let (mut receiver, to) = ground.listener("receive-http", &options)?;
    let (at, data) = (free_address()?, ground.fresh("poison.data"));
    let text = format!(
        "memory: 64MiB\ndata_dir: \"{}\"\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{at}\" }}\nsinks:\n  out:\n    \
         type: http\n    inputs: [in]\n    uri: \"http://{to}/\"\n    encoding: {{ codec: text }}\n    framing: {{ method: \
         newline_delimited }}\n    batch: {{ max_events: 100 }}\n    request: {{ concurrency: 8 }}\n    dead_letter: true\n",
        data.display()
    );
    let mut program = ground.program("poison", &text)?;
    let seconds = (ground.seconds / 4).max(2);
    let for_seconds = (seconds + 1).to_string();
    let options = [("to", at.as_str()), ("seconds", for_seconds.as_str()), ("rate", rate.as_str())];
    let mut sender = Child::start(&mut ground.rig("send", &options))?;
    // What it takes to start is not counted.
    pass(Duration::from_millis(700));
    let from = seen(&mut receiver)?;
    pass(Duration::from_secs(seconds));
    let until = seen(&mut receiver)?;
    let sent = sent_at_end(&mut sender)?;
    let bad = every.parse::<u64>().ok().filter(|every| *every > 0).map_or(0, |every| sent.div_ceil(every));
    let last = all_seen(&mut receiver, sent - bad)?;
    let peak_rss_mib = program.peak_rss_mib()?;
    outcome.law_of_memory(program.resident_mib());
    program.stop();
    let listed = ground.said(&["dlq", "ls", "--json", "--data-dir", &data.display().to_string()])?;
    let listed: serde_json::Value = serde_json::from_str(listed.trim()).unwrap_or_default();
    Ok(Run {
        sent,
        delivered: last.unique,
        letters: listed["letters"].as_u64().unwrap_or(0),
        rate: float(until.records - from.records) / float(seconds),
        peak_rss_mib,
    })
}
