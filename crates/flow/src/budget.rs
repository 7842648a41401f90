//! One memory budget: who pays for the bytes, from before they are decoded until they are freed.
//!
//! A tree: the process has a [`Budget`], each pipeline a [`child`](Budget::child) of it, each edge and each holding an
//! [`Account`] in its pipeline. A [`Lease`] is the proof that bytes are charged to an account; dropping it gives them
//! back. Nothing here waits: a lease is granted or refused at once, and whoever may wait asks
//! [`Account::poll_room`], which reserves nothing.
//!
//! ```
//! use tidegate_flow::{AccountSpec, Budget, OverBudget, kib, mib};
//!
//! let process = Budget::new(mib(1));
//! let orders = process.child("orders", mib(1));
//! let source = orders.account("source tcp", AccountSpec::holding(kib(64)))?;
//! let edge = orders.account("edge tcp -> parse", AccountSpec::edge(kib(64)).maximum(kib(256)))?;
//!
//! let mut lease = source.lease(kib(64))?; // before the bytes are read
//! lease.rebind(&edge)?; // they enter the edge, and the source may read on
//! assert_eq!((source.used(), edge.used()), (kib(0), kib(64)));
//! assert_eq!(edge.lease(kib(300)).unwrap_err(), OverBudget::Never);
//! drop(lease); // with the bytes
//! assert_eq!(process.used(), kib(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What an account may draw on
//!
//! | draw | where from | who can take it away |
//! |---|---|---|
//! | its **minimum** | reserved in every pool above it when the account is opened | nobody |
//! | **floating** memory | what the pools have left; first come, first served; unsized accounts only | whoever is faster |
//! | its **overdraft** | reserved like the minimum; drawn by [`overdraw`](Account::overdraw) only, repaid first | nobody |
//!
//! An account with an explicit maximum reserves it whole, so that its maximum *is* its minimum. A release repays the
//! overdraft, then gives back floating memory, and only then makes room in the minimum. While an account is
//! [`in_debt`](Account::in_debt) it grants nothing but further overdraft.
//!
//! What a pool has committed is, summed over the accounts below it, `max(minimum, charged - debt) + overdraft`; this
//! never exceeds the pool's total, hence neither do the bytes charged. It is the one invariant that everything here
//! keeps.
//!
//! # Why this cannot deadlock
//!
//! The plan keeps four rules; the first two are kept by this module, the others by those who use it:
//!
//! 1. **A minimum is always there.** A lease that leaves the account's charge within its minimum is granted whatever
//!    others do. So an account whose use is zero always grants one lease up to its minimum.
//! 2. **The minimum of an account holds what must fit at once**: one maximal batch (an edge), one maximal frame (a
//!    source), one maximal request (a sink). A plan whose minima do not fit is refused ([`check_minima`]).
//! 3. **Floating memory is tried, never awaited while other memory is held.** A source waits for readiness *without* a
//!    lease, then tries a lease, then reads. A stage that holds memory and is refused does not wait for memory: it
//!    flushes its batch, emits or spills its oldest key, closes its youngest partial frame, or counts its edge as full.
//! 4. **A transform that expands finishes what it took** from its overdraft, which is counted among the minima, and
//!    takes no further input until it is repaid.
//!
//! Now let any bytes be in the pipeline, whose edges form no cycle. Among the stages with input or with a batch in hand
//! take one that is furthest downstream: no stage below it has either. If it is a sink, its holding is empty or in
//! flight to a remote that answers or times out, so (rules 1, 2) it can lease a request and send. Otherwise every edge
//! it emits to has a use of zero: its queue is empty, and payload that is shared by branches below it would be input
//! there. So (rules 1, 2, 4) each of them takes one batch. Either way something moves one step towards the end, and
//! nothing moves back. So whatever has entered leaves; then every account is empty, and (rules 1, 2) a source can take
//! its next frame. The argument needs no floating memory at all: it makes the pipeline faster, never possible.
//! `tests/budget_progress.rs` runs it on random chains.
//!
//! Shared leases (forks) do not weaken it: a branch that receives a shared batch needs no memory for it.
//!
//! Not promised: fairness for floating memory. A lease above the account's minimum can be overtaken by smaller ones;
//! that is why the minimum is one maximal batch and not less.
//!
//! # Locks
//!
//! One small lock per account, held for a few additions; pools are atomics. Order: account, then the list of parked
//! tasks. Two accounts (a [rebind](Lease::rebind)) are locked in the order of their numbers. Wakers are called when
//! no lock of this module is held.

mod account;
mod lease;
mod park;
mod plan;
mod pool;
mod spares;
mod spec;

pub use account::Account;
pub use lease::Lease;
pub use park::MAX_PARKED;
pub use plan::{BudgetError, PlanLine, PlanSum, check_minima};
pub use pool::Budget;
pub use spares::Spares;
pub use spec::{AccountKind, AccountSpec, OverBudget};

#[cfg(all(test, not(tidegate_loom)))]
mod tests;
