//! Overload control as pure state machines: events in, decisions out.
//!
//! Nothing here does I/O, awaits, reads a clock or draws a random number: `now` and every chance is an argument. So the
//! same bytes run in the runtime, in tests and in the simulator.
//!
//! * [`Limiter`] is what all controllers of concurrency are. [`Tide`] is ours; the others are what is published, kept to
//!   their step lists and defaults, as baselines and for those who trust them.
//! * Around a call: [`Breaker`], [`Bulkhead`], [`Backoff`] and [`RetryBudget`], [`Predictor`] for deadlines.
//! * Rates: [`Bucket`], [`Pacer`], and [`QuotaRate`] for quotas that nobody has told.
//! * Who is next, and how much at a time: [`FairQueue`], [`BatchSize`], [`EdgeWindow`].

pub mod aimd;
pub mod arc;
pub mod breaker;
pub mod bulkhead;
pub mod deadline;
pub mod envoy;
pub mod failsafe;
pub mod fair;
pub mod fixed;
pub mod gradient2;
pub mod limiter;
pub mod retry;
pub mod shaper;
pub mod sizing;
pub mod smooth;
pub mod throttle;
pub mod tide;
pub mod vegas;

pub use aimd::Aimd;
pub use arc::Arc;
pub use breaker::{Breaker, BreakerOptions, BreakerState, Window};
pub use bulkhead::{Bulkhead, Entry};
pub use deadline::Predictor;
pub use envoy::Envoy;
pub use failsafe::Failsafe;
pub use fair::{FairQueue, Next, Place, Pushed};
pub use fixed::Fixed;
pub use gradient2::Gradient2;
pub use limiter::{Admit, Answer, Done, Limiter, Range};
pub use retry::{Backoff, Denied, Failure, RetryBudget, RetryOptions};
pub use shaper::{Bucket, Pacer, QuotaRate, Told};
pub use sizing::{BatchSize, EdgeWindow};
pub use throttle::Throttle;
pub use tide::Tide;
pub use vegas::Vegas;
