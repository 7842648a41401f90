//! Ours.
use crate::limiter::{Done, Limiter, Range, whole};
use tidegate_flow::Time;

/// Ours.
pub struct Tide { range: Range, limit: f64 }
impl Tide {
    /// New.
    #[must_use]
    pub fn new(range: Range) -> Self { Self { range, limit: range.start() } }
}
impl Limiter for Tide {
    fn limit(&self) -> u32 { whole(self.limit) }
    fn done(&mut self, _d: &Done, _i: u32, _c: f64) { let _ = (self.range, Time::ZERO); }
}
