//! [`Bulkhead`]: so many at a time and so many waiting, so that one remote that hangs does not take everything.
//!
//! Source: M. Nygard, "Release It!" (2007), chapter "Bulkheads". Permits are for the call of the remote itself: whoever
//! holds one and waits for another can wait for ever.

/// Whether a call may be made.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It has a permit; it is to be given back by [`Bulkhead::leave`].
    Enter,
    /// It waits; [`Bulkhead::leave`] says when it is its turn, [`Bulkhead::give_up`] takes it out.
    Wait,
    /// As many wait as may.
    Refuse,
}

/// A bound on calls at a time and on those that wait for it.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    permits: u32,
    waiting_most: u32,
    inside: u32,
    waiting: u32,
}

impl Bulkhead {
    /// `permits` at a time (1 at least), and so many that wait.
    #[must_use]
    pub fn new(permits: u32, waiting: u32) -> Self {
        Self { permits: permits.max(1), waiting_most: waiting, inside: 0, waiting: 0 }
    }

    /// Calls that hold a permit.
    #[must_use]
    pub const fn inside(&self) -> u32 {
        self.inside
    }

    /// Calls that wait for one.
    #[must_use]
    pub const fn waiting(&self) -> u32 {
        self.waiting
    }

    /// A call comes.
    pub fn enter(&mut self) -> Entry {
        if self.inside < self.permits && self.waiting == 0 {
            self.inside += 1;
            Entry::Enter
        } else if self.waiting < self.waiting_most {
            self.waiting += 1;
            Entry::Wait
        } else {
            Entry::Refuse
        }
    }

    /// A call gives its permit back. Whether one that waits has it now: it is to be told, and to leave in its turn.
    #[must_use]
    pub fn leave(&mut self) -> bool {
        if self.waiting > 0 && self.inside <= self.permits {
            self.waiting -= 1;
            return true;
        }
        self.inside = self.inside.saturating_sub(1);
        false
    }

    /// One that waits does not any more, and was not told that it is its turn.
    pub fn give_up(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Another number of permits from now on; how many of those that wait have one now. Fewer permits take effect as
    /// calls leave.
    #[must_use]
    pub fn resize(&mut self, permits: u32) -> u32 {
        self.permits = permits.max(1);
        let told = self.permits.saturating_sub(self.inside).min(self.waiting);
        self.inside += told;
        self.waiting -= told;
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_pass_to_those_that_wait_and_nobody_overtakes_them() {
        let mut bulkhead = Bulkhead::new(2, 1);
        assert_eq!([(); 4].map(|()| bulkhead.enter()), [Entry::Enter, Entry::Enter, Entry::Wait, Entry::Refuse]);
        assert!(bulkhead.leave(), "the one that waits has it");
        assert_eq!((bulkhead.inside(), bulkhead.waiting()), (2, 0));
        assert_eq!(bulkhead.enter(), Entry::Wait);
        bulkhead.give_up();
        assert!(!bulkhead.leave() && !bulkhead.leave() && bulkhead.inside() == 0);
    }

    #[test]
    fn another_size_counts_at_once_upwards_and_as_calls_leave_downwards() {
        let mut bulkhead = Bulkhead::new(3, 5);
        (0..6).for_each(|_| _ = bulkhead.enter());
        assert_eq!((bulkhead.resize(5), bulkhead.inside(), bulkhead.waiting()), (2, 5, 1));
        assert_eq!(bulkhead.resize(1), 0);
        assert!(!bulkhead.leave() && !bulkhead.leave() && !bulkhead.leave() && !bulkhead.leave());
        assert_eq!((bulkhead.inside(), bulkhead.waiting()), (1, 1));
        assert!(bulkhead.leave(), "below the new size permits pass on again");
    }
}
