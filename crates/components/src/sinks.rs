//! Where records go to.

pub mod blackhole;
