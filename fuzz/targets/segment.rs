//! The fuzz target `segment`: what it holds is said in `bodies/segment.rs`.

#![no_main]

#[path = "../bodies/segment.rs"]
mod segment;
#[path = "../bodies/dice.rs"]
mod dice;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| segment::check(bytes));
