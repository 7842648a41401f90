//! The step: takes records into the groups of the [`Book`], and gives what groups have become.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::{Batch, Bytes, Lease, Meta, Nack, Payload as _, Records, Ticket, Time, Weight, Witness};
use tidegate_record::{Form, Origin, Path, RecordId, Row, Timestamp, json};
use tidegate_runtime::checkpoint::{Keeper, State};
use tidegate_runtime::stage::Ended;
use tidegate_runtime::{LetterTray, StageContext, Step, Transform, panic_nack};

use super::book::{Book, Inner, OUTPUT_BYTES, OnTheirWay};
use super::group::{GROUP_BYTES, INDEX_BYTES};
use super::merge::MERGED_BYTES;
use super::saved::FORM;
use crate::Rows;
use crate::checkpoints::Place;
use crate::contract::Counter;
use crate::transforms::condition::Asked;
use crate::transforms::dedupe::put_value;
use crate::transforms::edits::refuse_one;
use crate::value::Period;

/// How often it is looked at what became of outputs while no input comes, or while some are to be sent again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The fields of records of so many bytes are counted, those of shorter ones are guessed.
const COUNTED: usize = 1_024;

/// Where and how often the state is saved.
pub(super) struct Saving {
    pub(super) place: Place,
    pub(super) period: Period,
    /// The most bytes of a checkpoint.
    pub(super) most: Bytes,
}

pub(super) struct ReduceStep {
    pub(super) book: Arc<Book>,
    pub(super) saving: Option<Saving>,
    pub(super) keeper: Option<Keeper>,
    pub(super) node: Arc<str>,
    /// Where records that are refused are kept; else they go back to their source.
    pub(super) letters: Option<LetterTray<Rows>>,
    pub(super) group_by: Vec<Path>,
    pub(super) starts: Option<Asked>,
    pub(super) ends: Option<Asked>,
    pub(super) input: Option<Taken>,
    pub(super) texts: Texts,
    pub(super) origin: Arc<Origin>,
    pub(super) most_bytes: usize,
    pub(super) holds: Weight,
    /// Pays for everything that is held.
    pub(super) lease: Lease,
    pub(super) ended_early: Counter,
    pub(super) ignored: Counter,
    pub(super) repeated: Counter,
    /// When it was called last, and when it wants to be called again.
    pub(super) seen: Time,
    pub(super) wake_at: Option<Time>,
    pub(super) waits: Waits,
}

/// What it waits for, and is told of.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    #[default]
    Nothing,
    /// The state to be read.
    Open,
    /// Something in the book to be safe.
    News,
}

/// An input, and how many of its rows were dealt with.
pub(super) struct Taken {
    batch: Batch<Rows>,
    next: usize,
}

/// Texts that are made anew for each record.
#[derive(Default)]
pub(super) struct Texts {
    key: Vec<u8>,
    record: Vec<u8>,
}

/// What becomes of a row.
enum Fate {
    Absorbed,
    Refused(Nack),
    /// There is no room for it now.
    Waits,
}

impl ReduceStep {
    /// Whether the state may be used.
    fn is_open(&self) -> Result<bool, Step> {
        match self.keeper.as_ref().map(Keeper::is_open) {
            None | Some(Ok(true)) => Ok(true),
            Some(Ok(false)) => Ok(false),
            Some(Err(cause)) => Err(Step::Fail(cause)),
        }
    }

    fn go_on(&mut self, out: &mut Option<Batch<Rows>>, cx: &StageContext) -> Step {
        self.waits = Waits::Nothing;
        match self.is_open() {
            Ok(true) => {}
            Ok(false) => {
                self.waits = Waits::Open;
                return Step::Side;
            }
            Err(failed) => return failed,
        }
        let book = Arc::clone(&self.book);
        let mut inner = book.lock();
        self.seen = cx.now();
        inner.pass(self.seen);
        self.take_in(&mut inner, cx);
        let more = self.give(&mut inner, out, cx);
        self.ended_early.add(std::mem::take(&mut inner.ended_early));
        let soon = inner.is_watched().then(|| self.seen + LOOK_EVERY);
        self.wake_at = inner.due().into_iter().chain(soon).min();
        match (&self.input, out.is_some()) {
            (_, true) if more || self.input.is_some() => Step::More,
            // Nobody tells of the end of a pause, and what is safe meanwhile makes room sooner.
            (Some(_), _) => self.wait(inner.back_at().map(|at| at.min(self.seen + LOOK_EVERY))),
            (None, _) => Step::Done,
        }
    }

    /// Waits for news of the book, or for a moment that it does not tell of.
    fn wait(&mut self, until: Option<Time>) -> Step {
        self.waits = if until.is_none() { Waits::News } else { Waits::Nothing };
        until.map_or(Step::Side, Step::WaitUntil)
    }

    /// Takes in what there is room for.
    fn take_in(&mut self, inner: &mut Inner, cx: &StageContext) {
        let Some(Taken { mut batch, mut next }) = self.input.take() else { return };
        let (mut absorbed, mut bytes) = (0, 0);
        while next < batch.payload.len() {
            let row = batch.payload.row(next);
            match self.absorb(row, inner) {
                Fate::Absorbed => {
                    absorbed += 1;
                    bytes += row.weight();
                }
                Fate::Refused(nack) => {
                    settle_first(&mut batch, std::mem::take(&mut absorbed), std::mem::take(&mut bytes), inner, cx);
                    let rest = batch.ticket.split_off(1);
                    let ticket = std::mem::replace(&mut batch.ticket, rest);
                    let at = u32::try_from(next).unwrap_or(u32::MAX);
                    refuse_one((&batch, at), ticket, nack, self.letters.as_ref(), cx);
                }
                Fate::Waits => break,
            }
            next += 1;
        }
        settle_first(&mut batch, absorbed, bytes, inner, cx);
        if next < batch.payload.len() {
            self.input = Some(Taken { batch, next });
        }
    }

    fn absorb(&mut self, row: Row<'_>, inner: &mut Inner) -> Fate {
        if inner.is_waiting() {
            return Fate::Waits;
        }
        let id = row.id();
        if inner.knows(id) {
            self.repeated.add(1);
            return Fate::Absorbed;
        }
        let Self { texts: Texts { key, record }, group_by, starts, ends, most_bytes, .. } = self;
        record.clear();
        row.write_json(record);
        key.clear();
        for path in &*group_by {
            match row.get(path) {
                None => key.push(b'-'),
                Some(value) => put_value(&value, key),
            }
        }
        let fields = 8 + if record.len() < COUNTED { record.len() / 16 } else { json::members(record).count() };
        let growth =
            2 * record.len() + 2 * key.len() + GROUP_BYTES + OUTPUT_BYTES + fields * (MERGED_BYTES + INDEX_BYTES);
        if growth > inner.bounds.bytes / 2 {
            let why = format!("a record of {} bytes is too large to be merged: raise `max_size`", record.len());
            return Fate::Refused(Nack::permanent(why));
        }
        if !inner.has_room(growth + 2 * *most_bytes) {
            return Fate::Waits;
        }
        let asked = catch_unwind(AssertUnwindSafe(|| {
            let is = |condition: &mut Option<Asked>| condition.as_mut().is_some_and(|asked| asked.matches(row));
            (is(starts), is(ends))
        }));
        let (does_start, does_end) = match asked {
            Ok(answers) => answers,
            Err(panic) => return Fate::Refused(panic_nack(&*panic)),
        };
        if does_start {
            inner.end_key(key);
        }
        self.ignored.add(inner.add(key, record, *most_bytes, self.seen));
        inner.note(id);
        if does_end {
            inner.end_key(key);
        }
        Fate::Absorbed
    }

    /// Puts what may be sent into `out`, as much as a batch holds. Says whether there is more.
    fn give(&self, inner: &mut Inner, out: &mut Option<Batch<Rows>>, cx: &StageContext) -> bool {
        let (mut rows, mut numbers, stream) = (Rows::default(), Vec::new(), inner.stream);
        while let Some((number, record)) = inner.next_ready() {
            let weight = rows.weight();
            if !numbers.is_empty()
                && (weight.records >= cx.chunk().records
                    || weight.bytes + Bytes::from(record.len()) >= cx.chunk().bytes)
            {
                break;
            }
            let id = RecordId::new(stream, number);
            rows.push_copy_as(Some(id), record, Form::Object, &self.origin);
            numbers.push(number);
            inner.sent();
        }
        if numbers.is_empty() {
            return false;
        }
        let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let mut ticket = Ticket::detached(count);
        if inner.bounds.checkpoints {
            let witness: Arc<dyn Witness> = Arc::new(OnTheirWay { book: Arc::clone(&self.book), numbers });
            ticket = ticket.witnessed(&witness);
        }
        cx.counter().record(|flows| {
            flows.born += Records::new(u64::from(count));
            flows.held += Records::new(u64::from(count));
        });
        let meta = Meta { born: cx.now(), ..Meta::default() };
        *out = Some(Batch { payload: rows, ticket, lease: Lease::none(), meta });
        inner.next_ready().is_some()
    }

    /// Pays for what [`give`](Self::give) has made. Without the lock: what cannot be paid for is settled.
    fn pay(out: &mut Option<Batch<Rows>>, cx: &StageContext) {
        if let Some(batch) = out.take() {
            cx.emit(batch, out);
        }
    }

    fn end(&mut self, out: &mut Option<Batch<Rows>>, cx: &StageContext) -> Step {
        if self.keeper.is_some() && cx.is_interrupted() && self.input.is_none() {
            // Whoever comes next goes on with it.
            return Step::Done;
        }
        let step = self.go_on(out, cx);
        if step != Step::Done {
            return step;
        }
        let book = Arc::clone(&self.book);
        let mut inner = book.lock();
        inner.end_all();
        if out.is_none() {
            self.give(&mut inner, out, cx);
        }
        self.wake_at = None;
        match (out.is_some(), inner.has_unsent()) {
            (true, _) => Step::More,
            (false, true) => self.wait(None),
            (false, false) => Step::Done,
        }
    }
}

/// The next so many rows of the batch are in their groups.
fn settle_first(batch: &mut Batch<Rows>, rows: u32, bytes: u64, inner: &mut Inner, cx: &StageContext) {
    if rows == 0 {
        return;
    }
    let rest = batch.ticket.split_off(rows);
    let ticket = std::mem::replace(&mut batch.ticket, rest);
    inner.absorbed(ticket, bytes);
    cx.counter().record(|flows| {
        flows.absorbed += Records::new(u64::from(rows));
        flows.held -= Records::new(u64::from(rows));
    });
}

impl Transform<Rows> for ReduceStep {
    type Out = Rows;

    fn open(&mut self, cx: &StageContext) {
        // The plan has reserved it.
        self.lease = cx.held().try_lease(self.holds.bytes).unwrap_or_default();
        let most = usize::try_from(cx.chunk_bytes().get()).unwrap_or(usize::MAX);
        self.most_bytes = self.most_bytes.min(most);
        if let Some(Saving { place, period, most }) = self.saving.take() {
            let state: Arc<dyn State> = self.book.clone();
            let keeper = place.spec(FORM, most, period).keep(&self.node, state, cx);
            self.book.lock().set_bell(keeper.bell());
            self.keeper = Some(keeper);
            // What was restored is looked at also where no input comes.
            self.wake_at = Some(cx.now());
        }
    }

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.input = Some(Taken { batch: input, next: 0 });
        self.resume(out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let step = self.go_on(out, cx);
        Self::pay(out, cx);
        step
    }

    fn flush(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let step = self.end(out, cx);
        Self::pay(out, cx);
        step
    }

    fn poll_side(&mut self, task: &mut Context<'_>, _cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        match (self.waits, &self.keeper) {
            (Waits::Open, Some(keeper)) => keeper.poll_open(task).map_err(Ended::Failed),
            (Waits::News, _) => self.book.poll_news(task).map(Ok),
            (Waits::Nothing | Waits::Open, _) => Poll::Ready(Ok(())),
        }
    }

    fn wake_at(&self) -> Option<Time> {
        self.wake_at
    }

    /// It reads them, and keeps none.
    fn takes_rows(&self) -> bool {
        false
    }
}

/// What outputs have in place of the envelope of a read.
pub(super) fn origin() -> Arc<Origin> {
    Arc::new(Origin::new("reduce", Timestamp::default()))
}
