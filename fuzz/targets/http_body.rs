//! The fuzz target `http_body`: what it holds is said in `bodies/http_body.rs`.

#![no_main]

#[path = "../bodies/dice.rs"]
mod dice;
#[path = "../bodies/http_body.rs"]
mod http_body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_body::check(bytes));
