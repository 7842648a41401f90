//! What a running pipeline shows over HTTP: metrics for a scraper, health for an orchestrator.
//!
//! [`serve`] answers from a [`Shown`] view of a pipeline and never waits for the pipeline: each answer is a snapshot.
//! Run it on a runtime of its own, so that a saturated pipeline is not hidden by its own load. Nothing is spawned here
//! but a task for each of at most [`MAX_CONNECTIONS`] connections.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | everything in [`metrics::METRICS`], as OpenMetrics text |
//! | `/health/live` | 200 as long as the process can answer: for restarts; never depends on what is downstream |
//! | `/health/progress` | 200 while work moves, 503 with the stalls in words otherwise: for alerts, not for restarts |

pub mod metrics;

mod limited;
mod server;
mod shown;

pub use limited::MAX_CONNECTIONS;
pub use server::serve;
pub use shown::{Reloaded, Shown, Tallies, Tell};
