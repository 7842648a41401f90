//! A verdict in one plain sentence.

use super::scene::PRESSURED;
use super::{Evidence, Kind, Remark, Verdict};
use crate::clock::StageState;
use crate::units::Weight;
use std::fmt;
use std::time::Duration;

/// From this fill on an edge is called full.
const CALLED_FULL: f64 = 0.9;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = span(self.window);
        match self.kind {
            Kind::None => {
                write!(f, "nothing limits the pipeline: there was no input for the last {window}.")?;
            }
            Kind::Stalled => self.fmt_stalled(f)?,
            Kind::WindowTooSmall => self.fmt_window(f, &window)?,
            Kind::Budget | Kind::SettleWindow => self.fmt_limit(f, &window)?,
            Kind::StarvedSource | Kind::Throttled if self.chain.len() == 1 => self.fmt_source(f, &window)?,
            Kind::SlowSink | Kind::SlowTransform | Kind::External | Kind::StarvedSource | Kind::Throttled => {
                self.fmt_culprit(f, &window)?;
            }
        }
        if let (Some((cause, time)), Some(culprit)) = (&self.trouble, &self.culprit) {
            write!(f, " \"{}\" has been refused for {}: {cause}.", culprit.name, span(*time))?;
        }
        self.remarks.iter().try_for_each(|remark| write!(f, " {remark}"))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, best_effort, lost, diverts, .. } = self;
        let branch = if *best_effort { " (best effort)" } else { "" };
        let what = if *diverts { "diverted" } else { "shed" };
        // Nearly all is not all.
        let share = if (0.99..1.0).contains(lost) { "over 99 %".to_owned() } else { percent(*lost) };
        write!(f, "Edge \"{name}\"{branch} {what} {share} of its records and holds nobody up.")
    }
}

impl Verdict {
    fn fmt_culprit(&self, f: &mut fmt::Formatter<'_>, window: &str) -> fmt::Result {
        let Some(culprit) = &self.culprit else { return Ok(()) };
        let doing = self.doing();
        let share = percent(self.share);
        write!(f, "{culprit} limits {}: it {doing} {share} of the last {window}; ", self.limited())?;
        match &self.evidence {
            Some(Evidence::Budget(share)) => {
                write!(f, "what it holds fills the memory budget (waited for {}).", percent(*share))
            }
            Some(Evidence::SettleWindow(share)) => {
                write!(f, "what it has not settled fills the settle window (waited for {}).", percent(*share))
            }
            Some(Evidence::Edge { name, fill, blocked, needs, .. }) => {
                let between = self.chain[1..self.chain.len() - 1].to_vec();
                let waiters = if between.is_empty() { self.chain[..1].to_vec() } else { between };
                let verb = if waiters.len() == 1 { "waits" } else { "wait" };
                let (fill, blocked) = (filled(*fill, *needs), percent(*blocked));
                write!(f, "{} {verb} for it (edge \"{name}\" {fill}, producers blocked {blocked}).", and(&waiters))
            }
            None => write!(f, "nothing behind it is at its limit."),
        }
    }

    fn fmt_source(&self, f: &mut fmt::Formatter<'_>, window: &str) -> fmt::Result {
        let Some(culprit) = &self.culprit else { return Ok(()) };
        let doing = self.doing();
        write!(f, "{culprit} limits the pipeline: it {doing} {} of the last {window}", percent(self.share))?;
        if self.pressure >= PRESSURED {
            write!(f, " and was held up only {}.", percent(self.pressure))
        } else {
            write!(f, ", and nothing behind it holds it up.")
        }
    }

    /// The sentence about the budget or the settle window itself.
    fn fmt_limit(&self, f: &mut fmt::Formatter<'_>, window: &str) -> fmt::Result {
        let Some(waiter) = &self.culprit else { return Ok(()) };
        let what = if self.kind == Kind::Budget { "memory budget" } else { "settle window" };
        let first = self.limits.iter().any(|limited| limited.id == waiter.id);
        let who = if first && self.limits.len() == 1 { "it".to_owned() } else { waiter.to_string() };
        write!(
            f,
            "the {what} limits {}: {who} {} {} of the last {window}, and no stage behind it is at its limit.",
            self.limited(),
            self.doing(),
            percent(self.share)
        )
    }

    fn fmt_window(&self, f: &mut fmt::Formatter<'_>, window: &str) -> fmt::Result {
        let Some(Evidence::Edge { name, blocked, .. }) = &self.evidence else { return Ok(()) };
        let consumer = self.chain.last().map_or("", String::as_str);
        let blocked = percent(*blocked);
        write!(
            f,
            "the window of edge \"{name}\" is too small and limits {}: its producer was blocked {blocked} of the last \
             {window} while \"{consumer}\" was idle {}.",
            self.limited(),
            percent(self.idle)
        )
    }

    fn fmt_stalled(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_ring = self.chain.len() > 1 && self.chain.first() == self.chain.last();
        if is_ring {
            let ring = self.chain.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" -> ");
            return write!(f, "nothing moves: {ring} wait for each other, and {} for them.", self.limited());
        }
        let Some(Evidence::Edge { name, .. }) = &self.evidence else { return Ok(()) };
        let consumer = self.chain.last().map_or("", String::as_str);
        write!(
            f,
            "nothing moves from {} on: edge \"{name}\" is full and \"{consumer}\" takes nothing from it.",
            self.limited()
        )
    }

    fn limited(&self) -> String {
        and_plain(&self.limits.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// What the culprit did, to be followed by a share.
    fn doing(&self) -> &'static str {
        match self.state {
            Some(StageState::Idle) => "had no input",
            Some(StageState::Ready) => "was ready but had no CPU",
            Some(StageState::Busy) | None => "was busy",
            Some(StageState::Blocked(_)) => "was blocked",
            Some(StageState::BudgetWait) => "waited for memory",
            Some(StageState::SettleWait) => "waited for records in flight to be settled",
            Some(StageState::External) => "waited for its remote",
            Some(StageState::Throttled) => "was held by its rate limit",
        }
    }
}

/// `"a", "b" and "c"`
fn and(names: &[String]) -> String {
    and_plain(&names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>())
}

/// `a, b and c`
fn and_plain(items: &[String]) -> String {
    match items {
        [] => "the pipeline".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// How full an edge is that makes its producers wait, and why it does where it does not look full.
fn filled(fill: f64, needs: Option<Weight>) -> String {
    match needs {
        _ if fill >= CALLED_FULL => "full".to_owned(),
        Some(next) => format!("{} full and without room for the next batch of {}", percent(fill), next.records),
        None => format!("{} full, since it gives room back by halves", percent(fill)),
    }
}

/// A share as people read it: `97 %`.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 1.0 { "under 1 %".to_owned() } else { format!("{percent:.0} %") }
}

/// A span of time as people read it: `10 s`, `1.5 s`, `250 ms`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 120.0 {
        format!("{} min", one_decimal(seconds / 60.0))
    } else if seconds >= 1.0 {
        format!("{} s", one_decimal(seconds))
    } else if seconds >= 0.001 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{:.0} us", seconds * 1e6)
    }
}

/// One decimal, unless it is 0.
fn one_decimal(value: f64) -> String {
    let shown = format!("{value:.1}");
    shown.strip_suffix(".0").map_or(shown.clone(), str::to_owned)
}
