//! The table of `docs/tck.md` is what the kit says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

#[path = "../examples/channels/adapters.rs"]
mod adapters;
#[path = "../examples/channels/table.rs"]
mod table;

#[test]
fn the_table_in_the_docs_is_what_the_kit_says() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tck.md");
    let text = std::fs::read_to_string(document).unwrap();
    let table = table::table();
    assert!(
        text.contains(table.trim()),
        "docs/tck.md is out of date; put this between its markers (`cargo run -p tidegate-tck --example channels`):\n{table}"
    );
}
