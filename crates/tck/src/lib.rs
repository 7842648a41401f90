//! The conformance kit of tidegate: what a bounded channel, a source, a transform and a sink must do, as named checks
//! that anyone can run on theirs.
//!
//! * [`edge`]: for edges and any bounded channel: write [`edge_suite!`] in a test file.
//! * [`stage`]: for transforms, sources and sinks of `tidegate_runtime`: [`stage_suite!`], [`source_suite!`] and
//!   [`sink_suite!`].
//! * [`component`]: for sources, transforms and sinks as a program wires them, of any payload:
//!   [`source_component_suite!`], [`transform_component_suite!`] and [`sink_component_suite!`].
//!
//! Each check is an ordinary function that gives a [`check::Checked`]; the macros make a test of each. All run in
//! virtual time, on one thread, and always the same way. A check that is about something the subject says it lacks is
//! not skipped in silence: the test `not_applicable` of the suite names it and the reason.

pub mod check;
pub mod component;
pub mod edge;
pub mod stage;
