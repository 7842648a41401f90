//! The edge between two stages: the only queue on the data path.
//!
//! An edge carries batches downstream and credit upstream. The rules are in [`tidegate_flow::queue`]; here they get
//! one lock and the wakers of those who wait. Each operation takes the lock once, and wakes after it is released.
//!
//! ```
//! use tidegate_flow::queue::{EdgeSpec, Load, OnFull, ShedReason};
//! use tidegate_flow::{Weight, kib};
//! use tidegate_runtime::edge::{Event, Sent, edge};
//!
//! struct Line(&'static str);
//! impl Load for Line {
//!     fn weight(&self) -> Weight {
//!         Weight::new(1, self.0.len() as u64)
//!     }
//!     fn settle_shed(&mut self, _: ShedReason) {}
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let spec = EdgeSpec::new("lines").records(100).bytes(kib(4)).on_full(OnFull::DropOldest);
//! let (mut tx, mut rx) = edge(spec).expect("a valid spec");
//! let mut slot = Some(Line("hello"));
//! assert_eq!(tx.send(&mut slot).await, Ok(Sent::Enqueued));
//! assert!(slot.is_none());
//! assert!(matches!(rx.recv().await, Event::Batch(Line("hello"))));
//! drop(tx);
//! assert!(matches!(rx.recv().await, Event::Completed));
//! # });
//! ```

mod blocking;
mod clock;
mod divert;
mod error;
mod handle;
mod park;
mod pending;
mod rx;
mod shared;
mod sync;
mod tx;

#[cfg(all(test, tidegate_loom))]
mod loom_tests;
#[cfg(all(test, not(tidegate_loom)))]
mod tests;

pub use tidegate_flow::queue::Control;
use tidegate_flow::queue::{EdgeSpec, EdgeSpecError, Load, Queue, SpecFault};

pub use self::clock::{EdgeBudget, EdgeClock, TokioClock};
pub use self::error::{BindError, SendError, Sent, TooManyWatches};
pub use self::handle::{EdgeHandle, PressureWatch};
pub use self::pending::{ReadyFuture, SendFuture};
pub use self::rx::{EdgeRx, Event, Received};
pub use self::shared::MAX_WATCHES;
pub use self::tx::EdgeTx;

use self::shared::Shared;

/// What an edge gets from its surroundings.
pub struct Surroundings<B> {
    /// The clock of both ends until they are given their own, and of those who look from outside.
    pub clock: std::sync::Arc<dyn EdgeClock>,
    /// Who pays for the bytes in the edge; `None`: nobody asks.
    pub budget: Option<std::sync::Arc<dyn EdgeBudget<B>>>,
}

impl<B> Default for Surroundings<B> {
    fn default() -> Self {
        Self { clock: std::sync::Arc::new(TokioClock::new()), budget: None }
    }
}

/// Makes an edge with a clock of its own and without a budget.
///
/// # Errors
/// Where the spec is not valid; the message names the edge and says what to change.
pub fn edge<B: Load>(spec: EdgeSpec) -> Result<(EdgeTx<B>, EdgeRx<B>), EdgeSpecError> {
    edge_in(spec, Surroundings::default())
}

/// Makes an edge in the given surroundings.
///
/// # Errors
/// Where the spec is not valid; the message names the edge and says what to change.
pub fn edge_in<B: Load>(
    spec: EdgeSpec,
    surroundings: Surroundings<B>,
) -> Result<(EdgeTx<B>, EdgeRx<B>), EdgeSpecError> {
    let Surroundings { clock, budget } = surroundings;
    let shared = Shared::new(Queue::new(&spec)?, spec.lanes, clock, budget);
    let tx = EdgeTx::new(sync::Arc::clone(&shared), None)
        .map_err(|_| EdgeSpecError { edge: spec.name, fault: SpecFault::Producers(spec.max_producers) })?;
    Ok((tx, EdgeRx::new(shared)))
}
