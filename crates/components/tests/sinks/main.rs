//! The sinks against real servers on free loopback ports and real files, and transforms before them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod fake;
mod file;
mod http;
mod rig;
mod socket;
mod tls;
mod torn;
mod transforms;
