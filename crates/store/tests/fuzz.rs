//! The fuzz targets of this crate on inputs that are always the same; `cargo xtask fuzz --target` searches further.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and says on what"
)]

#[path = "../../../fuzz/bodies/cursor.rs"]
mod cursor;
#[path = "../../../fuzz/bodies/dice.rs"]
mod dice;
#[path = "../../../fuzz/bodies/drive.rs"]
mod drive;
#[path = "../../../fuzz/bodies/segment.rs"]
mod segment;

#[test]
fn no_record_comes_out_of_damaged_segments_that_was_not_put_in() {
    drive::drive("segment", 1_500, segment::check);
}

#[test]
fn whatever_stands_in_the_cursor_files_the_log_opens() {
    drive::drive("cursor", 3_000, cursor::check);
}
