//! Running a VRL program on decoded values, and surviving it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::{Program, SecretTarget, Target};
use vrl::path::{OwnedSegment, OwnedTargetPath, PathPrefix};
use vrl::value::{KeyString, ObjectMap, Value};

use crate::compile::Timezone;
use crate::verdict::Verdict;

/// The most expressions that a program may evaluate for one record: 1,000,000. At the limit the program fails, as by
/// any other error. VRL has no unbounded loop, but loops within loops over long lists can take for ever.
pub const EXPRESSIONS_MAX: u64 = 1_000_000;

/// A VRL program with what it needs to run.
#[derive(Debug)]
pub(crate) struct Engine {
    program: Program,
    runtime: Runtime,
    timezone: Timezone,
}

impl Engine {
    pub(crate) fn new(program: Program, timezone: Timezone) -> Self {
        Self { program, runtime: Runtime::default(), timezone }
    }

    /// Runs the program on a record. An error is a verdict: aborted or failed.
    ///
    /// A panic within a function of VRL (the crate has some on invalid UTF-8) is a failure of this record alone.
    pub(crate) fn run(&mut self, record: &mut Decoded) -> Result<Value, Verdict> {
        let mut left = EXPRESSIONS_MAX;
        let mut control = || {
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (runtime, program, timezone) = (&mut self.runtime, &self.program, self.timezone.inner());
        let run = || runtime.resolve_with_control(record, program, timezone, &mut control);
        let result = catch_unwind(AssertUnwindSafe(run));
        match result {
            Ok(result) => {
                self.runtime.clear();
                result.map_err(verdict)
            }
            Err(payload) => {
                self.runtime = Runtime::default();
                let words = payload.downcast_ref::<&str>().copied();
                let words =
                    words.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words");
                Err(Verdict::Failed(format!("a function of VRL panicked on this record: {words}")))
            }
        }
    }
}

fn verdict(end: Terminate) -> Verdict {
    match end {
        Terminate::Abort(error) => Verdict::Aborted(error.to_string()),
        Terminate::Error(error) => Verdict::Failed(error.to_string()),
        Terminate::Interrupted => Verdict::Failed(format!("more than {EXPRESSIONS_MAX} expressions for one record")),
    }
}

/// A decoded record (or the fields of it that a program needs), and which fields the program has written since.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// `%`: empty for each record, and forgotten after it.
    metadata: Value,
    /// Whether `.` itself was written.
    pub(crate) is_replaced: bool,
    /// The fields of the root that were written, or below which something was.
    pub(crate) written: Vec<KeyString>,
}

impl Decoded {
    pub(crate) fn new(fields: ObjectMap) -> Self {
        let metadata = Value::Object(ObjectMap::new());
        Self { value: Value::Object(fields), metadata, is_replaced: false, written: Vec::new() }
    }

    fn note(&mut self, path: &OwnedTargetPath) {
        match path.path.segments.first() {
            Some(OwnedSegment::Field(name)) if self.value.is_object() => {
                if !self.written.contains(name) {
                    self.written.push(name.clone());
                }
            }
            _ => self.is_replaced = true,
        }
    }
}

impl Target for Decoded {
    fn target_insert(&mut self, path: &OwnedTargetPath, value: Value) -> Result<(), String> {
        match path.prefix {
            PathPrefix::Event => {
                self.note(path);
                self.value.insert(&path.path, value);
            }
            PathPrefix::Metadata => {
                self.metadata.insert(&path.path, value);
            }
        }
        Ok(())
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => self.value.get(&path.path),
            PathPrefix::Metadata => self.metadata.get(&path.path),
        })
    }

    fn target_get_mut(&mut self, path: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => {
                self.note(path);
                self.value.get_mut(&path.path)
            }
            PathPrefix::Metadata => self.metadata.get_mut(&path.path),
        })
    }

    fn target_remove(&mut self, path: &OwnedTargetPath, compact: bool) -> Result<Option<Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => {
                self.note(path);
                self.value.remove(&path.path, compact)
            }
            PathPrefix::Metadata => self.metadata.remove(&path.path, compact),
        })
    }
}

/// Records carry no secrets here, and none of the functions that use them are.
impl SecretTarget for Decoded {
    fn get_secret(&self, _key: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _key: &str, _value: &str) {}

    fn remove_secret(&mut self, _key: &str) {}
}
