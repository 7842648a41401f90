//! Overload in virtual time: clients, stations and controllers of what is in flight, compared on the same chances.
//!
//! ```text
//! scenario (data) -> world (events in order) -> book (what was seen) -> contest (all seeds) -> report, plots
//! ```

pub mod command;
pub mod contest;
pub mod contestants;
pub mod scenario;
pub mod service;
pub mod suite;

mod caller;
mod measure;
mod oracle;
mod report;
mod server;
mod world;
