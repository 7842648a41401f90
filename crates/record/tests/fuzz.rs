//! The fuzz targets of this crate on inputs that are always the same; `cargo xtask fuzz --target` searches further.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking, and says on what")]

#[path = "../../../fuzz/bodies/dice.rs"]
mod dice;
#[path = "../../../fuzz/bodies/drive.rs"]
mod drive;
#[path = "../../../fuzz/bodies/framing.rs"]
mod framing;
#[path = "../../../fuzz/bodies/splice.rs"]
mod splice;
#[path = "../../../fuzz/bodies/tree.rs"]
mod tree;

#[test]
fn however_a_stream_is_read_its_frames_are_the_same() {
    drive::drive("framing", 2_000, framing::check);
}

#[test]
fn edits_of_text_are_edits_of_values_and_leave_the_rest_alone() {
    drive::drive("splice", 2_000, splice::check);
}
