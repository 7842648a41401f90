//! The second part of the tutorial: forks, dead letters, faults, asynchronous calls, who is slow, and pipelines made at
//! run time. The first part is the [front page](crate).
//!
//! # Forks
//!
//! [`fork`](Flow::fork) sends every record to every [`Branch`]; [`partition`](Flow::partition) sends each to one. A record
//! is settled when every *required* branch has settled it, with the worst outcome; what a *best effort* branch loses is
//! counted there and concerns nobody else. Several flows are merged in a [`port`](PipelineBuilder::port); a flow that goes
//! back to a port before it is a declared loop ([`Flow::feed_back`], [`Flow::feed_back_with`]).
//!
//! ```
//! use tidegate::{Branch, EdgeSpec, OnFull, Outcome, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("fork");
//! let [archive, live] = builder.source("count", source::iter(0..1_000_u64)).fork([
//!     Branch::required("to-archive"),
//!     Branch::best_effort(EdgeSpec::new("to-live").records(10).on_full(OnFull::DropOldest)),
//! ]);
//! let (archived, into_archive) = sink::collect();
//! archive.sink("archive", into_archive);
//! live.sink("live", sink::null());
//! let report = builder.build()?.start().wait().await;
//! assert_eq!(archived.len(), 1_000);
//! assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 1_000);
//! # report.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Dead letters
//!
//! What is refused for good can be kept, with the cause and the stage that gave it up, instead of going back to its
//! source. The dead letter queue is an edge like any other: it has a window and a policy.
//!
//! ```
//! use tidegate::{DeadLetter, Nack, Outcome, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("parse");
//! let (letters, dead) = builder.dead_letters::<&'static str>("dead");
//! let (kept, keep) = sink::collect();
//! dead.sink("dead-letters", keep);
//! builder
//!     .source("lines", source::iter(["1", "two"]))
//!     .try_map_or(&letters, |line| line.parse::<u64>().map_err(|e| (line, Nack::permanent(e.to_string()))))
//!     .edge("to-store")
//!     .sink("store", sink::null());
//! let report = builder.build()?.start().wait().await;
//! let [DeadLetter { record, cause, .. }] = &kept.take()[..] else { panic!("one letter") };
//! assert_eq!((*record, cause.as_str()), ("two", "invalid digit found in string"));
//! assert_eq!(report.ledger.total().ended.get(Outcome::DeadLettered).get(), 1);
//! # report.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! A record that was moved into a closure that panicked is gone. Where records can be cloned,
//! [`dead_letters_to`](Flow::dead_letters_to) keeps a copy until the operators before it are done with the record:
//!
//! ```
//! use tidegate::{Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # std::panic::set_hook(Box::new(|_| {}));
//! let builder = Pipeline::builder("parse");
//! let (letters, dead) = builder.dead_letters::<&'static str>("dead");
//! let (kept, keep) = sink::collect();
//! dead.sink("dead-letters", keep);
//! builder
//!     .source("lines", source::iter(["1", "two"]))
//!     .map(|line| line.parse::<u64>().expect("a number"))
//!     .dead_letters_to(&letters)
//!     .sink("store", sink::null());
//! builder.build()?.start().wait().await.ledger.check()?;
//! assert_eq!(kept.take()[0].record, "two");
//! # Ok(())
//! # }
//! ```
//!
//! # Asynchronous calls
//!
//! [`map_async`](Flow::map_async) makes a call for each record, a bounded number at once, in order or not, with a time
//! limit; [`map_async_by_key`](Flow::map_async_by_key) keeps the order of each key. [`throttle`](Flow::throttle) is a rate
//! limit.
//!
//! ```
//! use std::time::Duration;
//! use tidegate::{CallLimits, Order, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("calls");
//! let (answers, keep) = sink::collect();
//! builder
//!     .source("questions", source::iter(1..=4_u64))
//!     .map_async(CallLimits::new(2).timeout(Duration::from_secs(5)), Order::Ordered, |n| async move {
//!         tokio::time::sleep(Duration::from_millis(100)).await;
//!         n * n
//!     })
//!     .edge("to-store")
//!     .sink("store", keep);
//! builder.build()?.start().wait().await.ledger.check()?;
//! assert_eq!(answers.take(), [1, 4, 9, 16]);
//! # Ok(())
//! # }
//! ```
//!
//! # Who is slow
//!
//! Every stage is in exactly one state at any time: idle, ready, busy, blocked on an edge, or waiting for memory, for
//! settlement, for a remote or for a rate limit. From that, [`View::bottleneck`] names what limits the pipeline, as data
//! and as one sentence. Work that waits with no progress and no known cause is a stall: see [`View::stalls`],
//! [`View::watch_stalls`] and, for a health check, [`View::is_progressing`].
//!
//! ```
//! use std::time::Duration;
//! use tidegate::{EdgeSpec, Pipeline, sink, source};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("orders");
//! builder
//!     .source("orders", source::iter(0_u64..))
//!     .edge(EdgeSpec::new("to-parse").records(256))
//!     .named("parse")
//!     .map(|order| order + 1)
//!     .edge(EdgeSpec::new("to-store").records(256))
//!     .sink("store", sink::for_each_async(|_| tokio::time::sleep(Duration::from_millis(10))));
//! let running = builder.build()?.start();
//! tokio::time::sleep(Duration::from_secs(60)).await;
//! let sentence = running.bottleneck().to_string();
//! let expected = "sink \"store\" limits source \"orders\": it waited for its remote 100 % of the last 10 s; \"parse\" waits";
//! assert!(sentence.starts_with(expected), "{sentence}");
//! assert!(running.is_progressing(), "slow is not stalled");
//! # running.stop().await.ledger.check()?;
//! # Ok(())
//! # }
//! ```
//!
//! # A pipeline made at run time
//!
//! Each operator of a flow becomes part of its type, and is compiled into one loop. A pipeline that is read from a file is
//! put together of [`BoxTransform`]s instead: the type of a [`BoxFlow`] stays the same however many steps it has, at the
//! price of one indirect call for each step and *batch*. [`records`] starts a chain of closures to be boxed; anything
//! that implements [`Transform`] will do.
//!
//! ```
//! use tidegate::{BoxTransform, Items, Pipeline, Weight, records, sink, source};
//!
//! /// One step, as a line of some file says it, and whether it may drop records.
//! fn step(line: &str) -> Result<(BoxTransform<Items<u64>>, bool), String> {
//!     match line.split_once(' ') {
//!         Some(("add", by)) => {
//!             let by: u64 = by.parse().map_err(|_| format!("not a number: {by}"))?;
//!             Ok((Box::new(records().map(move |n: u64| n + by)), false))
//!         }
//!         Some(("keep", "even")) => Ok((Box::new(records().filter(|n: &u64| n.is_multiple_of(2))), true)),
//!         _ => Err(format!("no such step: {line}")),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = Pipeline::builder("from a file");
//! let mut flow = builder.boxed_source("numbers", source::iter(0..10_u64));
//! for line in "keep even, add 1".split(", ") {
//!     let (step, may_drop) = step(line)?;
//!     flow = flow.step(step, Weight::ZERO, may_drop); // it holds nothing back from batch to batch
//! }
//! let (kept, keep) = sink::collect();
//! flow.sink("keep", keep);
//! builder.build()?.start().wait().await.ledger.check()?;
//! assert_eq!(kept.take(), [1, 3, 5, 7, 9]);
//! # Ok(())
//! # }
//! ```

// Names in this page are those of the crate.
#[cfg(doc)]
use crate::*;
