//! [`RemapStep`]: runs the program on batches, and does with each record what the options say.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidegate_flow::{Batch, Nack, Payload as _, Records, ShedReason};
use tidegate_record::Form;
use tidegate_remap::{Program, Verdict, Verdicts};
use tidegate_runtime::{StageContext, Step, Transform, panic_nack};

use super::dropped::{Rerouting, annotate};
use crate::Rows;
use crate::contract::{BuildContext, Counter};
use crate::transforms::condition::failed_on;
use crate::transforms::edits::Edits;

/// What becomes of a record that the program did not finish.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It goes on as it was.
    Keep,
    /// It is dropped.
    Drop,
    /// It goes to the output `dropped`.
    Reroute,
    /// It goes to the dead letters.
    Letter,
}

impl Treatment {
    /// What becomes of it.
    fn in_words(self) -> &'static str {
        match self {
            Self::Keep => "the record goes on as it was",
            Self::Drop => "the record is refused for good",
            Self::Reroute => "the record goes to the output `dropped`",
            Self::Letter => "the record goes to the dead letters",
        }
    }
}

pub(super) struct RemapStep {
    program: Program,
    on_abort: Treatment,
    on_error: Treatment,
    rerouting: Option<Rerouting>,
    /// The name of the node, for records that are rerouted.
    node: Arc<str>,
    failed: Counter,
    aborted: Counter,
    verdicts: Verdicts,
    edits: Edits,
}

/// What a batch needs beyond what the program did in its rows.
#[derive(Default)]
struct Extra {
    /// Rows that became several, or none, with what they became.
    split: Vec<(u32, Vec<Vec<u8>>)>,
    rerouted: Vec<u32>,
}

impl RemapStep {
    pub(super) fn new(program: Program, on_abort: Treatment, on_error: Treatment, cx: &BuildContext) -> Self {
        let (verdicts, edits) = (Verdicts::default(), Edits::of(cx));
        let [failed, aborted] = ["records_failed", "records_aborted"].map(|name| cx.meters.counter(&cx.node, name));
        Self {
            program,
            on_abort,
            on_error,
            rerouting: None,
            node: Arc::clone(&cx.node),
            failed,
            aborted,
            verdicts,
            edits,
        }
    }

    /// Tells the junction behind this step what to reroute.
    pub(super) fn reroute(&mut self, rerouting: Rerouting) {
        self.rerouting = Some(rerouting);
    }

    /// Runs the program on every row. A panic is that of the row at which it happened: the rows before it are done, and
    /// the program goes on behind it.
    fn run(&mut self, rows: &mut Rows) -> Extra {
        let mut extra = Extra::default();
        let mut from = 0;
        while from < rows.len() {
            let Self { program, verdicts, .. } = self;
            let run = catch_unwind(AssertUnwindSafe(|| program.run_from(from, rows, verdicts)));
            let at = self.verdicts.begun();
            self.judge(rows, &mut extra);
            match run {
                Ok(()) => break,
                Err(panic) => {
                    self.edits.refuse(number(at), panic_nack(&*panic));
                    from = at + 1;
                }
            }
        }
        extra
    }

    /// Acts on the verdicts of one run.
    fn judge(&mut self, rows: &mut Rows, extra: &mut Extra) {
        let verdicts = std::mem::take(&mut self.verdicts);
        for (at, verdict) in verdicts.exceptions() {
            let (treatment, reason, message) = match verdict {
                Verdict::Kept => continue,
                Verdict::Split(objects) => {
                    extra.split.push((number(*at), objects.clone()));
                    continue;
                }
                Verdict::Aborted(message) => {
                    self.aborted.add(1);
                    (self.on_abort, "abort", message)
                }
                Verdict::Failed(message) => {
                    let what = self.on_error.in_words();
                    self.failed.one(|| format!("the program failed, so {what}: {}", failed_on(message, rows.row(*at))));
                    (self.on_error, "error", message)
                }
            };
            match treatment {
                Treatment::Keep => {}
                Treatment::Drop if reason == "abort" => self.edits.filter(number(*at)),
                Treatment::Letter if reason == "abort" => {
                    self.edits
                        .refuse(number(*at), Nack::permanent(format!("the program aborted on this record: {message}")));
                }
                Treatment::Drop | Treatment::Letter => {
                    let cause = format!("the program failed on this record: {message}");
                    self.edits.refuse(number(*at), Nack::permanent(cause));
                }
                Treatment::Reroute => {
                    annotate(rows.row_mut(*at), &self.node, reason, message);
                    extra.rerouted.push(number(*at));
                }
            }
        }
        self.verdicts = verdicts;
    }
}

impl Transform<Rows> for RemapStep {
    type Out = Rows;

    fn process(&mut self, mut input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let Extra { split, mut rerouted } = self.run(&mut input.payload);
        if !split.is_empty() {
            // From the back to the front, so that the numbers of the rows before stay true.
            rerouted.iter_mut().for_each(|row| *row = moved(*row, &split));
            self.edits.renumber(|row| moved(row, &split));
            expand(&mut input, &split, cx);
        }
        rerouted.iter_mut().for_each(|row| *row -= self.edits.before(*row));
        let Some(mut batch) = self.edits.apply(input, ShedReason::Throttle, cx) else { return Step::Done };
        match cx.cover(&mut batch) {
            Ok(()) => {
                if let Some(rerouting) = &self.rerouting {
                    rerouting.mark(rerouted);
                }
                *out = Some(batch);
            }
            Err(nack) => cx.refuse(batch, nack),
        }
        Step::Done
    }
}

/// Where a row stands after the rows before it were split.
fn moved(row: u32, split: &[(u32, Vec<Vec<u8>>)]) -> u32 {
    let before = split.iter().take_while(|(at, _)| *at < row);
    before.fold(row, |row, (_, objects)| row + number(objects.len()) - 1)
}

/// Puts the objects in the place of their rows, and makes the ticket follow.
fn expand(batch: &mut Batch<Rows>, split: &[(u32, Vec<Vec<u8>>)], cx: &StageContext) {
    let mut counts = vec![1; batch.records() as usize];
    let mut rest = std::mem::take(&mut batch.payload);
    let mut done = Rows::default();
    let (mut taken, mut born, mut gone) = (0, 0, 0);
    for (at, objects) in split {
        let mut row = rest.split_off(Records::new(u64::from(at - taken)));
        join(&mut done, rest);
        rest = row.split_off(Records::new(1));
        if let (Some(origin), id) = (row.row(0).origin(), row.row(0).id()) {
            for (object, part) in objects.iter().zip(1..) {
                done.push_copy_as(id.map(|id| id.part(part)), object, Form::Object, origin);
            }
        }
        counts[*at as usize] = number(objects.len());
        taken = at + 1;
        if objects.is_empty() { gone += 1 } else { born += objects.len() - 1 }
    }
    join(&mut done, rest);
    batch.payload = done;
    batch.ticket.expand(&counts);
    batch.meta.deadlines.expand(&counts);
    cx.count_expanded(born, gone);
}

/// Appends rows. Rows that cannot be joined without a copy are copied.
fn join(to: &mut Rows, more: Rows) {
    if let Err(apart) = to.append(more) {
        let mut text = Vec::new();
        for row in apart.iter() {
            text.clear();
            let form = row.form();
            if form == Form::Object {
                row.write_json(&mut text)
            } else {
                text.extend_from_slice(row.bytes())
            }
            if let Some(origin) = row.origin() {
                to.push_copy_as(row.id(), &text, form, origin);
            }
        }
    }
}

fn number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
