//! [`Batcher`]: makes few large batches of many small ones.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_flow::{Batch, Bytes, Payload, Time, kib};

use crate::context::StageContext;
use crate::transform::{Step, Transform};

/// The most partial batches that a batcher holds at a time: one for each lane, bucket and note that it has seen.
const MAX_OPEN: usize = 16;

/// When a batch is closed: by the first limit that it reaches, and earlier where its consumer is idle, the memory is
/// short, or a flush asks for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records in a batch; larger batches are split. At least 1.
    pub records: u32,
    /// Bytes in a batch. A single larger batch of the input passes as it is.
    pub bytes: Bytes,
    /// The longest that a record waits for others.
    pub linger: Duration,
}

impl BatchLimits {
    /// Batches of `records`, of at most 256 KiB, that wait for at most 100 ms.
    #[must_use]
    pub const fn records(records: u32) -> Self {
        Self { records, bytes: kib(256), linger: Duration::from_millis(100) }
    }

    /// Closes a batch at this many bytes.
    #[must_use]
    pub const fn bytes(mut self, bytes: Bytes) -> Self {
        self.bytes = bytes;
        self
    }

    /// Lets no record wait longer than this for others.
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

/// Joins batches until a limit is reached.
///
/// * **Holds** the partial batches, charged as a holding of the stage. When there is no memory for one more, what is held goes
///   on at once, and the new batch behind it: a batcher never waits for memory.
/// * **Joins** only what belongs together: batches of different lanes or buckets, and dead letters with different
///   notes, stay apart. Of more than 16 such kinds at a time the oldest partial batch goes on first. The order of
///   records of one lane and bucket is kept.
/// * **Copies** rows that a fork shares, before it joins them.
pub struct Batcher<P: Payload> {
    limits: BatchLimits,
    /// Partial batches, oldest first.
    open: VecDeque<Open<P>>,
    /// Closed, and to be sent in this order.
    closed: VecDeque<Batch<P>>,
    /// What is left of the input.
    rest: Option<Batch<P>>,
}

/// A partial batch, and when it is closed at the latest.
struct Open<P> {
    batch: Batch<P>,
    due: Time,
}

impl<P: Payload> Batcher<P> {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        let limits = BatchLimits { records: limits.records.max(1), ..limits };
        Self { limits, open: VecDeque::new(), closed: VecDeque::new(), rest: None }
    }

    /// Closes what the limits say while there is input, and gives the next closed batch.
    fn step(&mut self, out: &mut Option<Batch<P>>, cx: &StageContext) -> Step {
        while self.closed.is_empty() {
            match self.rest.take() {
                None => return Step::Done,
                Some(input) => self.take_in(input, cx),
            }
        }
        *out = self.closed.pop_front();
        if self.closed.is_empty() && self.rest.is_none() { Step::Done } else { Step::More }
    }

    /// Takes in as much of `input` as one batch holds; the rest is kept for the next call.
    fn take_in(&mut self, mut input: Batch<P>, cx: &StageContext) {
        let bytes = input.weight().bytes;
        let mut at = self.open.iter().position(|open| is_of_one_kind(&open.batch, &input));
        if let Some(index) = at
            && self.open[index].batch.weight().bytes + bytes > self.limits.bytes
        {
            self.close(index);
            at = None;
        }
        let room = self.limits.records - at.map_or(0, |index| self.open[index].batch.records());
        if input.records() > room {
            self.rest = Some(input.split_off(room));
        }
        if at.is_none() && self.is_full(&input) {
            self.closed.push_back(input);
        } else if !hold(&mut input, cx) {
            self.close_all();
            self.closed.push_back(input);
        } else {
            self.join(at, input, cx);
        }
    }

    /// Joins `input`, which is charged, to the partial batch at `at`, or begins one.
    fn join(&mut self, at: Option<usize>, input: Batch<P>, cx: &StageContext) {
        let apart = match at {
            None => Some(input),
            Some(index) => self.open[index].batch.append(input).err(),
        };
        let Some(batch) = apart else {
            if let Some(index) = at.filter(|index| self.is_full(&self.open[*index].batch)) {
                self.close(index);
            }
            return;
        };
        // Payloads that cannot be joined (of different slabs) follow each other.
        if let Some(index) = at {
            self.close(index);
        }
        if self.open.len() == MAX_OPEN {
            self.close(0);
        }
        self.open.push_back(Open { batch, due: cx.now() + self.limits.linger });
    }

    fn is_full(&self, batch: &Batch<P>) -> bool {
        batch.records() >= self.limits.records || batch.weight().bytes >= self.limits.bytes
    }

    fn close(&mut self, index: usize) {
        self.closed.extend(self.open.remove(index).map(|open| open.batch));
    }

    fn close_all(&mut self) {
        self.closed.extend(self.open.drain(..).map(|open| open.batch));
    }
}

/// Whether two batches may be joined.
fn is_of_one_kind<P>(one: &Batch<P>, other: &Batch<P>) -> bool {
    let (one, other) = (&one.meta, &other.meta);
    one.lane == other.lane && one.bucket == other.bucket && one.dead_letter == other.dead_letter
}

/// Charges `batch` as held back; says whether there was room.
fn hold<P: Payload>(batch: &mut Batch<P>, cx: &StageContext) -> bool {
    batch.rebind(cx.held()).is_ok()
}

impl<P: Payload> Transform<P> for Batcher<P> {
    type Out = P;

    fn process(&mut self, input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        self.rest = Some(input);
        self.step(out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        let now = cx.now();
        while self.open.front().is_some_and(|open| open.due <= now) {
            self.close(0);
        }
        self.step(out, cx)
    }

    fn flush(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        self.close_all();
        self.step(out, cx)
    }

    fn wake_at(&self) -> Option<Time> {
        // All wait equally long, so the oldest is due first.
        self.open.front().map(|open| open.due)
    }

    fn holds_back(&self) -> bool {
        !self.open.is_empty() || !self.closed.is_empty()
    }

    fn may_hold_back(&self) -> bool {
        true
    }
}
