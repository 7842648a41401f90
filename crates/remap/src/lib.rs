//! The one language of the program: VRL, for `remap` and for every condition.
//!
//! * [`Program`] changes the records of a batch; [`Condition`] asks something about one record. Both are compiled once,
//!   with every finding of the compiler as a [`Diagnostic`] at its place in the source.
//! * What can be answered on the raw text of a record is: the common `. = parse_json!(.message)` makes the bytes of the
//!   message the record where they stand, assignments of what is known become splices, comparisons look at the text
//!   ([`Lowering`] says what was done so and what was not, and why). Everything else runs in VRL itself, on the fields
//!   that it names or on the whole record. The results are equal as JSON values; a test with thousands of random
//!   programs and records holds the two against each other.
//!
//! ```
//! use tidegate_record::Rows;
//! use tidegate_remap::{Condition, Options, Program, Verdicts};
//!
//! let source = ". = parse_json!(.message)\n.pipeline = \"edge\"";
//! let mut program = Program::compile(source, &Options::default()).expect("a valid program").program;
//! let mut keep = Condition::compile(".level != \"debug\"", &Options::default()).expect("a valid condition");
//!
//! let mut rows = Rows::from_texts([r#"{"level":"info"}"#, "no json"]);
//! let mut verdicts = Verdicts::default();
//! program.run(&mut rows, &mut verdicts);
//!
//! let mut text = Vec::new();
//! rows.row(0).write_json(&mut text);
//! assert_eq!(text, br#"{"level":"info","pipeline":"edge"}"#);
//! assert!(keep.matches(rows.row(0)));
//! assert_eq!(verdicts.exceptions().len(), 1, "the second failed and is as it was");
//! ```
//!
//! # What is like in Vector
//!
//! * The envelope: a record read as a line has `.message`, `.timestamp` (a time), `.source_type`, `.host` and what else
//!   its source adds.
//! * A program that fails or aborts leaves the record unchanged; whether it then goes on, is dropped or is rerouted is
//!   the transform's to say ([`Verdict`]).
//! * A root that is no object: a list becomes one record for each item, and what is no object becomes the `.message` of
//!   one (an empty list leaves none).
//! * A condition that fails is not true.
//!
//! # What is not
//!
//! * Functions that wait for the network, enrichment tables and secrets are not here ([`MISSING`]).
//! * `%` metadata is empty for each record, can be used within a program, and is forgotten at its end.
//! * A record is JSON between two transforms. A time that a program stores is text (RFC 3339) for the next one, which
//!   needs `parse_timestamp!`; only the envelope's `.timestamp` stays a time while nobody changes it.
//! * What a program does not touch keeps its text: `1.10` stays `1.10`, keys keep their order.
//! * The zone of times without one is UTC, not that of the host, unless said otherwise ([`Options`]).

mod compile;
mod condition;
mod decode;
mod diagnostic;
mod engine;
mod functions;
mod judge;
mod limits;
mod lower;
mod plan;
mod program;
mod steps;
mod verdict;

pub use compile::{Options, Timezone, UnknownTimezone};
pub use condition::{Condition, Failure};
pub use decode::RECORD_MAX_BYTES;
pub use diagnostic::{Diagnostic, Label, Severity};
pub use engine::EXPRESSIONS_MAX;
pub use functions::{MISSING, Missing, names as function_names};
pub use limits::{CHAIN_MAX, INDEX_MAX, NESTING_MAX, PATH_MAX, SOURCE_MAX_BYTES};
pub use lower::{Lowering, Part, Runs};
pub use program::{Compiled, Program};
pub use verdict::{Verdict, Verdicts};
