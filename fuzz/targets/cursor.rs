//! The fuzz target `cursor`: what it holds is said in `bodies/cursor.rs`.

#![no_main]

#[path = "../bodies/cursor.rs"]
mod cursor;
#[path = "../bodies/dice.rs"]
mod dice;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cursor::check(bytes));
