//! Panics of user code that is asked about rows: which row is at fault, and what the supervision wants after it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_flow::{Batch, Nack, Payload, Records, Wait};

use crate::clock::{Clock, waiting};
use crate::context::{AfterFault, StageContext, panic_nack};
use crate::stage::Ended;
use crate::transform::Step;

/// Faults so far, and what the supervision wants after the last one.
#[derive(Default)]
pub(crate) struct Faults {
    count: u32,
    next: Option<Step>,
}

impl Faults {
    /// One more fault. Says whether to go on as if nothing had happened.
    pub(crate) fn add(&mut self, nack: &Nack, cx: &StageContext) -> bool {
        self.count += 1;
        self.next = match cx.after_fault(self.count) {
            AfterFault::Resume => None,
            AfterFault::Stop => Some(Step::Fail(nack.cause.clone())),
            AfterFault::Restart(at) => Some(Step::WaitUntil(at)),
        };
        self.next.is_none()
    }

    /// Whether the supervision wants something.
    pub(crate) const fn want_something(&self) -> bool {
        self.next.is_some()
    }

    /// What the supervision wants, once.
    fn take(&mut self) -> Option<Step> {
        self.next.take()
    }

    /// What a step answers when its batch is dealt with.
    pub(crate) fn next(&mut self) -> Step {
        self.take().unwrap_or(Step::Done)
    }

    /// What a step answers that would answer `step` but for a fault.
    pub(crate) fn or(&mut self, step: Step) -> Step {
        match (self.take(), step) {
            (None, step) => step,
            (Some(Step::WaitUntil(pause)), Step::WaitUntil(due)) => Step::WaitUntil(pause.max(due)),
            (Some(wanted), _) => wanted,
        }
    }

    /// Does what the supervision wants, where no step is there to answer it. Cancel-safe.
    pub(crate) async fn heed(&mut self, clock: Clock, cx: &StageContext) -> Result<(), Ended> {
        match &self.next {
            Some(Step::Fail(cause)) => return Err(Ended::Failed(cause.clone())),
            Some(Step::WaitUntil(at)) => waiting(&cx.clock, Wait::Throttled, clock.sleep_until(*at)).await,
            Some(Step::Done | Step::More | Step::Side) | None => {}
        }
        self.next = None;
        Ok(())
    }
}

/// Has `say` push one answer for each row of `batch`, in row order. The row behind the last answer is at fault when it
/// panics: that row is refused for good and leaves the batch, and `say` is asked again about the rows behind it, about
/// none twice. So there is one answer for each row that is left. Gives the numbers that the culprits had.
pub(crate) fn ask_rows<P: Payload, A>(
    batch: &mut Batch<P>,
    answers: &mut Vec<A>,
    faults: &mut Faults,
    cx: &StageContext,
    mut say: impl FnMut(&P, &mut Vec<A>),
) -> Vec<u32> {
    answers.clear();
    let mut asked = catch_unwind(AssertUnwindSafe(|| say(&batch.payload, answers)));
    let (mut refused, mut parts, mut first, mut before) = (Vec::new(), Vec::<P>::new(), 0, 0);
    while let Err(panic) = asked {
        let part = parts.last_mut().unwrap_or(&mut batch.payload);
        let said = (answers.len() - before).min(rows_of(part).saturating_sub(1));
        answers.truncate(before + said);
        before = answers.len();
        let nack = panic_nack(&*panic);
        faults.add(&nack, cx);
        refused.push((row_number(first + said), nack));
        first += said + 1;
        let behind = part.split_off(Records::from(said + 1));
        if rows_of(&behind) == 0 {
            break;
        }
        asked = catch_unwind(AssertUnwindSafe(|| say(&behind, answers)));
        parts.push(behind);
    }
    if refused.is_empty() {
        return Vec::new();
    }
    let left = rejoin(batch, parts);
    if left.records() > 0 {
        // They go back to their source, to be read again.
        refused.retain(|(row, _)| *row < batch.records());
        answers.truncate(batch.records() as usize - refused.len());
        cx.refuse(left, Nack::transient("it came behind a record that panicked, in rows that a fork shares"));
    }
    let culprits = refused.iter().map(|(row, _)| *row).collect();
    cx.refuse_rows(batch, refused);
    culprits
}

/// Puts the parts of a payload back together. Gives what does not join: rows that a fork shares, where there was no
/// memory to copy them.
fn rejoin<P: Payload>(batch: &mut Batch<P>, parts: Vec<P>) -> Batch<P> {
    for part in parts {
        if batch.payload.append(part).is_err() {
            break;
        }
    }
    batch.payload.shrink_to_fit();
    batch.split_off(row_number(rows_of(&batch.payload)))
}

fn rows_of<P: Payload>(payload: &P) -> usize {
    usize::try_from(payload.weight().records.get()).unwrap_or(usize::MAX)
}

/// The number of a row within its batch, which a ticket counts in `u32`.
pub(crate) fn row_number(rows: usize) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
