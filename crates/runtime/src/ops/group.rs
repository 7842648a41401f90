//! [`Group`]: makes one record of several.

use std::time::Duration;

use tidegate_flow::{Batch, Bytes, Deadlines, Items, Meta, Records, Ticket, Time, Weigh};

use super::batcher::{BatchLimits, Batcher};
use crate::context::StageContext;
use crate::transform::{Step, Transform};

/// Makes one `Vec` of so many records.
///
/// * A group is closed when it is complete, when its first records have waited for the linger time, on a flush and at
///   the end, and early where the memory is short; an idle consumer does not close it. Groups never mix lanes, buckets
///   or dead letters.
/// * The records count as absorbed and the group as born. They settle when the group does, with its outcome.
/// * A group expires when the last of its records does.
pub struct Group<T: Weigh + Send + 'static> {
    batcher: Batcher<Items<T>>,
}

impl<T: Weigh + Send + 'static> Group<T> {
    pub(crate) fn new(records: u32, linger: Duration) -> Self {
        let limits = BatchLimits::records(records).bytes(Bytes::new(u64::MAX)).linger(linger);
        Self { batcher: Batcher::new(limits) }
    }
}

/// Makes one record of the rows of a batch.
fn fold<T: Weigh + Send + 'static>(batch: Batch<Items<T>>, cx: &StageContext) -> Option<Batch<Items<Vec<T>>>> {
    let Batch { mut payload, ticket, lease, meta } = batch;
    let rows = Records::new(u64::from(ticket.records()));
    let deadlines = latest(&meta.deadlines);
    let payload: Items<Vec<T>> = vec![payload.take()].into();
    let ticket = Ticket::join([ticket], 1);
    cx.counter().record(|flows| {
        flows.absorbed += rows;
        flows.born += Records::new(1);
        flows.held -= rows;
        flows.held += Records::new(1);
    });
    let group = Batch { payload, ticket, lease, meta: Meta { deadlines, ..meta } };
    let mut out = None;
    cx.emit(group, &mut out);
    out
}

/// One deadline for all: the last; none where a row has none.
fn latest(deadlines: &Deadlines) -> Deadlines {
    match deadlines {
        Deadlines::Rows(column) => match column.as_slice().iter().max() {
            Some(last) if *last != Time::MAX => Deadlines::All(*last),
            _ => Deadlines::None,
        },
        one => one.clone(),
    }
}

impl<T: Weigh + Send + 'static> Transform<Items<T>> for Group<T> {
    type Out = Items<Vec<T>>;

    fn process(&mut self, input: Batch<Items<T>>, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        let mut closed = None;
        let step = self.batcher.process(input, &mut closed, cx);
        *out = closed.and_then(|batch| fold(batch, cx));
        step
    }

    fn resume(&mut self, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        let mut closed = None;
        let step = self.batcher.resume(&mut closed, cx);
        *out = closed.and_then(|batch| fold(batch, cx));
        step
    }

    fn flush(&mut self, out: &mut Option<Batch<Self::Out>>, cx: &mut StageContext) -> Step {
        let mut closed = None;
        let step = self.batcher.flush(&mut closed, cx);
        *out = closed.and_then(|batch| fold(batch, cx));
        step
    }

    fn wake_at(&self) -> Option<Time> {
        self.batcher.wake_at()
    }
}
