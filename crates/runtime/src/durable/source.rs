//! [`LogSource`]: reads the log of an edge and hands it on.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_flow::{Account, Bytes, Cause, Lease, Meta, NackKind, Outcome, Settled, Stored, Time, Weight, kib};
use tidegate_store::{Disk, Entry, Read, Reader, Seq, Settler, TooLong};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::entry::{self, Moment};
use super::shared::{Hold, Life, Shared};
use super::{LAST_WAIT, WallClock};
use crate::clock::Clock;
use crate::drain::Intake;
use crate::ingress::{Committer, Companion, Pull, Readiness, Source, SourceContext};

/// What a usual entry takes that was read from disk.
const ENTRY: Bytes = kib(128);

/// The pause before what was given back is read again: it doubles while nothing settles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// A place in a log, and in which of its readings: what was given back is read again, and what is then still told of the
/// reading before does not count.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The number after the last record.
    end: Seq,
    reading: u64,
}

/// Reads the log of an edge.
pub struct LogSource<P, D: Disk> {
    shared: Arc<Shared<D>>,
    hold: Arc<Hold<D>>,
    wall: WallClock,
    changes: watch::Receiver<()>,
    given: Option<(Account, Clock)>,
    place: Place<D>,
    settler: Option<Settler>,
    memory: Memory,
    current: Option<Current>,
    /// Of the batch that was read last.
    meta: Meta,
    /// The position of the last read that was handed on.
    handed: Option<LogPosition>,
    reading: u64,
    told: Arc<Told>,
    payload: PhantomData<fn() -> P>,
}

/// Where the reader is.
enum Place<D: Disk> {
    /// The log is not open yet.
    Shut,
    Here(Reader<D>),
    /// On a thread that waits for the disk.
    Away(JoinHandle<(Reader<D>, std::io::Result<Result<Read, TooLong>>)>),
    /// That thread has panicked.
    Lost,
}

/// What is in hand.
enum Current {
    /// An entry, and how far it was handed on.
    Entry { entry: Entry, row: u32 },
    /// Records up to this number cannot be read.
    Gap(Seq),
}

/// What pays for the entry in hand, before it is read.
#[derive(Default)]
struct Memory {
    /// For one of a usual size, or for a longer one, until that is handed on.
    lease: Lease,
    /// The next one is so long, and there is no lease for it yet.
    asked: Option<u64>,
}

impl Memory {
    /// The most bytes that an entry may have now.
    fn most(&self) -> u64 {
        self.lease.bytes().get()
    }

    /// Makes do with what was reserved.
    fn shrink(&mut self, account: &Account) {
        self.lease = Lease::none();
        self.lease = account.try_lease(ENTRY).unwrap_or_default();
    }

    /// Waits for what was asked for, holding nothing. Cancel-safe.
    async fn arrive(&mut self, account: &Account) -> Result<(), Cause> {
        while let Some(bytes) = self.asked.map(Bytes::new) {
            self.lease = Lease::none();
            if let Some(lease) = account.try_lease(bytes) {
                (self.lease, self.asked) = (lease, None);
            } else if let Err(refused) = poll_fn(|task| account.poll_room(task, bytes)).await {
                let why = format!("an entry of {bytes} in the buffer cannot be read: {refused}; raise `memory`");
                return Err(Cause::from(why));
            }
        }
        Ok(())
    }
}

/// What the committer says to the source.
#[derive(Default)]
struct Told(Mutex<Saying>);

#[derive(Copy, Clone, Default)]
struct Saying {
    /// The reading that counts.
    reading: u64,
    /// The last position that was reported, of whatever reading.
    last: Option<LogPosition>,
    /// How often something was given back since something settled.
    failures: u32,
}

impl Told {
    fn change<T>(&self, change: impl FnOnce(&mut Saying) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self) -> Saying {
        self.change(|saying| *saying)
    }
}

impl<P: Stored, D: Disk> LogSource<P, D> {
    /// What it holds from one read to the next: to be reserved with
    /// [`SourceOptions::holding`](crate::SourceOptions::holding).
    pub const HOLDING: Bytes = ENTRY;

    pub(super) fn new(hold: Arc<Hold<D>>, wall: WallClock) -> Self {
        let shared = Arc::clone(&hold.shared);
        Self {
            changes: shared.for_source(),
            shared,
            hold,
            wall,
            given: None,
            place: Place::Shut,
            settler: None,
            memory: Memory::default(),
            current: None,
            meta: Meta::default(),
            handed: None,
            reading: 0,
            told: Arc::default(),
            payload: PhantomData,
        }
    }

    fn moment(&self) -> Moment {
        let here = self.given.as_ref().map(|(_, clock)| clock.now()).unwrap_or_default();
        Moment { here, wall: (self.wall)() }
    }

    /// Takes the reader from the log, once that is open.
    ///
    /// # Errors
    /// It never will be, or its thread has failed.
    fn take_reader(&mut self) -> Result<(), Cause> {
        match &mut *self.shared.life() {
            Life::Open(open) => {
                if let Some(reader) = open.reader.take() {
                    self.settler = Some(open.settler.clone());
                    self.place = Place::Here(reader);
                }
                Ok(())
            }
            Life::Failed(cause) => Err(cause.clone()),
            Life::Planned(_) | Life::Opening(_) | Life::Ended => Ok(()),
        }
    }

    /// Goes back to the first record that is not settled, once all that was handed on has been reported. Cancel-safe.
    async fn go_back(&mut self) -> Result<(), Cause> {
        let said = self.told.get();
        if said.last != self.handed {
            return self.change().await;
        }
        if let Some((_, clock)) = &self.given {
            let pause = FIRST_PAUSE.saturating_mul(1 << said.failures.saturating_sub(1).min(16)).min(LAST_PAUSE);
            let until = clock.now() + pause;
            clock.sleep_until(until).await;
        }
        if let (Place::Here(reader), Some(settler)) = (&mut self.place, &self.settler) {
            reader.rewind(settler.settled());
            self.put_down();
            self.reading = said.reading;
        }
        Ok(())
    }

    async fn change(&mut self) -> Result<(), Cause> {
        self.changes.changed().await.map_err(|_| Cause::from("the log is gone"))
    }

    /// Waits for the thread that reads. Cancel-safe.
    async fn arrive(&mut self) -> Result<(), Cause> {
        let Place::Away(thread) = &mut self.place else { return Ok(()) };
        let joined = thread.await;
        self.place = Place::Lost;
        let (reader, read) = joined.map_err(|error| Cause::from(format!("reading the log: {error}")))?;
        let end = reader.position();
        self.place = Place::Here(reader);
        match read {
            Ok(read) => {
                self.take(read, end);
                Ok(())
            }
            Err(error) => {
                self.shared.note_reading(Some(format!("the buffer cannot be read: {error}; tried again")));
                match &self.given {
                    Some((_, clock)) => clock.sleep_until(clock.now() + Duration::from_secs(1)).await,
                    None => return Err(Cause::from(error.to_string())),
                }
                Ok(())
            }
        }
    }

    /// Puts in hand what was read; `end` is where the reader is now.
    fn take(&mut self, read: Result<Read, TooLong>, end: Seq) {
        self.shared.note_reading(None);
        self.current = match read {
            Ok(Read::Entry { entry, skip }) => Some(Current::Entry { entry, row: skip }),
            // The log has counted it; the cursor moves past it behind what came before.
            Ok(Read::Damaged(_)) => Some(Current::Gap(end)),
            Ok(Read::Empty) => None,
            Err(TooLong(bytes)) => {
                self.memory.asked = Some(bytes);
                None
            }
        };
    }

    /// Has nothing in hand any more.
    fn put_down(&mut self) {
        self.current = None;
        if let Some((account, _)) = self.given.as_ref().filter(|_| self.memory.most() > ENTRY.get()) {
            self.memory.shrink(account);
        }
    }

    /// Whether everything that can come was settled.
    fn is_over(&self, reader: &Reader<D>) -> bool {
        let is_settled = self.settler.as_ref().is_some_and(|settler| settler.settled() >= reader.position());
        self.shared.no_more() && reader.lag() == 0 && is_settled
    }

    /// Appends rows of the entry, from `row` on; gives what is known of them, and the row after the last. `None`: the
    /// entry is none of ours.
    fn restore(&self, entry: &Entry, row: u32, into: &mut P, room: Weight) -> Option<(Meta, u32)> {
        let mut bytes = &entry.payload[..];
        let mut meta = entry::read(&mut bytes, self.moment())?;
        let until = into.restore(bytes, row, room).filter(|until| row < *until && *until <= entry.records)?;
        drop(meta.deadlines.split_off(until));
        meta.deadlines = meta.deadlines.split_off(row);
        Some((meta, until))
    }
}

impl<P: Stored, D: Disk> Source for LogSource<P, D> {
    type Payload = P;
    type Position = LogPosition;
    type Committer = LogCommitter<D>;

    fn open(&mut self, cx: SourceContext) {
        self.memory.shrink(&cx.holding);
        self.given = Some((cx.holding, cx.clock));
        self.shared.start();
    }

    fn committer(&mut self) -> LogCommitter<D> {
        LogCommitter { hold: Arc::clone(&self.hold), told: Arc::clone(&self.told) }
    }

    /// Sees the thread of the log to its end, so that the cursor is saved.
    fn companion(&mut self, mut closing: Intake) -> Option<Companion> {
        let (shared, mut changes) = (Arc::clone(&self.shared), self.shared.for_source());
        Some(Box::pin(async move {
            closing.shut().await;
            // What waits in memory is not read here any more.
            if let Life::Open(open) = &*shared.life() {
                open.appender.hurry();
            }
            let ended = async {
                loop {
                    changes.mark_unchanged();
                    if !matches!(&*shared.life(), Life::Opening(_) | Life::Open(_)) || changes.changed().await.is_err()
                    {
                        return;
                    }
                }
            };
            // What was not saved is handed on twice.
            drop(tokio::time::timeout(LAST_WAIT * 2, ended).await);
        }))
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        loop {
            self.changes.mark_unchanged();
            if self.told.get().reading != self.reading && !matches!(self.place, Place::Away(_)) {
                self.go_back().await?;
                continue;
            }
            if self.current.is_some() {
                return Ok(Readiness::Ready);
            }
            if let Some((account, _)) = &self.given {
                self.memory.arrive(account).await?;
            }
            self.take_reader()?;
            match std::mem::replace(&mut self.place, Place::Lost) {
                Place::Shut => {
                    self.place = Place::Shut;
                    self.change().await?;
                }
                Place::Away(thread) => {
                    self.place = Place::Away(thread);
                    self.arrive().await?;
                }
                Place::Here(mut reader) => {
                    let most = self.memory.most();
                    if let Some(read) = reader.read_from_memory(most).transpose() {
                        let end = reader.position();
                        self.place = Place::Here(reader);
                        self.take(read, end);
                    } else if reader.lag() > 0 {
                        let read = move || {
                            let read = reader.read_within(most);
                            (reader, read)
                        };
                        self.place = Place::Away(tokio::task::spawn_blocking(read));
                    } else if self.is_over(&reader) {
                        self.place = Place::Here(reader);
                        return Ok(Readiness::Ended);
                    } else {
                        self.place = Place::Here(reader);
                        self.shared.note_reading(None);
                        self.change().await?;
                    }
                }
                Place::Lost => return Err(Cause::from("the reader of the log is lost")),
            }
        }
    }

    fn read(&mut self, room: Weight, mut into: P) -> Result<Pull<P, LogPosition>, Cause> {
        into.clear();
        let end = match self.current.take() {
            None => return Ok(Pull { payload: into, position: None }),
            Some(Current::Gap(end)) => end,
            Some(Current::Entry { entry, row }) => match self.restore(&entry, row, &mut into, room) {
                Some((meta, until)) => {
                    self.meta = meta;
                    let end = entry.first + u64::from(until);
                    if until < entry.records {
                        self.current = Some(Current::Entry { entry, row: until });
                    } else {
                        self.put_down();
                    }
                    end
                }
                // Whole by its checksum and still not ours: written by a version that this one does not know.
                None => {
                    let why = format!(
                        "the buffer holds {} records, from number {} on, that this version cannot read; nothing was passed \
                         over: run the version that wrote them, or move the folder of the buffer away to go on without them",
                        entry.records, entry.first
                    );
                    self.current = Some(Current::Entry { entry, row });
                    return Err(Cause::from(why));
                }
            },
        };
        self.handed = Some(LogPosition { end, reading: self.reading });
        Ok(Pull { payload: into, position: self.handed })
    }

    fn meta(&mut self, _now: Time) -> Meta {
        std::mem::take(&mut self.meta)
    }
}

/// Hears what became of the records, and moves the cursor.
pub struct LogCommitter<D: Disk> {
    hold: Arc<Hold<D>>,
    told: Arc<Told>,
}

impl<D: Disk> Committer<LogPosition> for LogCommitter<D> {
    async fn settled(&mut self, settled: Settled<LogPosition>) {
        let position = settled.position;
        let for_now = settled.counts.get(Outcome::Abandoned).get() > 0
            || settled.nack.as_ref().is_some_and(|nack| nack.kind == NackKind::Transient);
        let counts = self.told.change(|said| {
            said.last = Some(position);
            let counts = position.reading == said.reading;
            if counts && for_now {
                said.reading += 1;
                said.failures = said.failures.saturating_add(1);
            } else if counts {
                said.failures = 0;
            }
            counts && !for_now
        });
        if counts {
            self.hold.shared.settle(position.end);
        }
        self.hold.shared.tell_source();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures_util::FutureExt as _;
    use tidegate_flow::{AccountSpec, Budget, Items, SlabPool, mib};
    use tidegate_store::{Log, LogOptions, SimulatedDisk, SyncPolicy};

    use super::super::{LogEnds, LogSpec, READER};
    use super::*;

    fn options() -> LogOptions {
        LogOptions::new(8 << 20).sync(SyncPolicy::Always).memory_bytes(4096)
    }

    /// A log with these texts, an entry each.
    fn log_of(texts: &[String]) -> SimulatedDisk {
        let disk = SimulatedDisk::new(1);
        let mut log = Log::open(disk.clone(), options(), &[READER], 1).unwrap();
        for text in texts {
            let mut bytes = Vec::new();
            entry::write(&Meta::default(), 0..1, Moment { here: Time::ZERO, wall: 1 }, &mut bytes);
            Items::from(vec![text.clone()]).store(0..1, &mut bytes);
            log.appender.append(1, &Arc::from(bytes), 1).unwrap();
            log.committer.round(1);
        }
        disk
    }

    /// The end that reads this log, with so much memory, and what it pays from.
    fn reading(disk: SimulatedDisk, memory: Bytes) -> (LogEnds<Items<String>, SimulatedDisk>, Account) {
        let mut ends: LogEnds<Items<String>, _> = LogSpec::new(move || Ok(disk.clone()), options(), || 1).ends();
        let account = Budget::new(memory).account("from_disk", AccountSpec::holding(ENTRY)).unwrap();
        let slabs = SlabPool::new(account.clone(), 4096, 1);
        ends.source.open(SourceContext {
            name: "from_disk".into(),
            holding: account.clone(),
            slabs,
            batch: Weight::new(16, 4096),
            clock: Clock::new(),
        });
        (ends, account)
    }

    #[tokio::test]
    async fn a_long_entry_is_paid_for_before_it_is_read() {
        let texts = ["short", "long"].map(|text| text.repeat(if text == "long" { 250_000 } else { 1 }));
        let (LogEnds { mut source, sinks, .. }, account) = reading(log_of(&texts), mib(2));
        assert_eq!(source.ready().await, Ok(Readiness::Ready));
        assert_eq!(account.used(), ENTRY, "what is usual was reserved");
        let short = source.read(Weight::new(16, 4096), Items::default()).unwrap();
        assert_eq!(short.payload.as_slice(), ["short"]);
        let others = account.lease(Bytes::new(1_300_000)).unwrap();
        // The thread that reads has to find out first.
        while source.memory.asked.is_none() {
            assert!(source.ready().now_or_never().is_none(), "there is no memory for it");
            tokio::task::yield_now().await;
        }
        assert!(source.current.is_none());
        drop(others);
        assert_eq!(source.ready().await, Ok(Readiness::Ready));
        assert!(account.used() >= Bytes::new(1_000_000));
        assert_eq!(source.read(Weight::new(16, 4096), Items::default()).unwrap().payload.as_slice(), [&*texts[1]]);
        assert_eq!(account.used(), ENTRY, "given back as it is handed on");
        drop(sinks);

        let (LogEnds { mut source, sinks, .. }, _) = reading(log_of(&texts), Bytes::new(999_000));
        source.ready().await.unwrap();
        source.read(Weight::new(16, 4096), Items::default()).unwrap();
        let refused = source.ready().await.unwrap_err().to_string();
        assert!(refused.contains("raise `memory`"), "{refused}");
        drop(sinks);
    }

    #[tokio::test]
    async fn what_is_wrong_with_reading_is_forgotten_when_reading_goes_on() {
        let (LogEnds { mut source, view, sinks, .. }, _) = reading(log_of(&["a".to_owned()]), mib(1));
        source.shared.note_reading(Some("the buffer cannot be read".to_owned()));
        assert!(view.trouble().is_some_and(|trouble| trouble.is_fault) && source.shared.is_troubled());
        source.ready().await.unwrap();
        assert_eq!((view.trouble(), source.shared.is_troubled()), (None, false));
        source.read(Weight::new(16, 4096), Items::default()).unwrap();
        source.shared.note_reading(Some("the buffer cannot be read".to_owned()));
        assert!(source.ready().now_or_never().is_none(), "nothing is left");
        assert_eq!(view.trouble(), None);
        drop(sinks);
    }
}
