//! Where records come from.

pub mod demo_logs;
