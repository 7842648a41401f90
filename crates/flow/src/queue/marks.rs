//! Pressure: [`Level`] with hysteresis between a low and a high water mark.

use std::time::Duration;

use crate::units::{Bytes, Records, Weight};

/// How pressured an edge is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Calm.
    #[default]
    Normal = 0,
    /// At or above high water (by fill or by residence), and not yet back at low water.
    High = 1,
    /// Full: a batch was refused or waits, or a unit of the window is used up; and not yet back below high water.
    Critical = 2,
}

impl Level {
    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Where an edge counts as pressured, and where as calm again.
///
/// Fill is the larger of the two units' shares of the window, and counts reserved credit. Residence is the age of the
/// oldest batch in the edge; it is looked at whenever a batch enters or leaves and whenever somebody asks.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Marks {
    /// High water as a share of the window, above `low` and at most 1. Default 0.8.
    pub high: f64,
    /// Low water as a share of the window, above 0. Default 0.5.
    pub low: f64,
    /// The edge also counts as pressured when its oldest batch is at least this old. Default: never.
    pub high_residence: Option<Duration>,
    /// ... and is calm again only when its oldest batch is at most this old. Default: half of `high_residence`.
    pub low_residence: Option<Duration>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { high: 0.8, low: 0.5, high_residence: None, low_residence: None }
    }
}

/// The level of one edge, moved by what it sees.
#[derive(Debug)]
pub(super) struct Gauge {
    marks: Marks,
    window: Weight,
    high_at: Weight,
    low_at: Weight,
    level: Level,
    transitions: u64,
}

impl Gauge {
    pub(super) fn new(marks: Marks, window: Weight) -> Self {
        let mut gauge =
            Self { marks, window, high_at: Weight::ZERO, low_at: Weight::ZERO, level: Level::Normal, transitions: 0 };
        gauge.set_window(window);
        gauge
    }

    pub(super) fn set_window(&mut self, window: Weight) {
        self.window = window;
        self.high_at = scale(window, self.marks.high, f64::ceil);
        self.low_at = scale(window, self.marks.low, f64::floor);
    }

    pub(super) const fn level(&self) -> Level {
        self.level
    }

    pub(super) const fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Whether the age of the oldest batch matters.
    pub(super) const fn by_residence(&self) -> bool {
        self.marks.high_residence.is_some()
    }

    pub(super) const fn marks(&self) -> Marks {
        self.marks
    }

    /// Whether `fill` is at or above high water.
    #[inline]
    pub(super) fn is_high(&self, fill: Weight) -> bool {
        reaches(fill, self.high_at)
    }

    /// Looks at the edge and moves the level, by one transition at most. Says whether it moved.
    #[inline]
    pub(super) fn look(&mut self, fill: Weight, refusing: bool, age: Duration) -> bool {
        let next = self.next(fill, refusing, age);
        let moved = next != self.level;
        self.level = next;
        self.transitions += u64::from(moved);
        moved
    }

    #[inline]
    fn next(&self, fill: Weight, refusing: bool, age: Duration) -> Level {
        let full = refusing || reaches(fill, self.window);
        let high = self.is_high(fill) || self.marks.high_residence.is_some_and(|limit| age >= limit);
        match self.level {
            _ if full => Level::Critical,
            Level::Normal if high => Level::High,
            Level::Normal => Level::Normal,
            Level::Critical if high => Level::Critical,
            Level::High | Level::Critical if self.is_low(fill, age) => Level::Normal,
            Level::High | Level::Critical => Level::High,
        }
    }

    #[inline]
    fn is_low(&self, fill: Weight, age: Duration) -> bool {
        let young = match (self.marks.low_residence, self.marks.high_residence) {
            (Some(limit), _) => age <= limit,
            (None, Some(high)) => age <= high / 2,
            (None, None) => true,
        };
        young && fill.fits(self.low_at)
    }
}

/// Whether `fill` has reached `mark` in either unit.
#[inline]
fn reaches(fill: Weight, mark: Weight) -> bool {
    fill.records >= mark.records || fill.bytes >= mark.bytes
}

/// The larger of the two units' shares of `whole`.
pub(super) fn share(part: Weight, whole: Weight) -> f64 {
    let of = |part: u64, whole: u64| {
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let share = part as f64 / whole.max(1) as f64;
        share
    };
    of(part.records.get(), whole.records.get()).max(of(part.bytes.get(), whole.bytes.get()))
}

fn scale(window: Weight, by: f64, round: fn(f64) -> f64) -> Weight {
    let of = |value: u64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mark is a share of the window; the cast saturates"
        )]
        let scaled = round(value as f64 * by) as u64;
        scaled
    };
    Weight { records: Records::new(of(window.records.get())), bytes: Bytes::new(of(window.bytes.get())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(marks: Marks) -> Gauge {
        Gauge::new(marks, Weight::new(10, 1000))
    }

    fn fill(records: u64) -> Weight {
        Weight::new(records, records)
    }

    fn levels(gauge: &mut Gauge, fills: &[u64]) -> Vec<Level> {
        fills
            .iter()
            .map(|&records| {
                gauge.look(fill(records), false, Duration::ZERO);
                gauge.level()
            })
            .collect()
    }

    #[test]
    fn one_transition_per_crossing_and_none_inside_the_band() {
        use Level::{Critical, High, Normal};
        let mut gauge = gauge(Marks::default());
        let seen = levels(&mut gauge, &[7, 8, 7, 6, 8, 6, 5, 6, 7, 8, 10, 9, 8, 7, 10, 5]);
        assert_eq!(
            seen,
            [
                Normal, High, High, High, High, High, Normal, Normal, Normal, High, Critical, Critical, Critical, High,
                Critical, Normal
            ]
        );
        assert_eq!(gauge.transitions(), 7);
    }

    #[test]
    fn either_unit_counts() {
        let mut gauge = gauge(Marks::default());
        assert!(gauge.look(Weight::new(1, 800), false, Duration::ZERO));
        assert!(!gauge.look(Weight::new(1, 501), false, Duration::ZERO));
        assert!(gauge.look(Weight::new(1, 500), false, Duration::ZERO));
    }

    #[test]
    fn residence_raises_the_level_at_any_fill() {
        let ms = Duration::from_millis;
        let mut gauge = gauge(Marks { high_residence: Some(ms(100)), ..Marks::default() });
        assert!(!gauge.look(fill(1), false, ms(99)));
        assert!(gauge.look(fill(1), false, ms(100)));
        assert!(!gauge.look(fill(1), false, ms(51)));
        assert!(gauge.look(fill(1), false, ms(50)));
        assert_eq!(gauge.level(), Level::Normal);
    }

    #[test]
    fn refusing_is_critical_at_any_fill() {
        let mut gauge = gauge(Marks::default());
        assert!(gauge.look(fill(1), true, Duration::ZERO));
        assert_eq!(gauge.level(), Level::Critical);
        assert!(gauge.look(fill(1), false, Duration::ZERO));
        assert_eq!((gauge.level(), gauge.transitions()), (Level::Normal, 2));
    }

    #[test]
    fn a_window_of_one_has_both_marks() {
        let mut gauge = Gauge::new(Marks::default(), Weight::new(1, 1));
        assert!(gauge.look(Weight::new(1, 1), false, Duration::ZERO));
        assert!(gauge.look(Weight::ZERO, false, Duration::ZERO));
        assert_eq!(gauge.level(), Level::Normal);
    }
}
