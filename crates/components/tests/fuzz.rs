//! The fuzz target of bodies on inputs that are always the same; `cargo xtask fuzz --target http_body` searches further.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking, and says on what")]

#[path = "../../../fuzz/bodies/dice.rs"]
mod dice;
#[path = "../../../fuzz/bodies/drive.rs"]
mod drive;
#[path = "../../../fuzz/bodies/http_body.rs"]
mod http_body;

#[test]
fn any_body_becomes_its_records_or_words() {
    drive::drive("http_body", 1_000, http_body::check);
}
