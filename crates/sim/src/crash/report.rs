//! What is printed: a line for each round, a table of pipelines and faults, and how often each point killed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::draw::Fault;
use super::judge::{Verdict, promise_of};

/// One line for a round; more where something is wrong.
pub(super) fn line(verdict: &Verdict) -> String {
    let facts = &verdict.facts;
    let hit = match facts.hit {
        Some(false) => ", not reached",
        Some(true) | None => "",
    };
    let mut text = format!(
        "{:<17} {:<12} {:>8} {:>6} {:>8} {:>9} {:>6} {:>9} {:>8} {:>7.1}  {} seed {}{hit}\n",
        verdict.round.case.name,
        verdict.round.fault.name(),
        verdict.acked,
        verdict.lost,
        verdict.twice,
        facts.unsettled,
        facts.kills,
        millis(facts.start),
        millis(facts.fresh),
        facts.peak_mib,
        if verdict.broken.is_empty() { "holds " } else { "BROKEN" },
        verdict.round.seed,
    );
    for broken in &verdict.broken {
        let _ = writeln!(text, "    BROKEN {broken}");
    }
    if !verdict.broken.is_empty() {
        let _ = writeln!(text, "    {:?}\n    {:?}", verdict.round, facts.notes);
    }
    text
}

/// The head of the lines.
pub(super) const HEAD: &str = "pipeline          fault           acked   lost    twice unsettled  kills  start ms fresh ms \
                               RSS MiB  verdict";

fn millis(time: Duration) -> u128 {
    time.as_millis()
}

/// What rounds add up to.
#[derive(Default)]
struct Sum {
    rounds: u64,
    broken: u64,
    acked: u64,
    lost: u64,
    most_lost: u64,
    may_lose: u64,
    twice: u64,
    oldest: Duration,
    start: Duration,
    fresh: Duration,
    kills: u32,
}

impl Sum {
    fn add(&mut self, verdict: &Verdict) {
        self.rounds += 1;
        self.broken += u64::from(!verdict.broken.is_empty());
        self.acked += verdict.acked;
        self.lost += verdict.lost;
        let kills = u64::from(verdict.facts.kills.max(1));
        self.most_lost = self.most_lost.max(verdict.lost / kills);
        self.may_lose = self.may_lose.max(verdict.may_lose / kills);
        self.twice += verdict.twice;
        self.oldest = self.oldest.max(verdict.oldest);
        self.start = self.start.max(verdict.facts.start);
        self.fresh = self.fresh.max(verdict.facts.fresh);
        self.kills += verdict.facts.kills;
    }
}

/// The points that no round came to, of those that were to kill one, each with its rounds: they are not tested then.
pub(super) fn never_reached(verdicts: &[Verdict]) -> Vec<(&'static str, usize)> {
    let mut points = BTreeMap::<Fault, (usize, usize)>::new();
    for verdict in verdicts {
        if let Some(hit) = verdict.facts.hit {
            let (rounds, hits) = points.entry(verdict.round.fault).or_default();
            *rounds += 1;
            *hits += usize::from(hit);
        }
    }
    points.into_iter().filter(|(_, (_, hits))| *hits == 0).map(|(fault, (rounds, _))| (fault.name(), rounds)).collect()
}

/// The tables.
pub(super) fn table(verdicts: &[Verdict]) -> String {
    let (mut of_pipeline, mut of_fault) = (BTreeMap::<&str, Sum>::new(), BTreeMap::<Fault, Sum>::new());
    for verdict in verdicts {
        of_pipeline.entry(verdict.round.case.name).or_default().add(verdict);
        of_fault.entry(verdict.round.fault).or_default().add(verdict);
    }
    let mut text = format!(
        "\n{:<17} {:>6} {:>6} {:>10} {:>6} {:>9} {:>10} {:>9} {:>9}  what is promised\n",
        "pipeline", "rounds", "kills", "acked", "lost", "twice", "oldest ms", "start ms", "fresh ms"
    );
    for (name, sum) in &of_pipeline {
        let promise = verdicts.iter().find(|verdict| verdict.round.case.name == *name);
        let promise = promise.map_or("", |verdict| promise_of(verdict.round.case.source));
        let _ = writeln!(text, "{} {promise}", row(name, sum));
    }
    for (name, sum) in of_pipeline.iter().filter(|(_, sum)| sum.may_lose > 0) {
        let _ =
            writeln!(text, "  {name}: {} lost at most by one kill, {} may be (explain)", sum.most_lost, sum.may_lose);
    }
    let _ = writeln!(text, "\nfault");
    for (fault, sum) in &of_fault {
        let hits =
            verdicts.iter().filter(|verdict| verdict.round.fault == *fault).filter_map(|verdict| verdict.facts.hit);
        let hits: Vec<bool> = hits.collect();
        let died = hits.iter().filter(|hit| **hit).count();
        let hits = if hits.is_empty() { String::new() } else { format!("died there in {died} of {}", hits.len()) };
        let _ = writeln!(text, "{} {hits}", row(fault.name(), sum));
    }
    let all = verdicts.iter().fold(Sum::default(), |mut all, verdict| {
        all.add(verdict);
        all
    });
    let broken = if all.broken == 0 { "every law held".to_owned() } else { format!("BROKEN in {} rounds", all.broken) };
    let _ = writeln!(
        text,
        "\n{} rounds, {} kills: {broken}. Twice: of what came out at most {} ms before a kill, or was sent again.",
        all.rounds,
        all.kills,
        millis(all.oldest)
    );
    text
}

fn row(name: &str, sum: &Sum) -> String {
    format!(
        "{name:<17} {:>6} {:>6} {:>10} {:>6} {:>9} {:>10} {:>9} {:>9} ",
        sum.rounds,
        sum.kills,
        sum.acked,
        sum.lost,
        sum.twice,
        millis(sum.oldest),
        millis(sum.start),
        millis(sum.fresh)
    )
}

/// A round as an object on one line.
pub(super) fn object(verdict: &Verdict) -> String {
    let (round, facts) = (&verdict.round, &verdict.facts);
    let number = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let object = json!({
        "seed": round.seed, "pipeline": round.case.name, "fault": round.fault.name(), "ordered": round.ordered,
        "acked": verdict.acked, "lost": verdict.lost, "may_lose": verdict.may_lose, "twice": verdict.twice,
        "oldest_ms": number(verdict.oldest), "unsettled": facts.unsettled, "kills": facts.kills, "hit": facts.hit,
        "start_ms": number(facts.start), "fresh_ms": number(facts.fresh), "peak_rss_mib": facts.peak_mib,
        "resident_mib": facts.resident_mib, "notes": facts.notes, "broken": verdict.broken,
    });
    format!("{object}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::draw::Round;
    use crate::crash::round::Facts;

    #[test]
    fn a_point_that_no_round_came_to_is_told() {
        let verdict = |point: &'static str, hit| Verdict {
            round: Round { fault: Fault::At(point), ..Round::draw(1) },
            facts: Facts { hit, ..Facts::default() },
            acked: 0,
            lost: 0,
            twice: 0,
            oldest: Duration::ZERO,
            may_lose: 0,
            broken: Vec::new(),
        };
        let some = [("roll", Some(false)), ("sync", Some(false)), ("sync", Some(true)), ("roll", Some(false))];
        let mut verdicts: Vec<_> = some.into_iter().map(|(point, hit)| verdict(point, hit)).collect();
        assert_eq!(never_reached(&verdicts), [("roll", 2)]);
        verdicts.push(Verdict { round: Round { fault: Fault::Kill, ..Round::draw(1) }, ..verdict("ack", None) });
        assert_eq!(never_reached(&verdicts), [("roll", 2)], "a kill at random has no point");
    }
}
