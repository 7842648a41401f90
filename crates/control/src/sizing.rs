//! Sizes that follow what they serve: [`BatchSize`] for a sink, [`EdgeWindow`] for an edge.
//!
//! * A **batch** grows while the sink answers well within its target and batches are full, and shrinks in proportion when
//!   it does not. The time to wait for a full one is the time that one takes to fill, at most a share of the target.
//! * A **window** of an edge is what goes over it in the target time of residence (Little's law), and no more: a larger
//!   one holds memory and adds nothing but delay. It follows at once when it has to grow, and slowly when it can shrink,
//!   so that a pause does not cost the next burst its room.

use std::time::Duration;

use tidegate_flow::Time;

use crate::limiter::span;
use crate::smooth::Average;

/// The size of the batches of a sink, in records.
#[derive(Clone, Debug)]
pub struct BatchSize {
    least: f64,
    most: f64,
    target: f64,
    size: f64,
    latency: Average,
}

impl BatchSize {
    /// Between `least` (1 at least) and `most` records, so that the sink answers within `target`. Starts at the least.
    #[must_use]
    pub fn new(least: u32, most: u32, target: Duration) -> Self {
        let least = f64::from(least.max(1));
        let most = f64::from(most).max(least);
        Self { least, most, target: target.as_secs_f64().max(1e-6), size: least, latency: Average::weighing(0.2) }
    }

    /// The size now.
    #[must_use]
    pub fn size(&self) -> u32 {
        crate::limiter::whole(self.size)
    }

    /// How long to wait for a full batch where `rate` records come a second: no longer than it takes, and at most half of
    /// the target.
    #[must_use]
    pub fn linger(&self, rate: f64) -> Duration {
        let most = self.target / 2.0;
        span(if rate > 0.0 { (self.size / rate).min(most) } else { most })
    }

    /// A batch of `records` was accepted after `latency`.
    pub fn accepted(&mut self, records: u32, latency: Duration) {
        let usual = self.latency.add(latency.as_secs_f64());
        let is_full = f64::from(records) >= 0.9 * self.size.floor();
        if usual > self.target {
            // In proportion, and never by more than half at once.
            self.size = (self.size * (self.target / usual).max(0.5)).max(self.least);
            self.latency.scale((self.target / usual).max(0.5));
        } else if is_full && usual < 0.7 * self.target {
            self.size = (self.size * 1.25 + 1.0).min(self.most);
        }
    }

    /// A batch timed out, or was refused as too large.
    pub fn refused(&mut self) {
        self.size = (self.size / 2.0).max(self.least);
    }
}

/// The window of an edge, in any unit of weight.
#[derive(Clone, Debug)]
pub struct EdgeWindow {
    least: f64,
    most: f64,
    target: f64,
    window: f64,
    from: Time,
    passed: f64,
}

/// Room above what the target asks for, so that what is uneven does not stop upstream.
const SLACK: f64 = 1.5;
/// The share of what is too much that is given back in a round.
const SHRINK: f64 = 0.1;

impl EdgeWindow {
    /// Between `least` and `most`, so that what goes over the edge stays about `target` in it. Starts at the least.
    #[must_use]
    pub fn new(least: f64, most: f64, target: Duration) -> Self {
        let least = least.max(1.0);
        let target = target.as_secs_f64().max(1e-6);
        Self { least, most: most.max(least), target, window: least, from: Time::ZERO, passed: 0.0 }
    }

    /// The window now.
    #[must_use]
    pub const fn window(&self) -> f64 {
        self.window
    }

    /// So much has left the edge; `was_full` says whether it was full since the last call. Looks once a target; gives
    /// the window where it has changed.
    pub fn left(&mut self, weight: f64, was_full: bool, now: Time) -> Option<f64> {
        self.passed += weight.max(0.0);
        let seconds = now.since(self.from).as_secs_f64();
        if seconds < self.target {
            return None;
        }
        let wanted = (self.passed / seconds * self.target * SLACK).clamp(self.least, self.most);
        (self.from, self.passed) = (now, 0.0);
        let before = self.window;
        if wanted < self.window {
            self.window -= (self.window - wanted) * SHRINK;
        } else if was_full {
            // What was full could have let more through than it did: at most twice as much a round.
            self.window = wanted.min(self.window * 2.0);
        }
        (self.window.to_bits() != before.to_bits()).then_some(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_batch_grows_to_what_the_sink_takes_in_the_target_and_shrinks_with_it() {
        let mut size = BatchSize::new(10, 100_000, SECOND);
        // The sink takes 0.1 s and 0.1 ms a record: 9,000 records take a second.
        let run = |size: &mut BatchSize, rounds, each: f64| {
            for _ in 0..rounds {
                size.accepted(size.size(), span(0.1 + each * f64::from(size.size())));
            }
        };
        run(&mut size, 100, 1e-4);
        assert!((5_000..=9_000).contains(&size.size()), "{}", size.size());
        run(&mut size, 100, 1e-3);
        assert!((500..=900).contains(&size.size()), "a tenth as fast: {}", size.size());
        size.accepted(1, Duration::ZERO);
        let before = size.size();
        (0..100).for_each(|_| size.accepted(1, Duration::ZERO));
        assert_eq!(size.size(), before, "small batches tell nothing of large ones");
        (0..20).for_each(|_| size.refused());
        assert_eq!((size.size(), size.linger(1_000.0), size.linger(0.0)), (10, SECOND / 100, SECOND / 2));
    }

    #[test]
    fn a_window_is_what_passes_in_the_target_and_gives_back_the_rest_slowly() {
        let mut window = EdgeWindow::new(100.0, 1e6, SECOND);
        let mut now = Time::ZERO;
        let mut run = |window: &mut EdgeWindow, seconds: u32, rate: f64, was_full| {
            for _ in 0..seconds * 10 {
                now = now + SECOND / 10;
                window.left(rate / 10.0, was_full, now);
            }
        };
        run(&mut window, 10, 10_000.0, true);
        assert!((14_000.0..16_000.0).contains(&window.window()), "{}", window.window());
        run(&mut window, 1, 0.0, false);
        assert!(window.window() > 13_000.0, "a pause costs little: {}", window.window());
        run(&mut window, 100, 0.0, false);
        assert!(window.window() < 105.0, "and a long one gives all of it back: {}", window.window());
        run(&mut window, 10, 10_000.0, false);
        assert!(window.window() < 105.0, "nobody waited: it need not grow");
    }
}
