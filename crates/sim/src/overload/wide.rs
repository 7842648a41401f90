//! The wider scenarios, and the figures that only some of them have.

use super::measure::{Book, Figures};
use super::scenario::Scenario;

/// What only this scenario is asked for.
pub(crate) fn figures(_scenario: &Scenario, _book: &Book) -> Figures {
    Vec::new()
}
