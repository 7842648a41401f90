//! A fork with a fast sink and a slow one: `fork_drop_newest`, `fork_own_buffer`.

use std::time::Duration;

use super::float;
use super::ground::{Ground, PEER_BUFFER, all_seen, free_address, seen, sent, sent_at_end};
use super::outcome::Outcome;
use super::slow::bottleneck;
use crate::process::{Child, pass};
use crate::shell::Fail;

/// Records a second that the slow sink takes.
const SLOW: u64 = 5_000;
/// The share of its own rate that the fast branch must keep beside the slow one.
const KEPT: f64 = 0.9;

/// TCP -> fork -> `fast`, and `slow` if its buffer is given.
fn pipeline(memory: &str, listen: &str, fast: &str, slow: Option<(&str, &str)>) -> String {
    let mut text = format!(
        "memory: {memory}\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{listen}\" }}\nsinks:\n  fast: {{ type: \
         socket, mode: tcp, inputs: [in], address: \"{fast}\", encoding: {{ codec: text }} }}\n"
    );
    if let Some((to, buffer)) = slow {
        text.push_str(&format!(
            "  slow: {{ type: socket, mode: tcp, inputs: [in], address: \"{to}\", encoding: {{ codec: text }}, buffer: {{ \
             {buffer} }} }}\n"
        ));
    }
    text
}

/// The slow branch sheds what it cannot take.
pub(super) fn drop_newest(ground: &Ground) -> Result<Outcome, Fail> {
    let mut outcome = Outcome::default();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..if ground.smoke { 1 } else { 5 } {
        alone.push(turn(ground, false, &mut outcome)?);
        beside.push(turn(ground, true, &mut outcome)?);
    }
    let (alone, beside) = (median(&mut alone), median(&mut beside));
    let share = beside / alone.max(1.0);
    // A short turn says nothing about a rate.
    outcome.law(
        share >= KEPT || ground.smoke,
        format!("the fast branch: {beside:.0} records/s beside the slow one, {alone:.0} alone: {:.0} %", share * 100.0),
    );
    outcome.slowed = Some(false);
    Ok(outcome)
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

/// The rate of the fast branch.
fn turn(ground: &Ground, with_slow: bool, outcome: &mut Outcome) -> Result<f64, Fail> {
    let rate = SLOW.to_string();
    let (mut fast, fast_at) = ground.listener("receive", &[("listen", "127.0.0.1:0")])?;
    let options = [("listen", "127.0.0.1:0"), ("rate", rate.as_str()), ("receive-buffer", PEER_BUFFER)];
    let (mut slow, slow_at) = ground.listener("receive", &options)?;
    let at = free_address()?;
    let branch = with_slow.then_some((slow_at.as_str(), "when_full: drop_newest"));
    let mut program = ground.program("fork_drop_newest", &pipeline("32MiB", &at, &fast_at, branch))?;
    let seconds = (ground.seconds / 6).max(1).to_string();
    let mut sender = Child::start(&mut ground.rig("send", &[("to", &at), ("seconds", &seconds)]))?;
    let offered = sent_at_end(&mut sender)?;
    let (answer, micros) = settled(&mut fast, offered)?;
    outcome.offered += offered;
    outcome.delivered += answer.unique;
    outcome.repeated += answer.repeated;
    outcome.peak_rss_mib = outcome.peak_rss_mib.max(program.peak_rss_mib()?);
    if answer.unique != offered {
        outcome.law(false, format!("the fast branch had {} of {offered}", answer.unique));
    }
    if with_slow {
        slow.tell("rate 0");
        pass(Duration::from_millis(300));
        let shed = counted(program.metric("tidegate_shed_records_total", &["name=\"slow\""]));
        let last = all_seen(&mut slow, offered.saturating_sub(shed))?;
        let text = format!("the slow branch: {} delivered + {shed} shed = {offered}", last.unique);
        outcome.law(last.unique + shed == offered && last.repeated == 0, text);
        outcome.law_of_memory(program.resident_mib());
    }
    program.stop();
    Ok(float(answer.records) / (float(micros) / 1e6).max(1e-6))
}

/// The last answer of a receiver, and how long it took records.
fn settled(receiver: &mut Child, unique: u64) -> Result<(super::outcome::Seen, u64), Fail> {
    let last = all_seen(receiver, unique)?;
    let object: serde_json::Value = serde_json::from_str(&receiver.ask()?).unwrap_or_default();
    Ok((last, object["micros"].as_u64().unwrap_or(0)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of records, as a metric")]
fn counted(metric: f64) -> u64 {
    metric as u64
}

/// What is offered to the fork with a buffer: less than the fast branch could take, so that keeping up is exact.
const OFFERED: u64 = 40_000;

/// The slow branch has a buffer of its own, and blocks when that is full.
pub(super) fn own_buffer(ground: &Ground) -> Result<Outcome, Fail> {
    // Fills in about a quarter of the time that there is.
    let mib = if ground.smoke { 4 } else { 64 };
    let rate = SLOW.to_string();
    let (mut fast, fast_at) = ground.listener("receive", &[("listen", "127.0.0.1:0")])?;
    let options = [("listen", "127.0.0.1:0"), ("rate", rate.as_str()), ("receive-buffer", PEER_BUFFER)];
    let (mut slow, slow_at) = ground.listener("receive", &options)?;
    let at = free_address()?;
    let buffer = format!("max_size: {mib}MiB, when_full: block");
    let text = pipeline(&format!("{}MiB", 2 * mib + 32), &at, &fast_at, Some((&slow_at, &buffer)));
    let mut program = ground.program("fork_own_buffer", &text)?;
    let (seconds, offered) = (ground.seconds.max(3).to_string(), OFFERED.to_string());
    let options = [("to", at.as_str()), ("seconds", &seconds), ("rate", &offered), ("send-buffer", PEER_BUFFER)];
    let mut sender = Child::start(&mut ground.rig("send", &options))?;
    let (mut before, mut after) = (Phase::default(), Phase::default());
    let (mut full_at, mut last) = (None, (0, 0));
    for tick in 0_u32..u32::try_from(ground.seconds.max(3)).unwrap_or(3) * 4 - 2 {
        pass(Duration::from_millis(250));
        let (got, given) = (seen(&mut fast)?.records, sent(&mut sender)?);
        let waiting = program.metric("tidegate_edge_waiting_producers", &["edge=\"slow\""]);
        if waiting > 0.0 && full_at.is_none() {
            full_at = Some(tick);
            let bytes = program.metric("tidegate_edge_fill_bytes", &["edge=\"slow\""]);
            before.note =
                format!("full after {:.1} s, with {:.0} MiB", f64::from(tick + 1) / 4.0, bytes / f64::from(1 << 20));
        }
        match full_at {
            None => before.add(got - last.0, given - last.1),
            // The tick in which it became full belongs to neither.
            Some(full) if tick > full + 1 => after.add(got - last.0, given - last.1),
            Some(_) => {}
        }
        last = (got, given);
    }
    let sentence = program.metric("tidegate_held_records", &["name=\"slow\""]);
    slow.tell("rate 0");
    let offered = sent_at_end(&mut sender)?;
    let (of_fast, of_slow) = (all_seen(&mut fast, offered)?, all_seen(&mut slow, offered)?);
    let mut outcome = Outcome {
        offered,
        delivered: of_fast.unique.min(of_slow.unique),
        repeated: of_fast.repeated + of_slow.repeated,
        slowed: Some(full_at.is_some()),
        held: Some(counted(sentence)),
        peak_rss_mib: program.peak_rss_mib()?,
        p50_millis: Some(of_fast.p50_millis),
        p99_millis: Some(of_fast.p99_millis),
        ..Outcome::default()
    };
    let (kept, rate) = (before.share(), before.rate());
    outcome.law(
        kept >= 0.95,
        format!(
            "until the buffer is full, the fast branch had {:.0} % of what was offered, {rate:.0} records/s",
            kept * 100.0
        ),
    );
    outcome.law(outcome.lost() == 0 && outcome.repeated == 0, "both branches had every record once");
    outcome.law(full_at.is_some(), format!("the buffer filled and blocked: {}", before.note));
    outcome.law_of_memory(program.resident_mib());
    outcome.note(format!("then the fork goes as fast as its slow branch: {:.0} records/s", after.rate()));
    outcome.note(bottleneck(&program.stop()));
    Ok(outcome)
}

/// What was offered and taken in ticks of a quarter of a second.
#[derive(Default)]
struct Phase {
    ticks: u32,
    got: u64,
    given: u64,
    note: String,
}

impl Phase {
    fn add(&mut self, got: u64, given: u64) {
        self.ticks += 1;
        self.got += got;
        self.given += given;
    }

    fn share(&self) -> f64 {
        float(self.got) / float(self.given.max(1))
    }

    fn rate(&self) -> f64 {
        float(self.got) / (f64::from(self.ticks.max(1)) / 4.0)
    }
}
