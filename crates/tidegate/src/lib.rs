//! Data streams that hold under pressure: sources, transforms and sinks joined by edges that carry batches downstream
//! and credit upstream, under one memory budget, with records that are acknowledged only when they are safe.
//!
//! This page is a tutorial. Each step is a program that runs as a test.
//!
#![doc = include_str!("tutorial.md")]

// What pipelines are built of.
pub use tidegate_runtime::{
    BoxFlow, Branch, BranchSet, BuildError, BuildErrors, Chooser, EdgeFlow, Flow, Guarded, Head, Pipeline,
    PipelineBuilder, Port, RecordFlow, SinkOptions, SourceOptions, sink, source,
};
// What steps are told.
pub use tidegate_runtime::records::records;
pub use tidegate_runtime::{
    BatchLimits, ByBytes, ByRecord, CallLimits, Cost, DeadLetters, Order, OverRate, PerRecord, ThrottleSpec,
};
// Edges: windows, policies and pressure; `edge` is for those who want an edge without a pipeline.
pub use tidegate_flow::queue::{Level, Snapshot};
pub use tidegate_flow::{EdgeSpec, OnFull, SampleRate};
pub use tidegate_runtime::edge::{self, EdgeHandle, PressureWatch, TooManyWatches};
// What runs, how it is looked at, and how it is stopped.
pub use tidegate_flow::{Ledger, Outcome, StageKind, StageState, StageTimes, blame, stall};
pub use tidegate_runtime::{Clock, Intake, KillSwitch, PipelineEnd, Report, Running, StageReport, StallWatch, View};
// Records and quantities.
pub use tidegate_flow::{
    Batch, Budget, Bytes, Cause, Items, Meta, Nack, NackKind, Payload, Records, Share, Time, Weigh, Weight, gib, kib,
    mib,
};
// For those who write sources, sinks and steps of their own.
pub use tidegate_runtime::{
    Accepted, AfterFault, Backoff, BoxTransform, Class, Classifier, Committer, DeadLetter, NoCommit, Pull, Readiness,
    Router, Sink, SinkPolicy, Source, StageContext, Step, Supervision, Transform,
};
// The pure rules, and what tests need.
pub use tidegate_flow as flow;
pub use tidegate_runtime::testkit;

/// The example of the project's front page, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
