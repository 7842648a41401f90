//! Unit tests in a pipeline file: what is given to which transforms, and what must come out. The layout is Vector's.
//!
//! ```yaml
//! tests:
//!   - name: errors are tagged
//!     inputs:
//!       - { insert_at: parse, type: log, log_fields: { message: '{"level":"error"}' } }
//!     outputs:
//!       - extract_from: parse
//!         conditions:
//!           - type: vrl
//!             source: .level == "error"
//!     no_outputs_from: [other]
//! ```

mod read;
mod run;

use serde_json::Value as Json;

use crate::files::Place;

pub(crate) use read::read_cases;
pub use run::{CaseResult, Failure, run_cases};

/// One unit test.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What is put in.
    pub inputs: Vec<Insert>,
    /// What must come out.
    pub outputs: Vec<Expect>,
    /// What nothing may come out of.
    pub silent: Vec<Output>,
}

/// A record that is put in.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// The transforms that it is given to: indexes into the nodes of the plan.
    pub at: Vec<usize>,
    /// The record.
    pub record: Given,
}

/// A record of a unit test.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A line, as a source reads it.
    Raw(String),
    /// A record with these fields.
    Log(Json),
    /// What a program makes of an empty record.
    Vrl(Source),
}

/// A program in VRL, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The program.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// What must come out of transforms.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// Out of which.
    pub from: Vec<Output>,
    /// Each must hold of at least one record; without any, some record must come out.
    pub conditions: Vec<Source>,
    /// Where it stands.
    pub place: Place,
}

/// An output of a transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// An index into the nodes of the plan.
    pub node: usize,
    /// Which output, where there are several.
    pub name: Option<String>,
    /// Where it is named.
    pub place: Place,
}
