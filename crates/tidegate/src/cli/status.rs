//! The live status on a terminal: rates, fill, states, and the sentence that names the bottleneck. Once a second, in
//! place; nothing where standard error is no terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tidegate::blame::Verdict;
use tidegate::flow::ledger::FlowKind;
use tidegate::{Records, Snapshot, StageState, StageTimes, View};
use tidegate_admin::Reloaded;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::term;

/// How often it is drawn.
const EVERY: Duration = Duration::from_secs(1);
/// Stages that are shown; beyond, the busiest edges matter more than a full list.
const MOST_ROWS: usize = 24;

/// Draws a pipeline.
pub(super) struct Status {
    view: Arc<View>,
    ticks: Option<Interval>,
    before: Option<Sample>,
    /// What became of the reloads so far.
    reloads: String,
    /// Lines on the terminal that the next drawing replaces.
    drawn: usize,
}

/// Everything at one look.
struct Sample {
    at: Duration,
    stages: Vec<Stage>,
    edges: Vec<Snapshot>,
    used: String,
    in_flight: u64,
    verdict: String,
    /// What sinks are refused now.
    refused: Vec<String>,
}

#[derive(Clone)]
struct Stage {
    name: String,
    kind: FlowKind,
    records: Records,
    times: StageTimes,
}

impl Status {
    pub(super) fn new(view: Arc<View>, is_shown: bool) -> Self {
        let ticks = is_shown.then(|| {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        Self { view, ticks, before: None, reloads: String::new(), drawn: 0 }
    }

    /// Waits for the next look and draws it. Cancel-safe. Never completes where nothing is shown.
    pub(super) async fn tick(&mut self) {
        let Some(ticks) = &mut self.ticks else { return std::future::pending().await };
        ticks.tick().await;
        let now = Sample::take(&self.view);
        if let Some(before) = &self.before {
            let (width, height) = (term::width(), term::height());
            let text = frame(self.view.name(), before, &now, width) + &self.reloads;
            self.draw(&fitted(&text, width, height));
        }
        self.before = Some(now);
    }

    /// Says below the picture how often the files were read again, and what became of it.
    pub(super) fn note(&mut self, reloads: [(Reloaded, u64); Reloaded::ALL.len()]) {
        let some = reloads.into_iter().filter(|(_, times)| *times > 0);
        let some: Vec<_> = some.map(|(result, times)| format!("{times} {}", result.name().replace('_', " "))).collect();
        self.reloads = format!("reloads: {}\n", some.join(", "));
    }

    /// Whether it draws at all.
    pub(super) const fn is_shown(&self) -> bool {
        self.ticks.is_some()
    }

    /// Draws one line in the place of the picture; for drains.
    pub(super) fn say(&mut self, line: &str) {
        self.draw(&fitted(line, term::width(), term::height()));
    }

    /// Removes what was drawn.
    pub(super) fn clear(&mut self) {
        if self.drawn > 0 {
            self.draw("");
        }
    }

    fn draw(&mut self, text: &str) {
        let mut out = String::new();
        if self.drawn > 0 {
            let _ = write!(out, "\u{1b}[{}A\u{1b}[J", self.drawn);
        }
        out.push_str(text);
        self.drawn = text.lines().count();
        // A terminal that is gone is no reason to stop.
        drop(std::io::stderr().lock().write_all(out.as_bytes()));
    }
}

impl Sample {
    fn take(view: &View) -> Self {
        let ledger = view.ledger();
        let verdict = view.bottleneck();
        // Fused components have a row in the ledger and no time of their own.
        let graph = view.graph();
        let stages = graph.stage_ids().zip(view.times()).filter_map(|(id, times)| {
            let stage = graph.stage(id);
            let mut rows = ledger.stages.iter().filter(|(_, kind, _)| *kind != FlowKind::Edge);
            let (name, kind, flows) = rows.find(|(name, ..)| *name == stage.name)?;
            let records = if *kind == FlowKind::Source { flows.input } else { flows.output };
            Some(Stage { name: name.clone(), kind: *kind, records, times })
        });
        Self {
            at: view.now().since(tidegate::Time::ZERO),
            stages: stages.collect(),
            edges: view.edges(),
            used: format!("{} of {}", view.budget().used(), view.budget().total()),
            in_flight: ledger.total().in_flight.get(),
            refused: refused(view, &verdict),
            verdict: verdict.to_string(),
        }
    }
}

/// What fits on the terminal: lines are cut, not wrapped, and none scrolls away, so that all of it can be drawn over.
fn fitted(text: &str, width: usize, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The line below the last one is where the cursor stands.
    let room = height.saturating_sub(1).max(1);
    let (top, left) = lines.split_at(lines.len().min(room));
    let mut top: Vec<String> = top.iter().map(|line| term::clipped(line, width)).collect();
    if !left.is_empty()
        && let Some(last) = top.last_mut()
    {
        *last = term::clipped("  and more, for which the terminal has no room", width);
    }
    top.join("\n") + "\n"
}

/// Terminals with fewer columns are shown the fill of edges as a figure alone.
const WIDE: usize = 100;

/// The picture: a head, a row for each stage, the sentence.
fn frame(name: &str, before: &Sample, now: &Sample, width: usize) -> String {
    let span = now.at.saturating_sub(before.at).as_secs_f64().max(0.001);
    let seconds = now.at.as_secs();
    let mut text = format!(
        "{name}  {:02}:{:02}:{:02}   memory {}   in flight {}\n",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        now.used,
        grouped(now.in_flight)
    );
    let names = now.stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0).min(if width < WIDE {
        16
    } else {
        24
    });
    let mut rows: Vec<(&Stage, &Stage)> = now.stages.iter().zip(&before.stages).collect();
    rows.sort_by_key(|(stage, _)| stage.kind as u8);
    for (stage, last) in rows.into_iter().take(MOST_ROWS) {
        let rate = (stage.records.saturating_sub(last.records)).get();
        let _ = write!(
            text,
            "  {:names$}  {:9}  {:>9}/s  ",
            cut(&stage.name, names),
            stage.kind.name(),
            per_second(rate, span)
        );
        let edge = now.edges.iter().find(|edge| *edge.name == *stage.name);
        text.push_str(&edge.map_or_else(
            || " ".repeat(if width < WIDE { 6 } else { 17 }) + " ",
            |edge| {
                let bar = if width < WIDE { String::new() } else { bar(edge.fill_share()) + " " };
                format!("{bar}{:>3.0} %  ", edge.fill_share() * 100.0)
            },
        ));
        let _ = writeln!(text, "{}", states(&last.times, &stage.times));
    }
    if now.stages.len() > MOST_ROWS {
        let _ = writeln!(text, "  and {} more", now.stages.len() - MOST_ROWS);
    }
    text.push_str(&wrapped(&now.verdict, width));
    now.refused.iter().for_each(|line| text.push_str(&wrapped(line, width)));
    text
}

/// A sentence for each sink that is refused now and that the verdict does not name with its cause.
fn refused(view: &View, verdict: &Verdict) -> Vec<String> {
    let named = verdict.culprit.as_ref().filter(|_| verdict.trouble.is_some()).map(|culprit| &culprit.name);
    let refusals = view.refusals();
    refusals
        .iter()
        .filter(|sink| sink.since.is_some() && named != Some(&sink.sink))
        .map(|sink| format!("! {sink}"))
        .collect()
}

/// What the stage did since the last look: the two states with the largest shares.
fn states(before: &StageTimes, now: &StageTimes) -> String {
    let window = now.window().saturating_sub(before.window()).as_secs_f64();
    let all = [
        StageState::Idle,
        StageState::Ready,
        StageState::Busy,
        StageState::BudgetWait,
        StageState::SettleWait,
        StageState::External,
        StageState::Throttled,
    ];
    let mut shares: Vec<(f64, &str)> = all
        .into_iter()
        .map(|state| (now.in_state(state).saturating_sub(before.in_state(state)), words(state)))
        .chain([(now.blocked.saturating_sub(before.blocked), "blocked")])
        .map(|(time, name)| (if window > 0.0 { time.as_secs_f64() / window } else { 0.0 }, name))
        .filter(|(share, _)| *share >= 0.01)
        .collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0));
    shares.truncate(2);
    shares.iter().map(|(share, name)| format!("{name} {:.0} %", share * 100.0)).collect::<Vec<_>>().join(", ")
}

fn words(state: StageState) -> &'static str {
    match state {
        StageState::BudgetWait => "waits for memory",
        StageState::SettleWait => "waits for settlement",
        StageState::External => "waits for its remote",
        other => other.name(),
    }
}

fn bar(share: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10")]
    let full = (share.clamp(0.0, 1.0) * 10.0).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(10 - full))
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(records: u64, seconds: f64) -> String {
    match records as f64 / seconds {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

/// `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn cut(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    name.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lines of at most `width` columns.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate::Time;

    fn sample(at: u64, records: u64, blocked: u64) -> Sample {
        let end = Time::from_nanos(at * 1_000_000_000);
        let mut times = StageTimes::new(Time::ZERO, end);
        times.blocked = Duration::from_secs(blocked);
        times.busy = Duration::from_secs(at - blocked);
        let stage = Stage { name: "orders".into(), kind: FlowKind::Source, records: Records::new(records), times };
        Sample {
            at: Duration::from_secs(at),
            stages: vec![stage],
            edges: Vec::new(),
            used: "1 MiB of 64 MiB".into(),
            in_flight: 12_345,
            verdict: "sink \"store\" limits source \"orders\"".into(),
            refused: Vec::new(),
        }
    }

    #[test]
    fn a_frame_shows_rates_shares_and_the_sentence_within_the_width() {
        let text = frame("shop", &sample(10, 1_000, 0), &sample(12, 41_000, 1), 20);
        assert_eq!(
            text,
            "shop  00:00:12   memory 1 MiB of 64 MiB   in flight 12 345\n  orders  source        20.0 k/s         \
             busy 50 %, blocked 50 %\nsink \"store\" limits\nsource \"orders\"\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_scrolls_away() {
        let (mut before, mut now) = (sample(10, 1_000, 0), sample(12, 41_000, 1));
        for sample in [&mut before, &mut now] {
            let stage = || Stage { name: "a name that is far too long".into(), ..sample.stages[0].clone() };
            let many = std::iter::repeat_with(stage).take(30).collect();
            sample.stages = many;
        }
        for (width, height) in [(80, 24), (40, 10), (200, 50)] {
            let text = fitted(&frame("shop", &before, &now, width), width, height);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= width), "{width}: {text}");
            assert!(text.lines().count() < height, "{height}: {text}");
        }
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)], ["0", "999", "1 000", "1 234 567"]);
        assert_eq!(
            [per_second(5_000, 1.0), per_second(50_000, 1.0), per_second(3_000_000, 1.0)],
            ["5000", "50.0 k", "3.00 M"]
        );
        assert_eq!(bar(0.0), "░░░░░░░░░░");
        assert_eq!(bar(2.0), "██████████");
        assert_eq!(cut("a-long-name", 5), "a-lo…");
    }
}
