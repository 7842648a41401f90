//! The builder: a pipeline is put together from typed flows, checked as a whole, and only then started.
//!
//! Nothing runs while a pipeline is built. Mistakes are collected and reported together by
//! [`PipelineBuilder::build`], each with the name of the stage or edge it is about.

mod calls;
mod draft;
mod dynamic;
mod error;
mod flow;
mod junction;
mod launch;
mod ops;
mod options;
mod plan;
mod port;
mod replace;
mod shape;
mod start;

pub use self::calls::CallFlow;
pub use self::draft::PipelineBuilder;
pub use self::dynamic::BoxFlow;
pub use self::error::{BuildError, BuildErrors};
pub use self::flow::{EdgeFlow, Flow, Head, RecordFlow};
pub use self::junction::{Branch, Guarded};
pub(crate) use self::launch::{SettleFuture, StageFuture};
pub use self::ops::Extended;
pub use self::options::{SinkOptions, SourceOptions};
pub use self::plan::Pipeline;
pub use self::port::Port;
pub(crate) use self::replace::Places;
pub use self::replace::ReplaceError;
pub use self::shape::DeadLetters;
pub use self::start::NoRuntime;
