//! The fuzz target of pipeline files on inputs that are always the same; `cargo xtask fuzz --target config` searches
//! further.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking, and says on what")]

#[path = "../../../fuzz/bodies/config.rs"]
mod config;
#[path = "../../../fuzz/bodies/drive.rs"]
mod drive;

#[test]
fn any_text_becomes_a_plan_or_errors_with_their_places() {
    drive::drive("config", 500, config::check);
}
