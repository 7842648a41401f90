//! [`Program`]: a remap program, compiled once and run on batches.

use std::collections::BTreeSet;
use std::fmt;

use tidegate_record::{Form, Row, RowMut, Rows};
use vrl::compiler::state::TypeState;
use vrl::path::OwnedTargetPath;

use crate::compile::{self, Access, Options, Timezone};
use crate::decode::{self, Fields, Times};
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::limits;
use crate::lower::{self, Lowered, Lowering, Part, Runs};
use crate::plan::{Halt, Step};
use crate::steps::{self, End};
use crate::verdict::{Verdict, Verdicts};

/// A remap program.
///
/// It is lowered as far as it can be ([`lowering`](Self::lowering) says how far), and what a record needs beyond that
/// runs in VRL; the result is the same. A record that the program fails on or aborts is left as it was.
pub struct Program {
    /// The whole program in VRL, for records that the short way does not fit.
    whole: Engine,
    /// The short way, if there is one.
    short: Option<Short>,
    lowering: Lowering,
    reads: Vec<String>,
    writes: Vec<String>,
}

/// Steps on raw text, and then perhaps the rest of the program in VRL on some fields.
struct Short {
    steps: Vec<Step>,
    rest: Option<Rest>,
    messages: Messages,
}

/// Whether rows in the form of messages can go the short way. VRL sees what their text does not show: the envelope's
/// time as a time, and a message that is not UTF-8 as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Messages {
    /// Nothing of that is looked at.
    Suit,
    /// Questions are asked, which must find the message as it is.
    SuitAsUtf8,
    /// The rest would see text that was not text.
    DoNot,
}

impl Messages {
    fn admit(self, row: Row<'_>) -> bool {
        row.form() == Form::Object
            || match self {
                Self::Suit => true,
                Self::SuitAsUtf8 => std::str::from_utf8(row.bytes()).is_ok(),
                Self::DoNot => false,
            }
    }
}

struct Rest {
    engine: Engine,
    fields: Fields,
    times: Times,
}

/// A program, and what the compiler had to remark about it.
#[derive(Debug)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// Warnings, in no order.
    pub warnings: Vec<Diagnostic>,
}

impl Program {
    /// Compiles a program.
    ///
    /// # Errors
    /// All that the compiler found, errors and warnings. The source is to blame: nothing helps but to change it.
    pub fn compile(source: &str, options: &Options) -> Result<Compiled, Vec<Diagnostic>> {
        limits::on_deep_stack(source, || Self::compile_here(source, options))
    }

    fn compile_here(source: &str, options: &Options) -> Result<Compiled, Vec<Diagnostic>> {
        let checked = compile::check(source, Access::Write)?;
        let info = checked.program.info().clone();
        let lowered = lower::program(source);
        let mut lowering = Lowering { parts: lowered.parts.clone() };
        let short = shorten(source, &checked.program, &lowered, options.timezone, &mut lowering);
        let program = Self {
            whole: Engine::new(checked.program, options.timezone),
            short,
            lowering,
            reads: names(&info.target_queries),
            writes: names(&info.target_assignments),
        };
        Ok(Compiled { program, warnings: checked.warnings })
    }

    /// Runs the program on every row. The rows then hold the results; `verdicts` says which do not.
    ///
    /// Takes time in proportion to the rows and what the program does with them, and never waits. A program that
    /// evaluates more than [`EXPRESSIONS_MAX`](crate::EXPRESSIONS_MAX) expressions for one record, or makes more than
    /// [`RECORD_MAX_BYTES`](crate::RECORD_MAX_BYTES) of it, fails on that record.
    pub fn run(&mut self, rows: &mut Rows, verdicts: &mut Verdicts) {
        self.run_from(0, rows, verdicts);
    }

    /// Runs the program on the rows from number `first` on, as [`run`](Self::run): to go on behind a row at which a panic
    /// was caught ([`Verdicts::begun`]).
    pub fn run_from(&mut self, first: usize, rows: &mut Rows, verdicts: &mut Verdicts) {
        verdicts.reset(rows.len());
        for number in first..rows.len() {
            verdicts.begin(number);
            let mut row = rows.row_mut(number);
            let verdict = self.run_short(&mut row).unwrap_or_else(|| self.run_whole(&mut row));
            verdicts.push(number, verdict);
        }
    }

    /// Runs the whole program in VRL on every row, whatever could be lowered. For tests and comparisons: the results are
    /// those of [`run`](Self::run), as JSON values, at a multiple of the cost.
    pub fn run_in_vrl(&mut self, rows: &mut Rows, verdicts: &mut Verdicts) {
        verdicts.reset(rows.len());
        for number in 0..rows.len() {
            let verdict = self.run_whole(&mut rows.row_mut(number));
            verdicts.push(number, verdict);
        }
    }

    /// What runs on raw text, and what in VRL and why, statement by statement.
    #[must_use]
    pub fn lowering(&self) -> &Lowering {
        &self.lowering
    }

    /// The paths that the program may read, as VRL writes them, sorted.
    #[must_use]
    pub fn reads(&self) -> &[String] {
        &self.reads
    }

    /// The paths that the program may assign, as VRL writes them, sorted. What `del` removes is among
    /// [`reads`](Self::reads).
    #[must_use]
    pub fn writes(&self) -> &[String] {
        &self.writes
    }

    /// Goes the short way; `None` where there is none for this row, which is then as it was.
    fn run_short(&mut self, row: &mut RowMut<'_>) -> Option<Verdict> {
        let short = self.short.as_mut()?;
        if !short.messages.admit(row.as_row()) {
            return None;
        }
        let mark = row.mark();
        let verdict = match steps::apply(&short.steps, row) {
            Ok(End::Done) => match short.rest.as_mut() {
                None => return Some(Verdict::Kept),
                Some(rest) => rest.run(row),
            },
            Ok(End::Aborted) => Some(Verdict::Aborted("aborted".to_string())),
            Err(Halt::Fails | Halt::Defer) => None,
        };
        if verdict != Some(Verdict::Kept) {
            row.restore(mark);
        }
        verdict
    }

    fn run_whole(&mut self, row: &mut RowMut<'_>) -> Verdict {
        let mut record = match decode::whole(row.as_row()) {
            Ok(record) => record,
            Err(error) => return error.into(),
        };
        match self.whole.run(&mut record) {
            Ok(_) => decode::write_back(record, row).unwrap_or_else(|verdict| verdict),
            Err(verdict) => verdict,
        }
    }
}

impl Rest {
    fn run(&mut self, row: &mut RowMut<'_>) -> Option<Verdict> {
        let mut record = decode::part(row.as_row(), &self.fields, self.times).ok()?;
        Some(match self.engine.run(&mut record) {
            Ok(_) => decode::write_back(record, row).unwrap_or_else(|verdict| verdict),
            Err(verdict) => verdict,
        })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("reads", &self.reads).field("writes", &self.writes).finish_non_exhaustive()
    }
}

/// The short way of a program: its lowered statements, and the rest on the fields that it names.
fn shorten(
    source: &str,
    whole: &vrl::compiler::Program,
    lowered: &Lowered,
    timezone: Timezone,
    lowering: &mut Lowering,
) -> Option<Short> {
    let parses = matches!(lowered.steps.first(), Some(Step::Parse));
    let Some((start, why)) = &lowered.stop else {
        let messages = if !parses && ask(&lowered.steps) { Messages::SuitAsUtf8 } else { Messages::Suit };
        return Some(Short { steps: lowered.steps.clone(), rest: None, messages });
    };
    let range = *start..source.trim_end().len().max(*start);
    let rest = rest_of(source, whole, lowered, *start);
    let fields = rest.as_ref().and_then(|rest| Fields::named_by(&source[range.clone()], rest));
    let (Some(rest), Some(fields)) = (rest, fields) else {
        // The root as a whole is decoded in any case, and VRL might as well do all of it.
        lowering.parts.clear();
        let range = 0..range.end;
        lowering.parts.push(Part {
            range,
            runs: Runs::OnRecord,
            words: format!("{why}, and it needs the whole record"),
        });
        return None;
    };
    let names = fields.names().map(|name| format!("`.{name}`")).collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "no field is decoded".to_string() } else { format!("only {names} decoded") };
    lowering.parts.push(Part { range, runs: Runs::OnFields, words: format!("{why}; {names}") });
    let (times, messages) = if parses { (Times::AreText, Messages::Suit) } else { (Times::Restored, Messages::DoNot) };
    let rest = Rest { engine: Engine::new(rest, timezone), fields, times };
    Some(Short { steps: lowered.steps.clone(), rest: Some(rest), messages })
}

/// The statements from `start` on as a program of their own, whose errors have the same places as in the whole.
fn rest_of(
    source: &str,
    whole: &vrl::compiler::Program,
    lowered: &Lowered,
    start: usize,
) -> Option<vrl::compiler::Program> {
    if lowered.end == 0 {
        return Some(whole.clone());
    }
    let before = compile::check(&source[..lowered.end], Access::Write).ok()?;
    let state: TypeState = before.program.final_type_info().state;
    let blank: String = source[..start].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    let rest = blank + &source[start..];
    compile::check_from(&rest, Access::Write, &state).ok().map(|checked| checked.program)
}

/// Whether any step asks about the record.
fn ask(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::If { .. }))
}

fn names(paths: &[OwnedTargetPath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect()
}
