//! The fuzz target `remap`: what it holds is said in `bodies/remap.rs`.

#![no_main]

#[path = "../bodies/remap.rs"]
mod remap;
#[path = "../bodies/same.rs"]
mod same;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| remap::check(bytes));
