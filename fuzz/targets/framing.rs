//! The fuzz target `framing`: what it holds is said in `bodies/framing.rs`.

#![no_main]

#[path = "../bodies/dice.rs"]
mod dice;
#[path = "../bodies/framing.rs"]
mod framing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| framing::check(bytes));
