//! The fuzz target of this crate on inputs that are always the same; `cargo xtask fuzz --target remap` searches further.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking, and says on what")]

#[path = "../../../fuzz/bodies/drive.rs"]
mod drive;
#[path = "../../../fuzz/bodies/remap.rs"]
mod remap;
#[path = "../../../fuzz/bodies/same.rs"]
mod same;

#[test]
fn any_source_is_refused_with_words_or_does_on_text_what_it_does_in_vrl() {
    drive::drive("remap", 200, remap::check);
}
