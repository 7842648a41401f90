//! The program as its users have it: a process, senders and receivers outside of it that count for themselves, and signals,
//! `SIGKILL` among them.

#![cfg(all(feature = "program", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod child;
mod durable;
mod killed;
mod letters;
mod once;
mod reduced;
mod refused;
mod reload;
