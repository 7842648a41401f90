//! Data streams that hold under pressure: sources, transforms and sinks joined by edges that carry batches downstream
//! and credit upstream, under one memory budget, with records that are acknowledged only when they are safe.
//!
//! This page is a tutorial. Each step is a program that runs as a test.
//!
//! # A first pipeline
//!
//! A pipeline is put together with a [`PipelineBuilder`], checked as a whole by [`build`](PipelineBuilder::build), and
//! only then started. Between two edges everything is fused into one task with no queue; each
//! [`edge`](Flow::edge) is a queue that you can see, size and give a policy. There is no other queue.
//!
//! ```
//! use tidegate::{Pipeline, mib, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("words").budget(mib(16));
//! builder
//!     .source("words", source::iter(["high", "tide", "low", "tide"]))
//!     .filter(|word| word.len() == 4)
//!     .map(|word| word.to_uppercase())
//!     .edge("to-store")
//!     .sink("store", sink::for_each(|word: String| assert!(["HIGH", "TIDE"].contains(&&*word))));
//! let report = builder.build()?.start().wait().await;
//! println!("{report}");
//! report.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Edges and windows
//!
//! An edge holds at most its *window*, in records and in bytes; only a single record larger than the window enters an
//! empty edge. Batches are read and made small enough for the edge behind, and split where they are not. When an edge is
//! full, what is before it stops, edge by edge up to the source: that is all there is to backpressure. [`View::edge`]
//! shows how full it is.
//!
//! ```
//! use std::time::Duration;
//! use tidegate::{EdgeSpec, Pipeline, kib, source, testkit::TestSink};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = TestSink::new(); // takes nothing that a test does not ask for
//! let builder = Pipeline::builder("numbers");
//! builder
//!     .source("count", source::iter(0_u64..))
//!     .edge(EdgeSpec::new("to-store").records(1_000).bytes(kib(64)))
//!     .sink("store", store.sink());
//! let running = builder.build()?.start();
//! tokio::time::sleep(Duration::from_secs(60)).await;
//! let read = running.ledger().total().accepted.get();
//! assert!(read < 2_000, "an endless source, and it has read {read} records in a minute");
//! assert!(running.edge("to-store").is_some_and(|edge| edge.fill_share() > 0.5 && edge.fill.fits(edge.window)));
//! # running.stop().await.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a full edge does
//!
//! By default it blocks. Where fresh data matters more than all data, say so on the edge with [`OnFull`]: `DropOldest`,
//! `DropNewest`, `Sample`, `Fail`, or divert to another edge ([`Flow::edge_diverting`]). Data is lost only where you said
//! so, and each loss is counted with its reason.
//!
//! ```
//! use tidegate::{EdgeSpec, OnFull, Outcome, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("gauges");
//! builder
//!     .source("gauges", source::iter(0..10_000_u64))
//!     .edge(EdgeSpec::new("latest").records(100).on_full(OnFull::DropOldest))
//!     .sink("screen", sink::for_each_async(|_| tokio::task::yield_now()));
//! let report = builder.build()?.start().wait().await;
//! let ended = report.ledger.total().ended;
//! assert_eq!(ended.get(Outcome::Delivered).get() + ended.get(Outcome::Shed).get(), 10_000);
//! # report.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Watching pressure
//!
//! A producer that can do with less may slow down by itself before it is made to wait. Every edge has a pressure
//! [`Level`] that can be read and heard: high from 80 % of its window on (or when its oldest batch is too old), critical
//! when it is full, normal again below 50 %. [`View::edge_handle`] gives a hand on any edge of a pipeline; the sender of a
//! [`channel`](source::channel), the way in for code inside the application, watches its own.
//!
//! ```
//! use tidegate::{Level, Pipeline, Weight, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut sender, readings) = source::channel(Weight::new(10, 1 << 10));
//! let mut pressure = sender.watch()?;
//! for reading in 0..8_u64 {
//!     sender.send(reading).await?;
//! }
//! assert_eq!(pressure.changed().await, Some(Level::High)); // eight of ten: time to send less
//!
//! let builder = Pipeline::builder("readings");
//! builder.source("readings", readings).sink("store", sink::null());
//! let running = builder.build()?.start();
//! assert_eq!(pressure.changed().await, Some(Level::Normal)); // and as before again
//! drop(sender);
//! running.wait().await.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! A thread that is no task uses [`blocking_send`](source::Sender::blocking_send): a full channel parks the thread.
//!
//! ```
//! use tidegate::{Pipeline, Weight, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut sender, lines) = source::channel(Weight::new(4, 1 << 10));
//! let thread = std::thread::spawn(move || (0..100_u64).all(|line| sender.blocking_send(line).is_ok()));
//! let (kept, keep) = sink::collect();
//! let builder = Pipeline::builder("lines");
//! builder.source("lines", lines).sink("keep", keep);
//! builder.build()?.start().wait().await.ledger.check()?;
//! assert!(thread.join().is_ok_and(|all| all) && kept.len() == 100);
//! # Ok(())
//! # }
//! ```
//!
//! # Lanes and fairness
//!
//! Up to four priority *lanes* share an edge: the first goes first, and a lane with a *floor* (a share in percent of
//! the bytes) is never starved. [`to_lane`](Flow::to_lane) sends a whole flow to a lane;
//! [`classify_by`](SourceOptions::classify_by) gives each record a lane, and a *bucket*: inside a lane the buckets take
//! turns, byte for byte, so that who sends much (a tenant, a connection) does not stand in the way of who sends little.
//! [`classify_by_key`](SourceOptions::classify_by_key) hashes a key into the buckets for you.
//!
//! ```
//! use tidegate::{EdgeSpec, Items, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("alerts first");
//! let (work, flow) = builder.port::<Items<u64>>(EdgeSpec::new("work").records(100).lanes(&[0, 20]));
//! builder.source("alerts", source::iter(0..10_u64)).to_lane(&work, 0);
//! builder.source("logs", source::iter(100..1_000_u64)).to_lane(&work, 1); // at least a fifth of the bytes
//! flow.sink("store", sink::null());
//! builder.build()?.start().wait().await.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of a record
//!
//! Every record ends in exactly one [`Outcome`]: delivered, filtered, absorbed, shed, expired, dead-lettered, returned
//! to its source, or abandoned by a pipeline that was stopped. The [`Ledger`] counts them, live ([`View::ledger`]) and at
//! the end ([`Report::ledger`]); for every source, accepted = the outcomes + in flight, and for every stage and edge what
//! came in = what went out, was lost or is held. [`Ledger::check`] proves it at any moment.
//!
//! A transform refuses a record with a [`Nack`], transient or permanent; a panic refuses the one record that caused it.
//!
//! ```
//! use tidegate::{Nack, Outcome, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("parse");
//! builder
//!     .source("lines", source::iter(["1", "two", "3", "-4"]))
//!     .try_map(|line| line.parse::<i64>().map_err(|error| Nack::permanent(error.to_string())))
//!     .filter(|number| *number > 0)
//!     .sink("drop", sink::null());
//! let report = builder.build()?.start().wait().await;
//! let ended = report.ledger.total().ended;
//! assert_eq!(ended.get(Outcome::Delivered).get(), 2);
//! assert_eq!(ended.get(Outcome::Filtered).get(), 1);
//! assert_eq!(ended.get(Outcome::Returned).get(), 1);
//! # report.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # One memory budget
//!
//! [`budget`](PipelineBuilder::budget) is the one memory knob. Every byte is charged before it is read and until it is
//! freed. Each edge and stage reserves a minimum, so that it can always go on; the rest floats. A plan whose minima do
//! not fit is refused, with the sum spelled out. The bound is as good as the weights: implement [`Weigh`] for your types
//! and count the heap that they own.
//!
//! ```
//! use tidegate::{Pipeline, Weigh, kib, sink, source};
//!
//! struct Line(String);
//!
//! impl Weigh for Line {
//!     fn weigh(&self) -> usize {
//!         size_of::<Self>() + self.0.capacity()
//!     }
//! }
//!
//! let builder = Pipeline::builder("lines").budget(kib(100));
//! builder.source("lines", source::iter(vec![Line("one".to_owned())])).edge("to-store").sink("store", sink::null());
//! let refused = builder.build().map(drop).unwrap_err().to_string();
//! assert!(refused.contains("the memory budget is too small by"), "{refused}");
//! ```
//!
//! # Acks and positions
//!
//! A source is told what became of its records by its [`Committer`], in order, never past a record that is not settled.
//! So a position is safe to store as soon as it is told. With a [`channel`](source::channel), a sender can wait for the
//! receipt of a single record.
//!
//! ```
//! use tidegate::source::{Receipt, channel};
//! use tidegate::{Outcome, Pipeline, Weight, sink};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut sender, received) = channel(Weight::new(100, 64 << 10));
//! let builder = Pipeline::builder("requests");
//! builder.source("requests", received).edge("to-store").sink("store", sink::null());
//! let running = builder.build()?.start();
//! let receipt: Receipt = sender.send_acked("please".to_owned()).await?;
//! assert_eq!(receipt.await.outcome, Outcome::Delivered);
//! drop(sender);
//! running.wait().await.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Further
//!
//! [`guide`] goes on with forks, dead letters, faults, asynchronous calls, who is slow, and pipelines made at run time.
//!
//! # Stopping
//!
//! - [`Running::drain`] shuts the intake, lets everything in flight be settled, and stops what is left at a deadline.
//! - [`Running::stop`] ends now; what is in flight is abandoned, and its sources are told.
//! - [`View::flush`] pushes partial batches out and stops nothing.
//! - A [`KillSwitch`] ends one source or one flow.
//!
//! Each gives a [`Report`], and in each the ledger balances.
//!
//! # Testing
//!
//! [`testkit`] has a scripted source, a sink with explicit demand and misbehaving peers. Time is tokio's, so under paused
//! time a pipeline with timeouts, retries and linger is tested in no time. The `testing` example shows a pipeline under
//! test, `slow_sink` the pressure at work, `pressure` a producer that heeds it, `fan_out` a best effort branch, `tenants`
//! calls with a rate for each tenant, and `stream_in_sink_out` how a pipeline fits between a `futures` stream and sink.

pub mod guide;

// What pipelines are built of.
pub use tidegate_runtime::{
    BoxFlow, Branch, BranchSet, BuildError, BuildErrors, Chooser, EdgeFlow, Flow, Guarded, Head, NoRuntime, Pipeline,
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
    Accepted, AfterFault, Backoff, BoxTransform, Class, Classifier, Committer, DeadLetter, Jitter, NoCommit, Pull,
    Readiness, Router, Sink, SinkPolicy, SinkRefusals, Source, StageContext, Step, Supervision, Transform,
};
// The pure rules, and what tests need.
pub use tidegate_flow as flow;
pub use tidegate_runtime::testkit;

/// The example of the project's front page, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
