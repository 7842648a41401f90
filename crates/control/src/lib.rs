//! Overload control as pure state machines: events in, decisions out.
//!
//! Nothing here does I/O, awaits, reads a clock or draws a random number: `now` and every chance is an argument. So the
//! same bytes run in the runtime, in tests and in the simulator.
//!
//! [`Limiter`] is what all controllers of concurrency are. [`Tide`] is ours; the others are what is published, kept to
//! their step lists and defaults, as baselines and for those who trust them.

pub mod aimd;
pub mod arc;
pub mod envoy;
pub mod failsafe;
pub mod fixed;
pub mod gradient2;
pub mod limiter;
pub mod smooth;
pub mod throttle;
pub mod tide;
pub mod vegas;

pub use aimd::Aimd;
pub use arc::Arc;
pub use envoy::Envoy;
pub use failsafe::Failsafe;
pub use fixed::Fixed;
pub use gradient2::Gradient2;
pub use limiter::{Admit, Answer, Done, Limiter, Range};
pub use throttle::Throttle;
pub use tide::Tide;
pub use vegas::Vegas;
