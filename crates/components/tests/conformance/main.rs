//! Every source, transform and sink under the checks of the kit: C1 to C6 and C8 of the component contract. C7, the
//! configuration, is checked where it is read.
//!
//! A component that is added to the lists and not here fails `every_component_is_checked`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, on numbers that it chose itself"
)]

mod checkpoints;
mod sinks;
mod sources;
mod transforms;
mod world;

use tidegate_components::{SINKS, SOURCES, TRANSFORMS};

#[test]
fn every_component_is_checked() {
    let names = |checked: &[&str]| -> Vec<String> { checked.iter().map(|name| (*name).to_owned()).collect() };
    let listed = |names: Vec<&str>| -> Vec<String> { names.into_iter().map(str::to_owned).collect() };
    assert_eq!(listed(SOURCES.iter().map(|kind| kind.name).collect()), names(sources::CHECKED));
    assert_eq!(listed(TRANSFORMS.iter().map(|kind| kind.name).collect()), names(transforms::CHECKED));
    assert_eq!(listed(SINKS.iter().map(|kind| kind.name).collect()), names(sinks::CHECKED));
}
