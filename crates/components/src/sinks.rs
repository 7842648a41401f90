//! Where records go to.

pub mod blackhole;
pub mod console;
pub mod dead_letter_queue;
pub mod dead_letters;
pub mod file;
pub mod http;
pub mod socket;

mod desk;
mod encode;
mod place;
