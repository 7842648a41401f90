//! Source to a checked VRL program: what programs and conditions have in common.

use std::fmt;
use std::str::FromStr;

use vrl::compiler::state::TypeState;
use vrl::compiler::{CompilationResult, CompileConfig, TimeZone};

use crate::diagnostic::Diagnostic;
use crate::functions;
use crate::limits;

/// What a compilation may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The zone of times that name none, in `parse_timestamp` and the like. Default: UTC.
    pub timezone: Timezone,
}

/// A time zone by name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timezone(TimeZone);

impl Timezone {
    pub(crate) fn inner(&self) -> &TimeZone {
        &self.0
    }
}

impl Default for Timezone {
    fn default() -> Self {
        TimeZone::parse("UTC").map_or(Self(TimeZone::Local), Self)
    }
}

impl FromStr for Timezone {
    type Err = UnknownTimezone;
    /// A name of the TZ database (`Europe/Berlin`, `UTC`), or `local` for that of the host.
    fn from_str(name: &str) -> Result<Self, UnknownTimezone> {
        TimeZone::parse(name).filter(|_| !name.is_empty()).map(Self).ok_or_else(|| UnknownTimezone(name.to_string()))
    }
}

impl fmt::Debug for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self.0))
    }
}

/// There is no time zone of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTimezone(pub String);

impl fmt::Display for UnknownTimezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no time zone is called `{}`; write one like `Europe/Berlin`, `UTC` or `local`", self.0)
    }
}

impl std::error::Error for UnknownTimezone {}

/// A checked VRL program with what the compiler had to remark.
pub(crate) struct Checked {
    pub(crate) program: vrl::compiler::Program,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Whether a source may change the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    ReadOnly,
}

/// Compiles `source` for records of which nothing is known.
pub(crate) fn check(source: &str, access: Access) -> Result<Checked, Vec<Diagnostic>> {
    limits::check(source)?;
    check_from(source, access, &TypeState::default())
}

/// Compiles `source` for records in a known state, as another program leaves them.
pub(crate) fn check_from(source: &str, access: Access, state: &TypeState) -> Result<Checked, Vec<Diagnostic>> {
    let mut config = CompileConfig::default();
    if access == Access::ReadOnly {
        config.set_read_only();
    }
    match vrl::compiler::compile_with_state(source, functions::all(), state, config) {
        Ok(CompilationResult { program, warnings, .. }) => {
            Ok(Checked { program, warnings: Diagnostic::list(source, warnings) })
        }
        Err(errors) => Err(Diagnostic::list(source, errors)),
    }
}
