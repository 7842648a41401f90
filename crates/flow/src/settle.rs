//! Settlement: how a source learns what became of every record.
//!
//! A source opens a group of records in its [`Window`] and gets a [`Ticket`] that travels with the batch. Filters,
//! splits, merges, forks, expansions and aggregates treat the ticket as they treat the rows; whoever ends a record's
//! life settles its row with an [`Outcome`](crate::Outcome) or a [`Nack`](crate::Nack). When every record of a group
//! is settled its slot is free, and the source's position moves as far as nothing unsettled stands before it.
//!
//! ```
//! use tidegate_flow::settle::{Window, WindowSpec};
//! use tidegate_flow::{Nack, Outcome, Time, Weight};
//!
//! let window = Window::new(WindowSpec::default())?;
//! let mut first = window.try_open(0, Weight::new(3, 300), Some("line 3"), Time::ZERO).expect("room");
//! let second = window.try_open(0, Weight::new(2, 200), Some("line 5"), Time::ZERO).expect("room");
//!
//! second.settle(Outcome::Delivered);
//! assert_eq!(window.take_settled(), None, "never past a record that is not settled");
//!
//! first.settle_rows(&[1], Outcome::Filtered);
//! first.settle(Outcome::Delivered);
//! let settled = window.take_settled().expect("both groups are settled");
//! assert_eq!((settled.position, settled.nack), ("line 5", None));
//! # Ok::<(), tidegate_flow::settle::WindowError>(())
//! ```
//!
//! The life of a row is in `ticket.rs`; where rows that became several come together again in `node.rs`; what a
//! window holds in `state.rs`; how far it may commit in `progress.rs`.

mod cells;
mod few;
mod node;
mod part;
mod progress;
mod runs;
mod slots;
mod spec;
mod state;
mod tally;
mod ticket;
mod verdict;
mod watch;
mod window;

pub use node::Witness;
pub use progress::Settled;
pub use spec::{MAX_LANES, MAX_SLOTS, WindowError, WindowSpec};
pub use tally::Tally;
pub use ticket::Ticket;
pub use verdict::Verdict;
pub use watch::{GroupOutcome, GroupWatch};
pub use window::{Oldest, Window, WindowFill};
