//! [`LogSink`]: one of the pool that appends to the log and waits for the sync.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Account, Bytes, Lease, Meta, Nack, OverBudget, Stored, kib};
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

/// A wait for a reason that is known: as good as for ever.
const KNOWN: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What stands before the rows in an entry and is not in their weight: origins, numbers.
const AROUND: u64 = 4096;

/// Appends batches to the log of an edge, and accepts them when they are durable.
pub struct LogSink<P, D: Disk> {
    entrance: Arc<Entrance<D>>,
    changes: watch::Receiver<u64>,
    wall: WallClock,
    /// What the log holds in memory.
    held: Bytes,
    given: Option<(Account, Clock, Due)>,
    /// Of the batch in hand, until it was appended.
    turn: Option<Turn>,
    payload: PhantomData<fn(P)>,
}

impl<P: Stored, D: Disk> LogSink<P, D> {
    pub(super) fn new(entrance: Arc<Entrance<D>>, wall: WallClock, held: Bytes) -> Self {
        let changes = entrance.hold.shared.changes();
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
            match self.entrance.hold.shared.trouble() {
                Some(_) => due.set(clock.now() + KNOWN),
                None => due.clear(),
            }
        }
        self.changes.changed().await.map_err(|_| Nack::transient("the log is gone"))
    }

    /// Appends `rows` as one entry; gives the number after the last of them.
    async fn append(
        &mut self,
        log: &Appender,
        payload: &mut P,
        meta: &Meta,
        rows: Range<u32>,
    ) -> Result<Result<Seq, TooLarge>, Nack> {
        let _paid = self.pay(payload.weight().bytes, rows.end - rows.start)?;
        let bytes = self.encode(payload, meta, rows.clone());
        loop {
            self.changes.mark_unchanged();
            match log.append(rows.end - rows.start, &bytes, (self.wall)()) {
                Ok(end) => return Ok(Ok(end)),
                Err(Refused::Full) => self.change().await?,
                Err(Refused::TooLarge | Refused::Empty) => return Ok(Err(TooLarge(bytes.len()))),
                Err(Refused::Closed) => return Err(Nack::transient("the log is closed")),
            }
        }
    }

    fn encode(&self, payload: &P, meta: &Meta, rows: Range<u32>) -> Arc<[u8]> {
        let here = self.given.as_ref().map(|(_, clock, _)| clock.now()).unwrap_or_default();
        let mut bytes = Vec::new();
        entry::write(meta, rows.clone(), Moment { here, wall: (self.wall)() }, &mut bytes);
        payload.store(rows, &mut bytes);
        Arc::from(bytes)
    }

    /// Pays for an entry that is larger than usual while it is made. A single record that there is no memory for is
    /// tried again later, behind others: who waits here holds memory.
    fn pay(&self, weight: Bytes, records: u32) -> Result<Lease, Nack> {
        let most = Bytes::new(weight.get().saturating_add(AROUND).saturating_mul(2));
        let Some((account, ..)) = self.given.as_ref().filter(|_| most > SHEET) else { return Ok(Lease::none()) };
        account.lease(most).map_err(|refused| {
            let why = format!("{records} records need {most} to be written: {refused}");
            match refused {
                OverBudget::Busy if records <= 1 => Nack::transient(why),
                OverBudget::Busy | OverBudget::Never => Nack::permanent(why),
            }
        })
    }
}

/// The entry of one record would be so large, in bytes, that the log never takes it.
struct TooLarge(usize);

impl<P: Stored, D: Disk> Sink<P> for LogSink<P, D> {
    fn open(&mut self, cx: SinkContext) {
        self.entrance.charge(&cx.holding, self.held);
        self.given = Some((cx.holding, cx.clock, cx.due));
        self.entrance.hold.shared.start();
    }

    fn begin(&mut self) {
        self.turn = Some(self.entrance.turns.take());
    }

    async fn deliver(&mut self, payload: &mut P, meta: &Meta) -> Result<Accepted, Nack> {
        let records = u32::try_from(payload.weight().records.get()).unwrap_or(u32::MAX);
        let (mut end, mut refused) = (None, Vec::new());
        let turn = self.turn.take().unwrap_or_else(|| self.entrance.turns.take());
        turn.comes().await;
        let log = self.appender().await?;
        // The next part is the last one.
        let mut parts: Vec<Range<u32>> = std::iter::once(0..records).collect();
        while let Some(rows) = parts.pop() {
            let count = rows.end - rows.start;
            match self.append(&log, payload, meta, rows.clone()).await? {
                Ok(after) => end = Some(after),
                Err(TooLarge(_)) if count > 1 => {
                    let middle = rows.start + count / 2;
                    parts.extend([middle..rows.end, rows.start..middle]);
                }
                Err(TooLarge(bytes)) if count == 1 => {
                    let why = format!("a record of {bytes} bytes is more than a quarter of the buffer's max_size");
                    refused.push((rows.start, Nack::permanent(why)));
                }
                Err(TooLarge(_)) => {}
            }
        }
        drop(turn);
        loop {
            self.changes.mark_unchanged();
            if end.is_none_or(|end| log.durable() >= end) {
                if let Some((.., due)) = &self.given {
                    due.clear();
                }
                return Ok(Accepted::all_but(refused));
            }
            // The log has ended; what was not durable was not accepted.
            self.entrance.hold.shared.appender().map_err(|cause| Nack::transient(cause.as_str()))?;
            self.change().await?;
        }
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

    /// The ends of a log that is open, its sinks with this much memory.
    async fn open(memory: Bytes) -> Ends {
        let disk = SimulatedDisk::new(1);
        let options = LogOptions::new(LogOptions::MIN_SIZE_BYTES).sync(SyncPolicy::Always);
        let mut ends: Ends = LogSpec::new(move || Ok(disk.clone()), options, || 1).ends();
        let account = Budget::new(mib(16)).account("to_disk", AccountSpec::holding(memory)).unwrap();
        let clock = Clock::new();
        ends.sinks.iter_mut().for_each(|sink| sink.open(SinkContext::new("to_disk", account.clone(), clock)));
        ends.sinks[0].appender().await.unwrap();
        ends
    }

    #[tokio::test]
    async fn what_was_begun_first_is_appended_first_whoever_runs_first() {
        let LogEnds { mut sinks, view, source, .. } = open(mib(8)).await;
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
}
