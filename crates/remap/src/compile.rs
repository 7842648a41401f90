//! Source to a checked VRL program: what programs and conditions have in common.

use std::fmt;
use std::str::FromStr;

use vrl::compiler::state::TypeState;
use vrl::compiler::{CompilationResult, CompileConfig, TimeZone};

use crate::diagnostic::Diagnostic;
use crate::functions;

/// The largest source, in bytes: 1 MiB. A larger one is an error that says so.
pub const SOURCE_MAX_BYTES: usize = 1 << 20;

/// The deepest nesting of brackets in a source: 64. A deeper one is an error that says so; without the limit, the
/// compiler (which recurses) could exhaust its stack.
pub const NESTING_MAX: usize = 64;

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
    within_limits(source)?;
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

fn within_limits(source: &str) -> Result<(), Vec<Diagnostic>> {
    if source.len() > SOURCE_MAX_BYTES {
        let message = format!("the source has {} bytes; at most {SOURCE_MAX_BYTES} are read", source.len());
        return Err(vec![Diagnostic::whole(source, message)]);
    }
    let deepest = nesting(source);
    if deepest > NESTING_MAX {
        let message = format!("brackets are nested {deepest} deep; at most {NESTING_MAX} are read");
        return Err(vec![Diagnostic::whole(source, message)]);
    }
    Ok(())
}

/// How deep brackets are nested, those in strings and comments left out.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut before = b' ';
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_past(&mut bytes, b'"'),
            b'\'' if matches!(before, b's' | b'r' | b't') => skip_past(&mut bytes, b'\''),
            b'#' => drop(bytes.find(|byte| *byte == b'\n')),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = byte;
        deepest = deepest.max(depth);
    }
    deepest
}

/// Goes on behind the next `quote` that no backslash stands before.
fn skip_past(bytes: &mut std::str::Bytes<'_>, quote: u8) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            byte if byte == quote => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_of_strings_and_comments() {
        for (source, depth) in [
            ("", 0),
            (".a = [1, {\"b\": (2)}]", 3),
            ("\"(((\\\"(((\" + \"((\"", 0),
            ("r'(((' # (((\n[", 1),
            ("s'it\\'s ((('", 0),
            (")))((", 2),
            ("\"((", 0),
        ] {
            assert_eq!(nesting(source), depth, "{source}");
        }
    }
}
