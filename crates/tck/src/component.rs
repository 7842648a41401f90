//! C1 to C8 of the component contract, for sources, transforms and sinks as a program wires them: of any payload, with
//! receivers and senders outside of the process where they need them, and with the metrics that they declare.
//!
//! The checks of [`stage`](crate::stage) are for parts of the library, whose records are typed. These are for components
//! that are made from a configuration: each check asks the subject to [wire](SinkComponent::wire) itself anew, runs the
//! pipeline, and looks at the ledger, the memory and what arrived.
//!
//! Implement [`Traffic`] once, and [`SourceComponent`], [`TransformComponent`] or [`SinkComponent`] for each component;
//! then write [`source_component_suite!`](crate::source_component_suite),
//! [`transform_component_suite!`](crate::transform_component_suite) or
//! [`sink_component_suite!`](crate::sink_component_suite) in a test file: a test for each check.
//!
//! | check | what it shows |
//! |---|---|
//! | `c1` | nothing is taken that there is no room for: with nobody taking, at most what was declared is in hand |
//! | `c2` | stopped at any moment, every byte and every record comes back |
//! | `c3` | every record settles once, as what became of it; a refusal says why, and that it is for good |
//! | `c4` | the intake can be shut; a drain ends by its deadline, whether or not anybody takes |
//! | `c5` | with a budget of exactly what its plan reserves, everything gets done, and nothing beyond it is charged |
//! | `c6` | exactly the declared metrics are there |
//! | `c8` | the same input gives the same result |
//!
//! `c7` (configuration) needs the reader of the program. What is held and not charged at all no budget can see: that
//! needs a counting allocator in the test of whoever uses this.
//!
//! Subjects without a world outside run in virtual time; those with [`REAL_TIME`](SinkComponent::REAL_TIME) run as fast as
//! their peers do. No check depends on how fast that is: each waits for a condition, and fails where it does not come
//! within a minute.

mod bed;
mod probe;
mod script;
pub mod sinks;
pub mod sources;
pub mod transforms;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use tidegate_flow::Payload;
use tidegate_runtime::{PipelineBuilder, View};

pub use self::probe::{Probe, ProbeSink};
pub use self::script::{Script, ScriptSource};

/// How many records a read of a [`Script`] gives, and the largest batch of the pipelines that subjects are put into.
pub const READ: u64 = 4;

/// How many records the edge behind a source or a transform must hold: `wire` sees to it.
pub const WINDOW: u64 = 8;

/// How many records the checks send.
pub const SOME: u64 = 96;

/// What the components of a program carry.
pub trait Traffic: 'static {
    /// A batch of records.
    type Payload: Payload + Default;

    /// The records of these numbers, all different.
    fn records(numbers: Range<u64>) -> Self::Payload;

    /// Each record of a batch as text.
    fn texts(payload: &Self::Payload) -> Vec<String>;
}

/// A subject that was put into a pipeline, with its world outside, which ends when this is dropped.
pub trait Wired {
    /// The names of the metrics that there are of it.
    fn metrics(&self) -> Vec<String>;
}

/// A sink that was put into a pipeline, and its receiver.
pub trait Receiving: Wired {
    /// What the receiver has, each record as text, in the order of its arrival.
    fn received(&self) -> Vec<String>;

    /// Makes the receiver take nothing, or take again. Not called where the subject says that it cannot.
    fn hold(&self, _held: bool) {}
}

/// A source as a program wires it.
pub trait SourceComponent: 'static {
    /// What it reads.
    type Traffic: Traffic;
    /// One run of it.
    type Run: Wired;
    /// What it is called in the results.
    const NAME: &'static str;
    /// Whether it needs files, sockets or threads.
    const REAL_TIME: bool = false;
    /// How many records are offered in each run; more than [`WINDOW`] and `IN_HAND`.
    const OFFERS: u64 = SOME;
    /// Whether it ends by itself when it has read them.
    const ENDS: bool = false;
    /// The most records that it reads at once, or has in hand otherwise.
    const IN_HAND: u64 = READ;

    /// The metrics that it declares.
    fn declared() -> Vec<String>;

    /// The records that are offered, each as text, in any order. `None` where nobody can know.
    fn expected() -> Option<Vec<String>>;

    /// Puts it on `builder` as the stage `source`, before an edge of [`WINDOW`] records and `sink` as the stage `sink`,
    /// and lets the records be offered.
    fn wire(builder: &PipelineBuilder, sink: ProbeSink<Self::Traffic>) -> impl Future<Output = Self::Run>;

    /// The pipeline has started: for sources that look at it.
    fn started(_run: &Self::Run, _view: &Arc<View>) {}
}

/// A transform as a program wires it.
pub trait TransformComponent: 'static {
    /// What it changes.
    type Traffic: Traffic;
    /// One run of it.
    type Run: Wired;
    /// What it is called in the results.
    const NAME: &'static str;
    /// How many records may stay inside while its output is full.
    const MAY_HOLD: u64 = 0;

    /// The metrics that it declares.
    fn declared() -> Vec<String>;

    /// Puts `source` on `builder` as the stage `source`, and behind it, each with an edge of [`WINDOW`] records before it,
    /// the transform as the stage `subject` and `sink` as the stage `sink`.
    fn wire(
        builder: &PipelineBuilder,
        source: ScriptSource<Self::Traffic>,
        sink: ProbeSink<Self::Traffic>,
    ) -> Self::Run;
}

/// A sink as a program wires it.
pub trait SinkComponent: 'static {
    /// What it hands out.
    type Traffic: Traffic;
    /// One run of it.
    type Run: Receiving;
    /// What it is called in the results.
    const NAME: &'static str;
    /// Whether it needs files, sockets or threads.
    const REAL_TIME: bool = false;
    /// Whether its receiver can be made to take nothing.
    const CAN_HOLD: bool = true;
    /// The most records that it has in hand: deliveries under way, and what is gathered for the next ones.
    const IN_HAND: u64 = READ;

    /// The metrics that it declares.
    fn declared() -> Vec<String>;

    /// Puts `source` on `builder` as the stage `source`, and behind it the sink as the stage `sink`, with a receiver that
    /// takes everything.
    fn wire(builder: &PipelineBuilder, source: ScriptSource<Self::Traffic>) -> impl Future<Output = Self::Run>;

    /// A batch of one record that is refused for good; `None` where every record is taken.
    fn poison() -> Option<<Self::Traffic as Traffic>::Payload> {
        None
    }
}

/// The checks of a [`SourceComponent`] as tests, in a module of the given name.
#[macro_export]
macro_rules! source_component_suite {
    ($name:ident, $source:ty) => {
        $crate::__suite!($name, component, sources, SourceComponent, $source, __source_component_checks);
    };
}

/// The checks of a [`TransformComponent`] as tests, in a module of the given name.
#[macro_export]
macro_rules! transform_component_suite {
    ($name:ident, $transform:ty) => {
        $crate::__suite!($name, component, transforms, TransformComponent, $transform, __transform_component_checks);
    };
}

/// The checks of a [`SinkComponent`] as tests, in a module of the given name.
#[macro_export]
macro_rules! sink_component_suite {
    ($name:ident, $sink:ty) => {
        $crate::__suite!($name, component, sinks, SinkComponent, $sink, __sink_component_checks);
    };
}
