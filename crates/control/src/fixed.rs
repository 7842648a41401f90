//! A limit that never changes: what most systems have, and the baseline of everything else.

use crate::limiter::{Done, Limiter};

/// At most so many in flight, always.
#[derive(Clone, Debug)]
pub struct Fixed {
    limit: u32,
}

impl Fixed {
    /// `limit` in flight; 0 counts as 1.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { limit: if limit == 0 { 1 } else { limit } }
    }
}

impl Limiter for Fixed {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn done(&mut self, _done: &Done, _in_flight: u32, _chance: f64) {}
}
