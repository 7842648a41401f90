//! The fuzz target `splice`: what it holds is said in `bodies/splice.rs`.

#![no_main]

#[path = "../bodies/dice.rs"]
mod dice;
#[path = "../bodies/splice.rs"]
mod splice;
#[path = "../bodies/tree.rs"]
mod tree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| splice::check(bytes));
