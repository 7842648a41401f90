//! The rules of an edge: how much may be sent, who is next, what leaves first, and what a full edge does.
//!
//! [`Queue`] is a plain state machine. It holds no lock, no waker and no clock: `now` is an argument, and who has to
//! be woken is an answer ([`Wakes`]). The asynchronous edge puts it behind one mutex and adds the wakers; a test or a
//! simulator drives it directly.
//!
//! # The rules
//! * **Credit** is absolute and monotone: [`CreditCell`] counts what was sent, allowed and consumed since the edge was
//!   made, in records *and* bytes. The consumer allows `consumed + window` when half of either unit has been consumed
//!   since it last did so, and always before it parks. A batch that finds the edge empty is admitted whatever its size.
//! * **Claims**: a producer that is blocked with a batch in hand queues one claim. When credit appears, deficit
//!   round-robin by bytes picks the next claim and reserves exactly its batch. Nobody who is idle holds credit.
//! * **Lanes** are served in strict priority with floors; inside a lane up to 64 buckets share by deficit
//!   round-robin; inside a bucket it is first in, first out.
//! * **Policies** ([`OnFull`]) decide what a full edge does. Half-granting exists to save wake-ups of waiters; it never
//!   makes a policy shed while there is room, because a policy looks at the true fill.
//! * **Victims** settle with their reason in the call that counts them. What they carry is not dropped there, where a
//!   lock is held, but handed to the caller ([`Queue::gone`]): dropping it may run any code.

mod admit;
mod claims;
mod control;
mod core;
mod counts;
mod credit;
mod fair;
mod lanes;
mod marks;
mod policy;
mod snapshot;
mod spec;
mod spread;

#[cfg(test)]
mod tests;

pub use crate::ledger::ShedReason;
use crate::time::Time;
use crate::units::{Records, Weight};

pub use self::admit::{Offer, Want};
pub use self::claims::{ProducerId, TooManyProducers};
pub use self::control::{Control, ControlFull};
pub use self::core::{Queue, Take, Wakes};
pub use self::counts::EdgeFlows;
pub use self::credit::CreditCell;
pub use self::lanes::{MAX_BUCKETS, MAX_LANES};
pub use self::marks::{Level, Marks};
pub use self::policy::{OnFull, SampleRate};
pub use self::snapshot::Snapshot;
pub use self::spec::{EdgeSpec, EdgeSpecError, Lanes, MAX_PRODUCERS, SpecFault};

/// What an edge carries.
///
/// The weight must not change while the edge holds the load. Every method but [`drop_expired`](Load::drop_expired) is
/// called under the lock of the edge: it must not call the edge, nor drop records, whose own `Drop` might.
pub trait Load: Sized {
    /// Records and bytes: what is counted as credit.
    fn weight(&self) -> Weight;

    /// The priority lane, 0 first. A lane that the edge does not have counts as its lowest.
    fn lane(&self) -> u8 {
        0
    }

    /// The fairness bucket; taken modulo the number of buckets of the edge.
    fn bucket(&self) -> u8 {
        0
    }

    /// The first moment at which some row of this load is past its deadline; `None` where no row has one.
    fn earliest(&self) -> Option<Time> {
        None
    }

    /// Settles the rows whose deadline is at or before `now`, and says how many. Called only when
    /// [`earliest`](Load::earliest) is at or before `now`. The rows stay until [`drop_expired`](Load::drop_expired), or
    /// until the load is dropped.
    fn settle_expired(&mut self, now: Time) -> Records {
        let _ = now;
        Records::ZERO
    }

    /// Removes the rows that [`settle_expired`](Load::settle_expired) has just settled for the same `now`. Called
    /// without the lock, before the load is passed on.
    fn drop_expired(&mut self, now: Time) {
        let _ = now;
    }

    /// Settles every row as shed for `reason`. The load is dropped later, without the lock.
    fn settle_shed(&mut self, reason: ShedReason);

    /// Whether there is no row (left).
    fn is_empty(&self) -> bool {
        self.weight().records.is_zero()
    }
}
