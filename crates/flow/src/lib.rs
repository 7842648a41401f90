//! The pure rules of tidegate: what a batch weighs, how much may be sent, who pays for the bytes, how a record's
//! life ends, and whose fault a wait is.
//!
//! Nothing here does I/O, awaits, reads a clock or draws a random number: `now` and every choice is an argument.
//! Locks are taken and released within one call. The same rules therefore run under the real runtime, under
//! virtual time, and under a model checker.

pub mod batch;
pub mod blame;
pub mod budget;
pub mod clock;
pub mod graph;
pub mod items;
pub mod ledger;
pub mod outcome;
pub mod payload;
pub mod queue;
pub mod settle;
pub mod slab;
pub mod stall;
pub mod time;
pub mod units;

pub(crate) mod sync;

pub use batch::{Batch, DeadlineColumn, Deadlines, Meta, Note};
pub use budget::{Account, AccountKind, AccountSpec, Budget, BudgetError, Lease, OverBudget, Spares};
pub use clock::{StageClock, StageState, StageTimes, Stall, Wait};
pub use graph::{EdgeId, Graph, StageId, StageKind};
pub use items::Items;
pub use ledger::{
    Change, FlowChange, FlowCounter, FlowKind, Flows, Imbalance, Ledger, OutcomeCounts, ShedChange, ShedCounts,
    ShedReason, SourceLedger,
};
pub use outcome::{Cause, Nack, NackKind, Outcome};
pub use payload::{Payload, Share, Stored, Weigh};
pub use queue::{EdgeSpec, OnFull, SampleRate};
pub use settle::{GroupOutcome, GroupWatch, Settled, Tally, Ticket, Verdict, Window, WindowError, WindowSpec, Witness};
pub use slab::{Slab, SlabBuf, SlabPool};
pub use time::Time;
pub use units::{Bytes, Records, Weight, gib, kib, mib};
