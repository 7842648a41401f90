//! The running half of tidegate: edges, stages, ingress and egress on tokio, and the builder that puts them together.
//!
//! The data path reads top down: [`ingress`] (where a record enters), [`edge`] (the only queue; credit returns here),
//! [`stage`] (one loop for every stage), [`egress`] (where it leaves), [`settle`] (acks go back), [`drain`] (how it
//! stops), [`clock`] (time accounting).

mod beside;
pub mod blocking;
pub mod calls;
pub mod checkpoint;
pub mod clock;
pub mod context;
pub mod dead_letter;
pub mod drain;
pub mod durable;
pub mod edge;
pub mod egress;
mod faults;
pub mod handover;
pub mod ingress;
pub mod inlet;
mod lettered;
pub mod ops;
pub mod outlet;
mod pay;
pub mod records;
pub mod settle;
pub mod stage;
pub mod transform;

pub mod build;
mod exchange;
mod fused;
mod monitor;
mod named;
mod probe;
pub mod report;
pub mod running;
mod spares;

pub mod sink;
pub mod source;
pub mod testkit;

pub use blocking::blocking;
pub use build::{
    BoxFlow, Branch, BuildError, BuildErrors, CallFlow, DeadLetters, EdgeFlow, Flow, Guarded, Head, NoRuntime,
    Pipeline, PipelineBuilder, Port, RecordFlow, ReplaceError, SinkOptions, SourceOptions,
};
pub use calls::{CallLimits, Calls, Order};
pub use clock::Clock;
pub use context::{AfterFault, Backoff, StageContext, Supervision, panic_nack};
pub use dead_letter::DeadLetter;
pub use drain::{Intake, KillSwitch};
pub use egress::{Accepted, Jitter, Sink, SinkContext, SinkPolicy, SinkRefusals};
pub use ingress::{Class, Classifier, Committer, Companion, NoCommit, Pull, Readiness, Source, SourceContext};
pub use lettered::LetterTray;
pub use monitor::StallWatch;
pub use ops::{BatchLimits, ByBytes, ByRecord, Cost, OverRate, PerRecord, ThrottleSpec};
pub use outlet::{BranchSet, Chooser, Router};
pub use report::{PipelineEnd, Report, StageReport};
pub use running::{HoldingFacts, NewStep, Running, View};
pub use transform::{BoxTransform, Step, Transform};
