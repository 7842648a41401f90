//! [`EdgeSpec`]: everything that can be set about an edge, with its defaults and its limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::lanes::{MAX_BUCKETS, MAX_LANES, percent_of};
use super::marks::Marks;
use super::policy::{OnFull, SampleRate};
use crate::units::{Bytes, Records, Weight, kib, mib};

/// The most producers that one edge can have.
pub const MAX_PRODUCERS: u16 = 4096;

/// The priority lanes of an edge: how many, and the share of each that higher lanes cannot take.
///
/// A lane's floor works twice: at admission that share of the window is kept free for it, and while it has batches
/// waiting it gets at least that share of the bytes that are taken out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    count: u8,
    floors: [u8; MAX_LANES as usize],
}

impl Lanes {
    /// One lane; what priority a batch has makes no difference.
    pub const ONE: Self = Self { count: 1, floors: [0; MAX_LANES as usize] };

    /// One lane for each floor, highest priority first; floors in percent.
    #[must_use]
    pub fn with_floors(percent: &[u8]) -> Self {
        let mut floors = [0; MAX_LANES as usize];
        for (floor, wanted) in floors.iter_mut().zip(percent) {
            *floor = *wanted;
        }
        Self { count: u8::try_from(percent.len()).unwrap_or(u8::MAX), floors }
    }

    /// How many lanes.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// The floor of `lane` in percent.
    #[must_use]
    pub fn floor(&self, lane: u8) -> u8 {
        self.floors.get(usize::from(lane)).copied().unwrap_or(0)
    }

    /// The most of `window` that `lane` can have at once: what the floors of the other lanes leave of it, at least one
    /// record and one byte.
    #[must_use]
    pub fn most_of(&self, window: Weight, lane: u8) -> Weight {
        let lane = lane.min(self.count.saturating_sub(1));
        let others = (0..self.count).filter(|other| *other != lane);
        let kept: Weight = others.map(|other| percent_of(window, u64::from(self.floor(other)))).sum();
        window.saturating_sub(kept).max(Weight::new(1, 1))
    }

    fn total(&self) -> u16 {
        self.floors.iter().map(|&floor| u16::from(floor)).sum()
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::ONE
    }
}

/// What an edge is to be: its name, its window, and what it does when that is full.
///
/// ```
/// use tidegate_flow::queue::{EdgeSpec, OnFull};
///
/// let spec = EdgeSpec::new("to-enrich").records(1024).bytes(tidegate_flow::mib(4)).on_full(OnFull::DropOldest);
/// assert!(spec.validate().is_ok());
///
/// let error = EdgeSpec::new("to-enrich").records(0).validate().unwrap_err();
/// assert!(error.to_string().starts_with("edge \"to-enrich\": "));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeSpec {
    /// The name in metrics, reports and errors; not empty.
    pub name: Arc<str>,
    /// How much the edge holds, in both units. Default 4096 records, 1 MiB.
    pub window: Weight,
    /// Whether a pipeline reserves the memory of the whole window: set where its bytes were given. The memory of other
    /// edges floats above that of one batch.
    pub sized: bool,
    /// What a full edge does. Default: block for as long as it takes.
    pub when_full: OnFull,
    /// Where the edge counts as pressured and as calm.
    pub marks: Marks,
    /// Priority lanes. Default one.
    pub lanes: Lanes,
    /// Fairness buckets inside each lane, 1 to 64. Default one: first in, first out.
    pub buckets: u8,
    /// Producers, each of which may wait with one claim; 1 to 4096. Default 64.
    pub max_producers: u16,
    /// Bytes that a producer or a bucket may take in one turn. Default 64 KiB.
    pub quantum: Bytes,
    /// Control messages that may wait, at least one. Default 16.
    pub control_capacity: u16,
}

impl From<&str> for EdgeSpec {
    /// An edge of this name with the defaults.
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl EdgeSpec {
    /// The window of an edge that was not given one: 4096 records, 1 MiB.
    pub const DEFAULT_WINDOW: Weight = Weight { records: Records::new(4096), bytes: mib(1) };

    /// An edge of this name with the defaults.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            window: Self::DEFAULT_WINDOW,
            sized: false,
            when_full: OnFull::default(),
            marks: Marks::default(),
            lanes: Lanes::default(),
            buckets: 1,
            max_producers: 64,
            quantum: kib(64),
            control_capacity: 16,
        }
    }

    /// How many records the edge holds.
    #[must_use]
    pub fn records(mut self, records: u64) -> Self {
        self.window.records = Records::new(records);
        self
    }

    /// How many bytes the edge holds. A pipeline reserves them whole.
    #[must_use]
    pub fn bytes(mut self, bytes: Bytes) -> Self {
        self.window.bytes = bytes;
        self.sized = true;
        self
    }

    /// How much the edge holds, in both units. A pipeline reserves the bytes whole.
    #[must_use]
    pub fn window(mut self, window: Weight) -> Self {
        self.window = window;
        self.sized = true;
        self
    }

    /// What a full edge does.
    #[must_use]
    pub fn on_full(mut self, when_full: OnFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// High water as a share of the window.
    #[must_use]
    pub fn high_water(mut self, share: f64) -> Self {
        self.marks.high = share;
        self
    }

    /// Low water as a share of the window.
    #[must_use]
    pub fn low_water(mut self, share: f64) -> Self {
        self.marks.low = share;
        self
    }

    /// The age of the oldest batch at which the edge counts as pressured at any fill.
    #[must_use]
    pub fn high_residence(mut self, age: Duration) -> Self {
        self.marks.high_residence = Some(age);
        self
    }

    /// The age of the oldest batch at which an edge pressured by age is calm again.
    #[must_use]
    pub fn low_residence(mut self, age: Duration) -> Self {
        self.marks.low_residence = Some(age);
        self
    }

    /// One priority lane for each floor (in percent), highest priority first.
    #[must_use]
    pub fn lanes(mut self, floors: &[u8]) -> Self {
        self.lanes = Lanes::with_floors(floors);
        self
    }

    /// Fairness buckets inside each lane.
    #[must_use]
    pub fn buckets(mut self, buckets: u8) -> Self {
        self.buckets = buckets;
        self
    }

    /// The most producers at a time.
    #[must_use]
    pub fn max_producers(mut self, producers: u16) -> Self {
        self.max_producers = producers;
        self
    }

    /// Bytes that a producer or a bucket may take in one turn.
    #[must_use]
    pub fn quantum(mut self, bytes: Bytes) -> Self {
        self.quantum = bytes;
        self
    }

    /// The most control messages that may wait.
    #[must_use]
    pub fn control_capacity(mut self, messages: u16) -> Self {
        self.control_capacity = messages;
        self
    }

    /// Whether an edge can be made of this.
    ///
    /// # Errors
    /// The first thing that is wrong, with the name of the edge and what to do.
    pub fn validate(&self) -> Result<(), EdgeSpecError> {
        match self.fault() {
            None => Ok(()),
            Some(fault) => Err(EdgeSpecError { edge: Arc::clone(&self.name), fault }),
        }
    }

    fn fault(&self) -> Option<SpecFault> {
        let marks = self.marks;
        let ordered = marks.low > 0.0 && marks.low < marks.high && marks.high <= 1.0;
        let checks = [
            (!self.name.is_empty(), SpecFault::NoName),
            (!self.window.records.is_zero(), SpecFault::NoRecords),
            (!self.window.bytes.is_zero(), SpecFault::NoBytes),
            (ordered, SpecFault::Marks { low: marks.low, high: marks.high }),
            (residence_is_ordered(&marks), SpecFault::Residence),
            ((1..=MAX_LANES).contains(&self.lanes.count), SpecFault::LaneCount(self.lanes.count)),
            (self.lanes.total() <= 100, SpecFault::Floors(self.lanes.total())),
            ((1..=MAX_BUCKETS).contains(&self.buckets), SpecFault::Buckets(self.buckets)),
            ((1..=MAX_PRODUCERS).contains(&self.max_producers), SpecFault::Producers(self.max_producers)),
            (!self.quantum.is_zero(), SpecFault::Quantum),
            (self.control_capacity > 0, SpecFault::ControlCapacity),
        ];
        let fault = checks.into_iter().find(|(holds, _)| !holds).map(|(_, fault)| fault);
        fault.or_else(|| self.policy_fault())
    }

    fn policy_fault(&self) -> Option<SpecFault> {
        match self.when_full {
            OnFull::Block { max: Some(Duration::ZERO) } => Some(SpecFault::BlockZero),
            OnFull::Sample(SampleRate::Ratio(ratio)) if !(0.0..=1.0).contains(&ratio) => {
                Some(SpecFault::SampleRatio(ratio))
            }
            OnFull::Sample(SampleRate::RisingWithFill) if self.marks.low >= 1.0 => {
                Some(SpecFault::Marks { low: self.marks.low, high: self.marks.high })
            }
            OnFull::Block { .. }
            | OnFull::DropNewest
            | OnFull::DropOldest
            | OnFull::Sample(_)
            | OnFull::Fail
            | OnFull::Divert => None,
        }
    }
}

fn residence_is_ordered(marks: &Marks) -> bool {
    match (marks.low_residence, marks.high_residence) {
        (Some(low), Some(high)) => low < high,
        (Some(_), None) => false,
        (None, Some(high)) => !high.is_zero(),
        (None, None) => true,
    }
}

/// An edge cannot be made so. The message names the edge and says what to change.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeSpecError {
    /// The name of the edge.
    pub edge: Arc<str>,
    /// What is wrong with it.
    pub fault: SpecFault,
}

/// What is wrong with an [`EdgeSpec`].
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum SpecFault {
    /// The name is empty.
    NoName,
    /// The window has no records.
    NoRecords,
    /// The window has no bytes.
    NoBytes,
    /// Not 0 < low < high <= 1.
    Marks {
        /// Low water.
        low: f64,
        /// High water.
        high: f64,
    },
    /// Not low residence < high residence, or only the low one.
    Residence,
    /// Not 1 to 4 lanes.
    LaneCount(u8),
    /// The floors add up to more than 100 percent.
    Floors(u16),
    /// Not 1 to 64 buckets.
    Buckets(u8),
    /// Not 1 to 4096 producers.
    Producers(u16),
    /// The quantum is zero.
    Quantum,
    /// The control lane holds nothing.
    ControlCapacity,
    /// `block` with a longest wait of zero.
    BlockZero,
    /// A sample ratio outside 0 to 1.
    SampleRatio(f64),
}

impl fmt::Display for EdgeSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edge {:?}: ", self.edge)?;
        match self.fault {
            SpecFault::NoName => f.write_str("the name is empty; give the edge a name that is unique in its pipeline"),
            SpecFault::NoRecords => f.write_str("the window holds no records; set records to at least 1"),
            SpecFault::NoBytes => {
                f.write_str("the window holds no bytes; set bytes to at least the size of a usual batch")
            }
            SpecFault::Marks { low, high } => {
                write!(f, "low water {low} and high water {high} do not work; choose 0 < low < high <= 1")
            }
            SpecFault::Residence => f.write_str(
                "low_residence must be below high_residence, and needs one; set high_residence, or leave both out",
            ),
            SpecFault::LaneCount(count) => write!(f, "{count} lanes; choose 1 to {MAX_LANES}"),
            SpecFault::Floors(total) => {
                write!(f, "the lane floors add up to {total} percent; lower them to at most 100 in all")
            }
            SpecFault::Buckets(count) => write!(f, "{count} buckets; choose 1 to {MAX_BUCKETS}"),
            SpecFault::Producers(count) => {
                write!(f, "max_producers is {count}; choose 1 to {MAX_PRODUCERS}, or merge producers before the edge")
            }
            SpecFault::Quantum => f.write_str("the quantum is zero; set it to about the size of a usual batch"),
            SpecFault::ControlCapacity => {
                f.write_str("the control lane holds nothing; set control_capacity to at least 1")
            }
            SpecFault::BlockZero => {
                f.write_str("block with a longest wait of zero never waits; use fail, or set a longer wait")
            }
            SpecFault::SampleRatio(ratio) => {
                write!(f, "the sample ratio {ratio} is not a share; choose 0 to 1")
            }
        }
    }
}

impl std::error::Error for EdgeSpecError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_can_have_what_the_floors_of_the_others_leave() {
        let window = Weight::new(100, 1_000);
        assert_eq!(Lanes::ONE.most_of(window, 0), window);
        let lanes = Lanes::with_floors(&[50, 0, 10]);
        let most = |lane| lanes.most_of(window, lane).records.get();
        assert_eq!([most(0), most(1), most(2), most(3)], [90, 40, 50, 50], "a lane that there is not is the lowest");
        assert_eq!(Lanes::with_floors(&[100, 0]).most_of(window, 1), Weight::new(1, 1));
    }

    #[test]
    fn only_an_edge_that_was_given_bytes_is_sized() {
        let spec = || EdgeSpec::new("to-enrich");
        assert!(!spec().sized && !spec().records(10).sized);
        assert!(spec().bytes(EdgeSpec::DEFAULT_WINDOW.bytes).sized && spec().window(EdgeSpec::DEFAULT_WINDOW).sized);
    }

    #[test]
    fn every_fault_names_the_edge_and_says_what_to_do() {
        let spec = || EdgeSpec::new("to-enrich");
        let wrong = [
            (spec().records(0), "set records"),
            (spec().bytes(Bytes::ZERO), "set bytes"),
            (spec().low_water(0.8), "choose 0 < low < high <= 1"),
            (spec().high_water(1.1), "choose 0 < low < high <= 1"),
            (spec().low_water(f64::NAN), "choose 0 < low < high <= 1"),
            (spec().low_residence(Duration::from_secs(1)), "set high_residence"),
            (spec().lanes(&[]), "choose 1 to 4"),
            (spec().lanes(&[1, 1, 1, 1, 1]), "choose 1 to 4"),
            (spec().lanes(&[60, 41]), "lower them"),
            (spec().buckets(0), "choose 1 to 64"),
            (spec().buckets(65), "choose 1 to 64"),
            (spec().max_producers(0), "choose 1 to 4096"),
            (spec().max_producers(4097), "choose 1 to 4096"),
            (spec().quantum(Bytes::ZERO), "set it to"),
            (spec().control_capacity(0), "at least 1"),
            (spec().on_full(OnFull::Block { max: Some(Duration::ZERO) }), "use fail"),
            (spec().on_full(OnFull::Sample(SampleRate::Ratio(1.5))), "choose 0 to 1"),
            (spec().on_full(OnFull::Sample(SampleRate::Ratio(f64::NAN))), "choose 0 to 1"),
        ];
        for (spec, advice) in wrong {
            let message = spec.validate().unwrap_err().to_string();
            assert!(message.starts_with("edge \"to-enrich\": "), "{message}");
            assert!(message.contains(advice), "{message}");
        }
        assert!(EdgeSpec::new("").validate().is_err());
        assert_eq!(spec().lanes(&[0, 20, 5, 75]).buckets(64).validate(), Ok(()));
    }
}
