//! [`CreditCell`]: how much may be sent, as cumulative limits.

use crate::units::Weight;

/// The credit of one edge: three cumulative weights since the edge was made, each only ever rising.
///
/// `sent` is what entered the edge, `consumed` is what left it (delivered, shed or expired), `limit` is what the
/// consumer has allowed. Because the limit is absolute, granting twice is the same as granting once, and a lost or
/// repeated grant cannot leak or invent credit. (HTTP/2 and broker clients that add deltas do both; see the credit
/// schemes of RabbitMQ and of Flink's network stack for the half-window refill.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditCell {
    window: Weight,
    sent: Weight,
    limit: Weight,
    consumed: Weight,
    consumed_at_grant: Weight,
}

impl CreditCell {
    /// A cell that allows one `window` to begin with.
    #[must_use]
    pub const fn new(window: Weight) -> Self {
        Self { window, sent: Weight::ZERO, limit: window, consumed: Weight::ZERO, consumed_at_grant: Weight::ZERO }
    }

    /// What a grant adds to what was consumed.
    #[must_use]
    pub const fn window(&self) -> Weight {
        self.window
    }

    /// Everything that entered the edge.
    #[must_use]
    pub const fn sent(&self) -> Weight {
        self.sent
    }

    /// Everything that the consumer has allowed.
    #[must_use]
    pub const fn limit(&self) -> Weight {
        self.limit
    }

    /// Everything that left the edge.
    #[must_use]
    pub const fn consumed(&self) -> Weight {
        self.consumed
    }

    /// What is in the edge.
    #[must_use]
    #[inline]
    pub fn fill(&self) -> Weight {
        self.sent - self.consumed
    }

    /// The most that the edge can hold under the credit that is out: what the memory plan must keep for it after the
    /// window was made smaller. At least the window, once a grant has followed.
    #[must_use]
    pub fn allowed(&self) -> Weight {
        self.limit.saturating_sub(self.consumed).max(self.fill())
    }

    /// Whether `weight` more may be sent.
    #[must_use]
    #[inline]
    pub fn fits(&self, weight: Weight) -> bool {
        (self.sent + weight).fits(self.limit)
    }

    /// Counts `weight` as sent. The caller has asked [`fits`](Self::fits), or found the edge empty.
    #[inline]
    pub fn send(&mut self, weight: Weight) {
        self.sent += weight;
    }

    /// Counts `weight` as gone from the edge.
    ///
    /// # Panics
    /// Where more would be consumed than was sent: an edge that gives out what it never took is a bug.
    #[track_caller]
    #[inline]
    pub fn consume(&mut self, weight: Weight) {
        self.consumed += weight;
        assert!(self.consumed.fits(self.sent), "consumed {} of {} sent", self.consumed, self.sent);
    }

    /// Allows `consumed + window`. Says whether that is more than before; never less.
    #[inline]
    pub fn grant(&mut self) -> bool {
        self.consumed_at_grant = self.consumed;
        let limit = self.limit.max(self.consumed + self.window);
        let raised = limit != self.limit;
        self.limit = limit;
        raised
    }

    /// [Grants](Self::grant) if half of the window has been consumed since the last grant, in either unit.
    #[inline]
    pub fn grant_at_half(&mut self) -> bool {
        let since = self.consumed.saturating_sub(self.consumed_at_grant);
        let half = since.records.get() >= self.window.records.get().div_ceil(2)
            || since.bytes.get() >= self.window.bytes.get().div_ceil(2);
        half && self.grant()
    }

    /// Sets the window. A larger one grants at once; a smaller one revokes nothing: what was allowed stays allowed,
    /// and the fill comes down to the new window as it is consumed.
    pub fn set_window(&mut self, window: Weight) -> bool {
        self.window = window;
        self.grant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(records: u64, bytes: u64) -> Weight {
        Weight::new(records, bytes)
    }

    #[test]
    fn a_grant_is_absolute_and_repeating_it_changes_nothing() {
        let mut cell = CreditCell::new(weight(10, 100));
        cell.send(weight(4, 40));
        cell.consume(weight(4, 40));
        assert!(cell.grant());
        assert_eq!(cell.limit(), weight(14, 140));
        assert!(!cell.grant());
        assert_eq!(cell.limit(), weight(14, 140));
    }

    #[test]
    fn half_of_either_unit_is_enough() {
        let mut by_records = CreditCell::new(weight(10, 1000));
        by_records.send(weight(10, 10));
        by_records.consume(weight(4, 4));
        assert!(!by_records.grant_at_half());
        by_records.consume(weight(1, 1));
        assert!(by_records.grant_at_half());

        let mut by_bytes = CreditCell::new(weight(10, 1000));
        by_bytes.send(weight(1, 500));
        by_bytes.consume(weight(1, 500));
        assert!(by_bytes.grant_at_half());
        assert_eq!(by_bytes.limit(), weight(11, 1500), "both units move together");
    }

    #[test]
    fn the_half_counts_from_the_last_grant() {
        let mut cell = CreditCell::new(weight(10, 1000));
        cell.send(weight(10, 10));
        cell.consume(weight(4, 4));
        assert!(cell.grant());
        cell.consume(weight(4, 4));
        assert!(!cell.grant_at_half());
        cell.consume(weight(1, 1));
        assert!(cell.grant_at_half());
    }

    #[test]
    fn shrinking_never_revokes_and_growing_grants_at_once() {
        let mut cell = CreditCell::new(weight(10, 100));
        cell.set_window(weight(2, 20));
        assert_eq!(cell.limit(), weight(10, 100));
        assert_eq!(cell.allowed(), weight(10, 100));
        cell.send(weight(10, 100));
        cell.consume(weight(10, 100));
        cell.grant();
        assert_eq!(cell.limit(), weight(12, 120));
        assert!(cell.set_window(weight(50, 500)));
        assert_eq!(cell.limit(), weight(60, 600));
    }

    #[test]
    fn an_unbounded_window_does_not_overflow() {
        let mut cell = CreditCell::new(Weight::MAX);
        cell.send(weight(u64::MAX - 1, u64::MAX - 1));
        cell.consume(weight(1 << 40, 1 << 40));
        assert!(!cell.grant());
        assert!(cell.fits(weight(5, 5)));
        assert_eq!(cell.limit(), Weight::MAX);
    }

    #[test]
    #[should_panic(expected = "consumed 2 records")]
    fn consuming_more_than_was_sent_is_a_bug() {
        let mut cell = CreditCell::new(weight(10, 100));
        cell.send(weight(1, 1));
        cell.consume(weight(2, 2));
    }
}
