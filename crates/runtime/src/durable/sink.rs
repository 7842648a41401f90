//! [`LogSink`]: one of the pool that appends to the log and waits for the sync.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Account, Bytes, Lease, Meta, Nack, Stored, kib};
use tidegate_store::{Appender, Disk, Refused, Seq};
use tokio::sync::watch;

use super::WallClock;
use super::entry::{self, Moment};
use super::shared::Entrance;
use super::turn::Turn;
use crate::clock::Clock;
use crate::egress::{Accepted, Sink, SinkContext};
use crate::probe::Due;

/// What the entry of a usual batch is made in, twice because it is then copied for the log.
pub(super) const SHEET: Bytes = kib(256);

/// The rows of one entry, where they are more than one. With what is around them that fits on the sheet, twice.
const ROWS: Bytes = kib(112);

/// A wait for a reason that is known: as good as for ever.
const KNOWN: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What stands before the rows in an entry, and for each of them where each has a deadline.
const AROUND: u64 = 4096;
const AROUND_ROW: u64 = 8;

/// Appends batches to the log of an edge, and accepts them when they are durable.
pub struct LogSink<P, D: Disk> {
    entrance: Arc<Entrance<D>>,
    changes: watch::Receiver<()>,
    wall: WallClock,
    /// What the log holds in memory.
    held: Bytes,
    given: Option<(Account, Clock, Due)>,
    /// Of the batch in hand, until all of it was appended.
    turn: Option<Turn>,
    payload: PhantomData<fn(P)>,
}

impl<P: Stored, D: Disk> LogSink<P, D> {
    pub(super) fn new(entrance: Arc<Entrance<D>>, wall: WallClock, held: Bytes) -> Self {
        let changes = entrance.hold.shared.for_sinks();
        Self { entrance, changes, wall, held, given: None, turn: None, payload: PhantomData }
    }

    /// The appender, once the log is open. Cancel-safe.
    async fn appender(&mut self) -> Result<Appender, Nack> {
        loop {
            self.changes.mark_unchanged();
            match self.entrance.hold.shared.appender() {
                Ok(Some(appender)) => return Ok(appender),
                Ok(None) => self.change().await?,
                Err(cause) => return Err(Nack::transient(cause.as_str())),
            }
        }
    }

    /// Waits for news of the log. While that says why it has to wait, nobody need look for a reason.
    async fn change(&mut self) -> Result<(), Nack> {
        if let Some((_, clock, due)) = &self.given {
            if self.entrance.hold.shared.is_troubled() {
                due.set(clock.now() + KNOWN);
            } else {
                due.clear();
            }
        }
        self.changes.changed().await.map_err(|_| Nack::transient("the log is gone"))
    }

    /// Appends as many of `rows` as make one entry.
    async fn append(&mut self, log: &Appender, part: &mut Part<'_, P>) -> Result<Appended, Nack> {
        let mut rows = part.rows.clone();
        loop {
            let (until, bytes) = part.payload.stored_within(rows.clone(), ROWS);
            let rows_now = rows.start..until;
            let count = rows_now.end - rows_now.start;
            let around = AROUND + AROUND_ROW * u64::from(count);
            let most = bytes + Bytes::new(around);
            let _paid = self.pay(most + most);
            let entry = part.encode(rows_now, most);
            match self.append_entry(log, count, &entry, part.now.wall).await? {
                Ok(end) => return Ok(Appended::Until(until, end)),
                Err(TooLarge) if count > 1 => rows.end = rows.start + 1,
                Err(TooLarge) => {
                    let why =
                        format!("a record of {} bytes is more than a quarter of the buffer's max_size", entry.len());
                    return Ok(Appended::Never(Nack::permanent(why)));
                }
            }
        }
    }

    /// Appends an entry when there is room for it; gives the number after its last record.
    async fn append_entry(
        &mut self,
        log: &Appender,
        records: u32,
        entry: &Arc<[u8]>,
        wall: u64,
    ) -> Result<Result<Seq, TooLarge>, Nack> {
        loop {
            self.changes.mark_unchanged();
            match log.append(records, entry, wall) {
                Ok(end) => {
                    self.entrance.hold.shared.tell_of_append();
                    return Ok(Ok(end));
                }
                Err(Refused::Full) => self.change().await?,
                Err(Refused::TooLarge | Refused::Empty) => return Ok(Err(TooLarge)),
                Err(Refused::Closed) => return Err(Nack::transient("the log is closed")),
            }
        }
    }

    /// Pays for an entry while it is made. What is usual was reserved, and one sink makes an entry at a time. A single
    /// record that takes more is made all the same where there is no memory for it: those behind it wait for it and hold
    /// what there is, so that none would ever come; and past it they must not go.
    fn pay(&self, bytes: Bytes) -> Lease {
        let Some((account, ..)) = &self.given else { return Lease::none() };
        account.try_lease(bytes).or_else(|| account.try_lease(bytes.min(SHEET))).unwrap_or_default()
    }

    fn moment(&self) -> Moment {
        let here = self.given.as_ref().map(|(_, clock, _)| clock.now()).unwrap_or_default();
        Moment { here, wall: (self.wall)() }
    }

    /// Waits until nobody need keep what is below `end` but the log.
    async fn until_safe(&mut self, log: &Appender, end: Seq) -> Result<(), Nack> {
        loop {
            self.changes.mark_unchanged();
            if log.safe() >= end {
                if let Some((.., due)) = &self.given {
                    due.clear();
                }
                return Ok(());
            }
            // The log has ended; what was not durable was not accepted.
            self.entrance.hold.shared.appender().map_err(|cause| Nack::transient(cause.as_str()))?;
            self.change().await?;
        }
    }
}

/// What is left of a batch, and when it was looked at.
struct Part<'a, P> {
    payload: &'a mut P,
    meta: &'a Meta,
    rows: Range<u32>,
    now: Moment,
}

impl<P: Stored> Part<'_, P> {
    fn encode(&self, rows: Range<u32>, most: Bytes) -> Arc<[u8]> {
        let mut bytes = Vec::with_capacity(usize::try_from(most.get()).unwrap_or_default());
        entry::write(self.meta, rows.clone(), self.now, &mut bytes);
        self.payload.store(rows, &mut bytes);
        Arc::from(bytes)
    }
}

/// What became of the first rows of a part.
enum Appended {
    /// Those before this row were appended, and the log has come to this number.
    Until(u32, Seq),
    /// The first of them can never be appended.
    Never(Nack),
}

/// The log never takes an entry of this size.
struct TooLarge;

impl<P: Stored, D: Disk> Sink<P> for LogSink<P, D> {
    fn open(&mut self, cx: SinkContext) {
        self.entrance.charge(&cx.holding, self.held);
        self.given = Some((cx.holding, cx.clock, cx.due));
        if !self.entrance.opens_late {
            self.entrance.hold.shared.start();
        }
    }

    fn begin(&mut self) {
        self.turn = Some(self.entrance.turns.take());
    }

    fn release(&mut self) {
        self.turn = None;
    }

    async fn deliver(&mut self, payload: &mut P, meta: &Meta) -> Result<Accepted, Nack> {
        let records = u32::try_from(payload.weight().records.get()).unwrap_or(u32::MAX);
        let turn = self.turn.get_or_insert_with(|| self.entrance.turns.take());
        turn.comes().await;
        if self.entrance.opens_late {
            self.entrance.hold.shared.start();
        }
        let log = self.appender().await?;
        let mut part = Part { payload, meta, rows: 0..records, now: self.moment() };
        let (mut end, mut refused) = (None, Vec::new());
        while !part.rows.is_empty() {
            match self.append(&log, &mut part).await? {
                Appended::Until(row, after) => (part.rows.start, end) = (row, Some(after)),
                Appended::Never(nack) => {
                    refused.push((part.rows.start, nack));
                    part.rows.start += 1;
                }
            }
        }
        self.turn = None;
        if let Some(end) = end {
            self.until_safe(&log, end).await?;
        }
        Ok(Accepted::all_but(refused))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::pin::pin;

    use futures_util::FutureExt as _;
    use tidegate_flow::{AccountSpec, Budget, Items, mib};
    use tidegate_store::{LogOptions, SimulatedDisk, SyncPolicy};

    use super::super::{LogEnds, LogSpec};
    use super::*;

    type Ends = LogEnds<Items<String>, SimulatedDisk>;

    /// The ends of a log that is open, and what its sinks pay from: this much and no more.
    async fn open(memory: Bytes) -> (Ends, Account, SimulatedDisk) {
        let disk = SimulatedDisk::new(1);
        let on_disk = disk.clone();
        let options = LogOptions::new(LogOptions::MIN_SIZE_BYTES).sync(SyncPolicy::Always);
        let mut ends: Ends = LogSpec::new(move || Ok(disk.clone()), options, || 1).ends();
        let account = Budget::new(memory).account("to_disk", AccountSpec::holding(memory)).unwrap();
        let clock = Clock::new();
        ends.sinks.iter_mut().for_each(|sink| sink.open(SinkContext::new("to_disk", account.clone(), clock)));
        ends.sinks[0].appender().await.unwrap();
        (ends, account, on_disk)
    }

    #[tokio::test]
    async fn what_was_begun_first_is_appended_first_whoever_runs_first() {
        let (LogEnds { mut sinks, view, source, .. }, ..) = open(mib(8)).await;
        let [first, second, ..] = &mut sinks[..] else { return };
        let mut texts = ["one", "two"].map(|text| Items::from(vec![text.to_owned()]));
        let [one, two] = &mut texts;
        let meta = Meta::default();
        first.begin();
        second.begin();
        let mut late = pin!(second.deliver(two, &meta));
        assert!(late.as_mut().now_or_never().is_none());
        assert_eq!(view.counts().appended, 0, "it has to wait for the one that was begun before it");
        let early = first.deliver(one, &meta);
        assert_eq!(futures_util::future::join(late, early).await, (Ok(Accepted::All), Ok(Accepted::All)));
        assert_eq!(view.counts().appended, 2);
        drop(source);
    }

    /// The texts in a log, in its order.
    fn read(disk: &SimulatedDisk) -> Vec<usize> {
        let mut texts = Vec::new();
        let survey = tidegate_store::Survey::visit(disk, |_, entry| {
            let (_, rows) = super::super::batch_of::<Items<String>>(entry).unwrap();
            texts.extend(rows.as_slice().iter().map(String::len));
            true
        });
        survey.unwrap();
        texts
    }

    /// Those behind it hold the memory that it would wait for.
    #[tokio::test]
    async fn a_large_record_keeps_its_place_also_when_no_memory_is_left() {
        let (LogEnds { mut sinks, view, source, .. }, account, disk) = open(mib(8)).await;
        let [first, second, ..] = &mut sinks[..] else { return };
        let others = account.lease(Bytes::new(3_500_000)).unwrap();
        let mut large = Items::from(vec!["small".to_owned(), "x".repeat(200_000), "tail".to_owned()]);
        let mut small = Items::from(vec!["second".to_owned()]);
        let meta = Meta::default();
        first.begin();
        second.begin();
        let mut behind = pin!(second.deliver(&mut small, &meta));
        assert!(behind.as_mut().now_or_never().is_none());
        let before = first.deliver(&mut large, &meta);
        assert_eq!(futures_util::future::join(behind, before).await, (Ok(Accepted::All), Ok(Accepted::All)));
        assert_eq!(read(&disk), [5, 200_000, 4, 6]);
        assert!(account.refused() > 0 && view.counts().appended == 4, "the test must reach it");
        drop((source, others));
    }

    /// What one delivery is given back without being tried again must not stop the others.
    #[tokio::test]
    async fn a_sink_that_is_done_with_its_batch_lets_the_others_go_on() {
        let (LogEnds { mut sinks, view, source, .. }, ..) = open(mib(8)).await;
        let [first, second, ..] = &mut sinks[..] else { return };
        first.begin();
        second.begin();
        Sink::<Items<String>>::release(first);
        let mut text = Items::from(vec!["second".to_owned()]);
        assert_eq!(second.deliver(&mut text, &Meta::default()).await, Ok(Accepted::All));
        assert_eq!(view.counts().appended, 1);
        drop(source);
    }
}
