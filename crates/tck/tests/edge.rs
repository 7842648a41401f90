//! The edge of tidegate under the kit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use tidegate_tck::edge::{Tidegate, checks};

tidegate_tck::edge_suite!(tidegate_edge, Tidegate);

#[test]
fn our_edge_lacks_nothing() {
    for check in checks::all::<Tidegate>() {
        assert_eq!(check.not_applicable(), None, "{}", check.name);
    }
}
