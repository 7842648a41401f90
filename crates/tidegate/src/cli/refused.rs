//! What is said of sinks that are refused, while it happens: the first refusal at once, then at most a line in ten
//! seconds for each sink, and a line when it accepts again. And of what components fail on: the first of each kind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate::{NackKind, SinkRefusals, Time, View};
use tidegate_components::contract::Meters;

/// From one warning about a sink to the next.
const QUIET: Duration = Duration::from_secs(10);

/// How often it is looked whether there is something to say, beside whenever something changes.
const LOOK: Duration = Duration::from_secs(1);

/// What happens within such a time is looked at in one go.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Follows the refusals of the sinks of one pipeline.
#[derive(Debug, Default)]
pub(super) struct Refused {
    told: HashMap<String, Told>,
    /// What components met and was said: at most one for each of their counters.
    met: HashSet<(Arc<str>, &'static str)>,
}

/// What was said of a sink last.
#[derive(Copy, Clone, Debug)]
struct Told {
    at: Time,
    total: u64,
    /// Whether it was said to be refused for now, and not yet that it accepts again.
    is_open: bool,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A sink is refused.
    Warn(String),
    /// It accepts again.
    Info(String),
}

impl Line {
    pub(super) fn log(&self) {
        match self {
            Self::Warn(text) => tracing::warn!("{text}"),
            Self::Info(text) => tracing::info!("{text}"),
        }
    }
}

impl Refused {
    /// Says what there is to say, for as long as it is polled. Never completes. Cancel-safe.
    pub(super) async fn follow(&mut self, view: &View, meters: &Meters) {
        loop {
            drop(tokio::time::timeout(LOOK, view.refusals_changed()).await);
            // A sink that is refused and accepts in turn has news with each delivery.
            tokio::time::sleep(AT_ONCE).await;
            self.look(view.now(), &view.refusals()).iter().for_each(Line::log);
            self.firsts(meters).iter().for_each(Line::log);
        }
    }

    /// What components met for the first time: records that a program or a condition failed on.
    pub(super) fn firsts(&mut self, meters: &Meters) -> Vec<Line> {
        let mut lines = Vec::new();
        for meter in meters.all() {
            let Some(first) = meter.counter.first() else { continue };
            if self.met.insert((Arc::clone(&meter.node), meter.name)) {
                lines.push(Line::Warn(format!(
                    "\"{}\": {first}; further ones are counted as {}",
                    meter.node, meter.name
                )));
            }
        }
        lines
    }

    /// What is to be said now.
    pub(super) fn look(&mut self, now: Time, sinks: &[SinkRefusals]) -> Vec<Line> {
        sinks.iter().filter_map(|sink| self.line(now, sink)).collect()
    }

    fn line(&mut self, now: Time, sink: &SinkRefusals) -> Option<Line> {
        let last = sink.last.as_ref()?;
        let told = self.told.get(&sink.sink).copied();
        let more = sink.total().saturating_sub(told.map_or(0, |told| told.total));
        if let Some(told) = told
            && told.is_open
            && sink.since.is_none()
        {
            self.told.insert(sink.sink.clone(), Told { is_open: false, total: sink.total(), ..told });
            let refused = if more == 0 { String::new() } else { format!(" ({more} more refusals)") };
            return Some(Line::Info(format!("sink \"{}\" accepts again{refused}", sink.sink)));
        }
        let is_due = told.is_none_or(|told| now.since(told.at) >= QUIET);
        if more == 0 || !is_due {
            return None;
        }
        let is_open = last.kind == NackKind::Transient && sink.since.is_some();
        self.told.insert(sink.sink.clone(), Told { at: now, total: sink.total(), is_open });
        Some(Line::Warn(warning(now, sink, more)))
    }
}

fn warning(now: Time, sink: &SinkRefusals, more: u64) -> String {
    let Some(last) = &sink.last else { return String::new() };
    let times = if more == 1 { String::new() } else { format!(", {more} times since this was last said") };
    let since = match sink.since.map(|since| now.since(since)) {
        Some(time) if time >= Duration::from_secs(1) => format!("; nothing was accepted for {} s", time.as_secs()),
        _ => String::new(),
    };
    let what = match last.kind {
        NackKind::Transient => "is refused for now and tries again",
        NackKind::Permanent => "gives up records that are refused for good",
    };
    format!("sink \"{}\" {what}{times}{since}: {}", sink.sink, last.cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate::{Nack, Records};

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    fn sink(transient: u64, since: Option<u64>) -> [SinkRefusals; 1] {
        [SinkRefusals {
            sink: "out".into(),
            transient,
            permanent: 0,
            retries: transient,
            returned_transient: Records::ZERO,
            returned_permanent: Records::ZERO,
            last: (transient > 0).then(|| Nack::transient("nobody is there")),
            at: Time::ZERO,
            since: since.map(at),
        }]
    }

    #[test]
    fn the_first_refusal_is_told_at_once_then_seldom_and_so_is_the_end() {
        let mut refused = Refused::default();
        assert_eq!(refused.look(at(0), &sink(0, None)), []);
        let first = "sink \"out\" is refused for now and tries again: nobody is there";
        assert_eq!(refused.look(at(1), &sink(1, Some(1))), [Line::Warn(first.into())]);
        assert_eq!(refused.look(at(2), &sink(4, Some(1))), []);
        let later = "sink \"out\" is refused for now and tries again, 8 times since this was last said; nothing was \
                     accepted for 11 s: nobody is there";
        assert_eq!(refused.look(at(12), &sink(9, Some(1))), [Line::Warn(later.into())]);
        let end = "sink \"out\" accepts again (1 more refusals)";
        assert_eq!(refused.look(at(13), &sink(10, None)), [Line::Info(end.into())]);
        assert_eq!(refused.look(at(14), &sink(10, None)), []);
        assert_eq!(refused.look(at(15), &sink(11, Some(15))), [], "what comes and goes is not told each time");
        assert_eq!(refused.look(at(30), &sink(12, Some(15))).len(), 1);
    }
}
