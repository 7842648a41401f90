//! What tests of pipelines and of their parts need: a scripted source, a sink with explicit demand, misbehaving peers,
//! and drop-at-every-await.
//!
//! Everything here is for tokio's paused time (`#[tokio::test(start_paused = true)]`): waiting takes no real time, and
//! what does not happen within an hour of the runtime's time counts as hung.

mod account;
pub mod cancel;
mod context;
pub mod peers;
mod sink;
mod source;

use std::future::Future;
use std::time::Duration;

pub use account::{assert_balanced, balanced, ended};
pub use cancel::{Cut, drop_at_every_await};
pub use context::{lone_context, set_time};
pub use sink::{ProbeSink, TestSink};
pub use source::{ScriptedSource, TestSource};

/// How long, in the runtime's time, something may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(3600);

/// Runs everything that is ready, and what that makes ready, until nothing is. Virtual time moves on by a millisecond.
/// A source that is always ready never lets this return.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Waits for something that should come.
async fn expected<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HUNG, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited an hour of the runtime's time for {what}"),
    }
}
