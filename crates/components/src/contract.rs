//! The contract of a component: its kind, its configuration, and what it is given to check itself and to start.
//!
//! Adding a component is one file and one line in the list of its kind ([`SOURCES`](crate::SOURCES),
//! [`TRANSFORMS`](crate::TRANSFORMS), [`SINKS`](crate::SINKS)). The file holds a struct with serde and schemars derived,
//! whose doc comments are the reference, and the implementation of [`SourceConfig`], [`TransformConfig`] or
//! [`SinkConfig`] for it.

mod check;
mod context;
mod kind;
mod meters;
pub(crate) mod page;
mod shed;

use std::fmt;

use tidegate_flow::Weight;
use tidegate_runtime::{BoxTransform, Chooser};

pub use self::check::{Check, Class, Depth, Level, Problem};
pub use self::context::{BuildContext, Observed};
pub use self::kind::{Ignored, SinkKind, SourceKind, TransformKind};
pub use self::meters::{Counter, Meter, Meters};
pub use self::page::Page;
pub use self::shed::{Hits, Shed};
use crate::Rows;
use crate::sinks::dead_letter_queue::DeadLetterQueue;
use crate::wiring::{SinkSlot, SourceSlot};

/// What all configurations have in common. Implemented for everything that can be printed and written.
pub trait Config: Send + fmt::Debug + erased_serde::Serialize {}

impl<C: Send + fmt::Debug + erased_serde::Serialize> Config for C {}

/// The configuration of a source, without `type`.
pub trait SourceConfig: Config {
    /// Reports what cannot work: values that contradict each other, and where [`Check::depth`] asks for it, files and
    /// ports that are not to be had. Starts nothing.
    fn check(&self, at: &mut Check<'_>);

    /// Whether the records of one read may go different ways, by key or by priority. Not where each read is answered
    /// when it has settled.
    fn can_sort(&self) -> bool {
        true
    }

    /// What its acknowledgement means, and what it does while it is not read.
    fn exposure(&self) -> Exposure;

    /// Whether a record that comes again has the id that it had, whatever happened meanwhile.
    fn ids(&self) -> Ids {
        Ids::OfRun
    }

    /// What it may shed as it is configured. Empty: nothing.
    fn sheds(&self) -> Vec<Shed> {
        Vec::new()
    }

    /// What the kernel may hold for it, unread and charged to no budget. `None`: nothing that has a bound of ours.
    fn kernel(&self) -> Option<KernelBuffer> {
        None
    }

    /// Makes the source and hands it to the slot. Called within a tokio runtime.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError>;
}

/// The configuration of a transform, without `type`, `inputs` and `buffer`.
pub trait TransformConfig: Config {
    /// Reports what cannot work; a program that does not compile, for one.
    fn check(&self, at: &mut Check<'_>);

    /// Its named outputs, `name.output` in `inputs`, in the order of the branches of its [`Chooser`]. Empty: one output
    /// without a name. One of several may be without a name too: the empty text.
    fn outputs(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it may shed as it is configured. Empty: nothing.
    fn sheds(&self) -> Vec<Shed> {
        Vec::new()
    }

    /// What its state means for the records that go into it. `None`: nothing beyond what the sources and sinks say.
    fn keeps(&self) -> Option<Keeps> {
        None
    }

    /// Whether it may refuse single records for good. `dead_letter` is for those; a transform that refuses none has no use
    /// for it.
    fn refuses_records(&self) -> bool {
        false
    }

    /// Makes the transform.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError>;
}

/// The configuration of a sink, without `type`, `inputs` and `buffer`.
pub trait SinkConfig: Config {
    /// Reports what cannot work: as for [`SourceConfig::check`].
    fn check(&self, at: &mut Check<'_>);

    /// What "accepted" means for it: where a record is safe when a source acknowledges it.
    fn accepted(&self) -> &'static str;

    /// What the kernel may hold of what it accepted: lost when the peer dies, beside what the peer's own kernel held.
    /// `None`: nothing that has a bound of ours.
    fn kernel(&self) -> Option<KernelBuffer> {
        None
    }

    /// Whether it compresses what it writes or sends: a compressor works beside the budget.
    fn compresses(&self) -> bool {
        false
    }

    /// Whether sources wait for it before they acknowledge (`acknowledgements`).
    fn required(&self) -> bool {
        true
    }

    /// Whether its receiver is told the ids of records and, by what the file says, takes each once.
    fn receiver_is_idempotent(&self) -> bool {
        false
    }

    /// What of its own makes records come twice though nothing here failed, as "an answer ... was lost". `None`: nothing.
    fn repeats(&self) -> Option<&'static str> {
        None
    }

    /// Whether its receiver may refuse single records for good, for what they are. Where no source can be told, they are
    /// kept as dead letters unless the user says otherwise.
    fn refuses_records(&self) -> bool {
        false
    }

    /// The dead letter queue that it is; `None` where it is something else.
    fn letter_box(&self) -> Option<&DeadLetterQueue> {
        None
    }

    /// Makes the sink and hands it to the slot. Called within a tokio runtime.
    ///
    /// # Errors
    /// What went wrong, and what to do about it.
    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError>;
}

/// A transform, ready to be wired.
pub enum BuiltTransform {
    /// A step with one output; fused with what is before it where nothing stands between.
    Step {
        /// The step.
        step: BoxTransform<Rows>,
        /// What it may hold back from one batch to the next, reserved.
        holds: Weight,
    },
    /// Sends each record to none, one or several of the named outputs.
    Choice(Box<dyn Chooser<Rows>>),
    /// A step, and right behind it, in the same task, a choice: the chooser is asked about each batch that the step gave
    /// before the step is given the next.
    StepThenChoice {
        /// The step.
        step: BoxTransform<Rows>,
        /// What it may hold back from one batch to the next, reserved.
        holds: Weight,
        /// The choice.
        chooser: Box<dyn Chooser<Rows>>,
    },
}

impl BuiltTransform {
    /// A step that holds nothing back.
    #[must_use]
    pub fn step(step: impl tidegate_runtime::Transform<Rows, Out = Rows>) -> Self {
        Self::Step { step: Box::new(step), holds: Weight::ZERO }
    }

    /// A step that holds nothing back, and a choice behind it.
    #[must_use]
    pub fn step_then_choice(
        step: impl tidegate_runtime::Transform<Rows, Out = Rows>,
        chooser: impl Chooser<Rows>,
    ) -> Self {
        Self::StepThenChoice { step: Box::new(step), holds: Weight::ZERO, chooser: Box::new(chooser) }
    }

    /// A step that may hold back so much.
    #[must_use]
    pub fn holding(step: impl tidegate_runtime::Transform<Rows, Out = Rows>, holds: Weight) -> Self {
        Self::Step { step: Box::new(step), holds }
    }
}

/// What the state of a transform means for the records that go into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeps {
    /// In words, to stand behind the name of the transform.
    pub words: String,
    /// Whether records that were acknowledged are lost with the process.
    pub loses: bool,
}

/// For how long the ids of a source's records hold.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Always.
    Stable,
    /// As long as the sender says the same ids again.
    OfSender,
    /// For this run, or there are none.
    OfRun,
}

/// What may become of records between a sender and its source.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// What happens to records that were read and not settled when the process dies.
    pub delivery: Delivery,
    /// What it means that the source has acknowledged a record.
    pub acked: &'static str,
    /// What the sender notices while the source is not read.
    pub blocked: &'static str,
}

/// A buffer of the kernel: a queue before a source or behind a sink that no budget is charged for, so it has a bound.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct KernelBuffer {
    /// The size that the kernel is asked for, in bytes.
    pub bytes: u64,
    /// What has one each.
    pub each: &'static str,
}

impl KernelBuffer {
    /// The most payload that it holds, in bytes: Linux books twice what it is asked for (`socket(7)`), for its own
    /// overhead, and fills all of it when that turns out small.
    #[must_use]
    pub const fn holds_bytes(self) -> u64 {
        self.bytes.saturating_mul(2)
    }
}

/// What happens to records that were read and not settled when the process dies.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// They are read again: at least once.
    Replayed,
    /// The sender was not answered, and sends them again: at least once.
    Answered,
    /// They are lost, and so is what the kernel held for us; nothing else is.
    InFlight,
    /// As before; and what comes while the source is not read is lost too, and counted as far as the kernel counts it.
    Lossy,
    /// They were made here.
    Generated,
}

/// Why a component could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What went wrong.
    pub text: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl StartError {
    /// Something went wrong.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), help: None }
    }

    /// And this is what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StartError {}
