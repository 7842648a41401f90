//! [`Condition`]: a question about a record, in VRL.

use std::fmt;

use tidegate_record::Row;
use vrl::value::Value;

use crate::compile::{self, Access, Options};
use crate::decode::{self, Fields, Times};
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::judge;
use crate::limits;
use crate::lower::{self, Lowering, Part, Runs};
use crate::plan::{Halt, Test};
use crate::verdict::Verdict;

/// A VRL expression that is true or false for a record, and changes nothing.
pub struct Condition {
    engine: Engine,
    test: Option<Test>,
    /// The fields that it needs decoded, unless it takes the record as a whole.
    fields: Option<Fields>,
    lowering: Lowering,
}

/// A condition failed on a record: it is neither true nor false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// All that the compiler found; that the expression is not sure to be `true` or `false`; that it would change the
    /// record.
    pub fn compile(source: &str, options: &Options) -> Result<Self, Vec<Diagnostic>> {
        limits::on_deep_stack(source, || Self::compile_here(source, options))
    }

    fn compile_here(source: &str, options: &Options) -> Result<Self, Vec<Diagnostic>> {
        let checked = compile::check(source, Access::ReadOnly)?;
        let result = checked.program.final_type_info().result;
        if !result.is_boolean() {
            let kind = result.kind().to_string();
            let message = format!("a condition must be true or false, but this may be {kind}");
            let error = Diagnostic::whole(source, message)
                .with_note("hint: compare it (`.a == \"b\"`), or make sure of its type (`bool!(.a)`, `exists(.a)`)");
            return Err(vec![error]);
        }
        let fields = Fields::named_by(source, &checked.program);
        let (test, part) = match lower::condition(source) {
            Ok(test) => (Some(test), (Runs::OnText, "answered on the text of the record".to_string())),
            Err(why) if fields.is_some() => (None, (Runs::OnFields, why)),
            Err(why) => (None, (Runs::OnRecord, why)),
        };
        let lowering = Lowering { parts: vec![Part { range: 0..source.len(), runs: part.0, words: part.1 }] };
        Ok(Self { engine: Engine::new(checked.program, options.timezone), test, fields, lowering })
    }

    /// Whether the condition is true of the record. One that fails is not true, as in Vector.
    pub fn matches(&mut self, row: Row<'_>) -> bool {
        self.check(row).unwrap_or(false)
    }

    /// The answer.
    ///
    /// # Errors
    /// The condition failed on this record, for example by `string!(.a)` where `.a` is a number.
    pub fn check(&mut self, row: Row<'_>) -> Result<bool, Failure> {
        match self.test.as_ref().map(|test| judge::holds(test, row)) {
            Some(Ok(yes)) => Ok(yes),
            Some(Err(Halt::Fails)) => Err(Failure("the field is missing or of another type".to_string())),
            Some(Err(Halt::Defer)) | None => self.check_in_vrl(row),
        }
    }

    /// The answer of VRL itself, whatever could be lowered. For tests and comparisons.
    ///
    /// # Errors
    /// As [`check`](Self::check), with VRL's words.
    pub fn check_in_vrl(&mut self, row: Row<'_>) -> Result<bool, Failure> {
        let decoded = match &self.fields {
            Some(fields) => decode::part(row, fields, Times::Restored),
            None => decode::whole(row),
        };
        let mut record = decoded.map_err(|error| failure(error.into()))?;
        match self.engine.run(&mut record).map_err(failure)? {
            Value::Boolean(yes) => Ok(yes),
            other => Err(Failure(format!("the condition gave {other}, which is neither true nor false"))),
        }
    }

    /// Whether it is answered on raw text, and if not why.
    #[must_use]
    pub fn lowering(&self) -> &Lowering {
        &self.lowering
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("lowering", &self.lowering).finish_non_exhaustive()
    }
}

fn failure(verdict: Verdict) -> Failure {
    match verdict {
        Verdict::Failed(error) | Verdict::Aborted(error) => Failure(error),
        Verdict::Kept | Verdict::Split(_) => Failure("the condition gave no answer".to_string()),
    }
}
