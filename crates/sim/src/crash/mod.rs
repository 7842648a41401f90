//! The crash harness: a pipeline file is run as a process of its own, between a source and a sink that know every record
//! by its number; the process is killed, its disk filled, its tail torn, its clock moved and its sink frozen, broken and
//! slowed; it is started again; and what it had acknowledged is held against what came out.
//!
//! ```text
//! seed -> draw (a round, as data) -> source ==> tidegate run ==> sink    -> judge -> report
//!                                       \__________ book ________/
//! ```
//!
//! It shares no code with what it plays with, and knows of it what its users know: its file, its signals, its answers, the
//! format of its log. It needs Linux.
//!
//! * [`command`]: what is asked for, what is printed.
//! * `cases`: the pipelines; `draw`: what happens in a round; `round`: it happens.
//! * `book`: what was issued, acknowledged and seen; `judge`: what that means.
//! * `source`, `sink`: who offers records and who takes them.
//! * `program`, `ground`, `tail`: the process, its small disk, the end of its log.

pub mod command;

mod book;
mod cases;
mod draw;
mod ground;
mod judge;
mod program;
mod record;
mod report;
mod round;
mod sink;
mod source;
mod tail;
mod wait;
mod web;
