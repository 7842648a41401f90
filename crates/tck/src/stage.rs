//! Checks of transforms, sources and sinks of `tidegate_runtime`: C1 to C8 of the component contract, and those of
//! Reactive Streams that apply to stages.
//!
//! A subject is put into a pipeline between a scripted source and a sink with explicit demand. Implement
//! [`TransformUnderTest`], [`SourceUnderTest`] or [`SinkUnderTest`], and write [`stage_suite!`](crate::stage_suite),
//! [`source_suite!`](crate::source_suite) or [`sink_suite!`](crate::sink_suite) in a test file.
//!
//! That a record is settled *twice* needs no check: settling takes the ticket, so it does not compile. What can go
//! wrong is a record that is never settled, or settled as something else than what became of it.

mod bed;
pub mod sinks;
pub mod sources;
pub mod transforms;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tidegate_flow::{EdgeSpec, Items, Weigh};
use tidegate_runtime::{EdgeFlow, Sink, Source};

/// A transform, as what it adds to a flow.
pub trait TransformUnderTest: 'static {
    /// The records it takes.
    type In: Weigh + Clone + Send + Sync + 'static;
    /// The records it makes.
    type Out: Weigh + Clone + Debug + Ord + Send + Sync + 'static;
    /// What it is called in the results.
    const NAME: &'static str;
    /// How many records may stay inside while its output is full; a batcher says its batch.
    const MAY_HOLD: u64 = 0;
    /// Whether its output comes in the order of its input.
    const ORDERED: bool = true;

    /// Adds the transform to the flow, and behind it an edge with exactly this specification.
    fn attach(flow: EdgeFlow<Items<Self::In>>, to: EdgeSpec) -> EdgeFlow<Items<Self::Out>>;

    /// The record of this number. None of them may make the transform fail.
    fn record(number: u64) -> Self::In;

    /// What must come out for the record of this number.
    fn outputs(number: u64) -> Vec<Self::Out>;

    /// A record at which user code in the transform panics or refuses for good; `None` where there is no user code.
    fn poison() -> Option<Self::In> {
        None
    }

    /// A record that becomes this many; `None` where a record becomes at most one. For the bound to show, they should
    /// weigh a megabyte or more together.
    fn bulk() -> Option<(Self::In, usize)> {
        None
    }
}

/// A source of numbered records.
pub trait SourceUnderTest: 'static {
    /// A record.
    type Record: Weigh + Send + 'static;
    /// What it is called in the results.
    const NAME: &'static str;

    /// A source of this many records, numbered from 0; of an endless number of them for `None`.
    fn make(records: Option<u64>) -> impl Source<Payload = Items<Self::Record>>;

    /// The number of a record.
    fn number(record: &Self::Record) -> u64;
}

/// What the receiver behind a sink has been given: the numbers of the records, in order.
pub type Received = Arc<Mutex<Vec<u64>>>;

/// A sink, and its receiver.
pub trait SinkUnderTest: 'static {
    /// A record.
    type Record: Weigh + Send + 'static;
    /// What it is called in the results.
    const NAME: &'static str;

    /// A sink whose receiver writes down what it accepts.
    fn make(received: Received) -> impl Sink<Items<Self::Record>>;

    /// The record of this number.
    fn record(number: u64) -> Self::Record;

    /// A record that the receiver refuses for good, or panics at; `None` where it takes everything.
    fn poison() -> Option<Self::Record> {
        None
    }
}

/// The checks of transforms as tests, in a module of the given name.
///
/// ```
/// use tidegate_flow::{EdgeSpec, Items};
/// use tidegate_runtime::EdgeFlow;
/// use tidegate_tck::stage::TransformUnderTest;
///
/// struct Double;
/// impl TransformUnderTest for Double {
///     type In = u64;
///     type Out = u64;
///     const NAME: &'static str = "double";
///     fn attach(flow: EdgeFlow<Items<u64>>, to: EdgeSpec) -> EdgeFlow<Items<u64>> {
///         flow.map(|number| number * 2).edge(to)
///     }
///     fn record(number: u64) -> u64 {
///         number
///     }
///     fn outputs(number: u64) -> Vec<u64> {
///         vec![number * 2]
///     }
/// }
/// tidegate_tck::stage_suite!(double, Double);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! stage_suite {
    ($name:ident, $transform:ty) => {
        $crate::__suite!($name, stage, transforms, TransformUnderTest, $transform, __transform_checks);
    };
}

/// The checks of sources as tests, in a module of the given name.
#[macro_export]
macro_rules! source_suite {
    ($name:ident, $source:ty) => {
        $crate::__suite!($name, stage, sources, SourceUnderTest, $source, __source_checks);
    };
}

/// The checks of sinks as tests, in a module of the given name.
#[macro_export]
macro_rules! sink_suite {
    ($name:ident, $sink:ty) => {
        $crate::__suite!($name, stage, sinks, SinkUnderTest, $sink, __sink_checks);
    };
}
