//! [`Replay`]: a source that reads the letters of a stock once, each by itself, and a [`Desk`] where what became of each
//! is marked.
//!
//! * **Emits** the letters that wait when it starts and are meant, each as a batch of one record, as they were.
//! * **Settles** a letter that was delivered, filtered or absorbed as done; one that was refused stays, with the cause; one
//!   of which nothing else is known (the run was ended) stays as it was.
//! * **Completes** behind the last letter that was there when it started.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tidegate_flow::{Bytes, Cause, GroupOutcome, GroupWatch, Outcome, Weight, kib};
use tidegate_runtime::{Companion, Intake, NoCommit, Pull, Readiness, Source, SourceContext, SourceOptions, blocking};
use tokio::sync::{Notify, mpsc};

use super::{Letter, Marker, Stock, Wish};
use crate::Rows;
use crate::contract::{Check, Delivery, Exposure, SourceConfig, StartError};
use crate::wiring::SourceSlot;

/// What is read from disk at once, and how many such pieces wait.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

/// How often what was marked is made durable.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The most causes that are told apart.
const MOST_CAUSES: usize = 1_000;

/// What became of the letters so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Were read.
    pub read: u64,
    /// Were delivered.
    pub delivered: u64,
    /// Were filtered or absorbed on their way.
    pub filtered: u64,
    /// Were refused again, for good.
    pub refused: u64,
    /// Were given back for now: their receiver could not be reached, or shed by a full buffer.
    pub given_back: u64,
    /// Why letters stay, and how many: the first 1,000 causes that come up.
    pub causes: BTreeMap<String, u64>,
    /// Letters that stay for other reasons than those.
    pub other_causes: u64,
    /// That marks could not be saved.
    pub trouble: Option<String>,
}

impl Tally {
    /// Letters that are done with.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.delivered + self.filtered
    }

    fn stays(&mut self, cause: &str) {
        let is_room = self.causes.len() < MOST_CAUSES;
        match self.causes.get_mut(cause) {
            Some(count) => *count += 1,
            None if is_room => drop(self.causes.insert(cause.to_owned(), 1)),
            None => self.other_causes += 1,
        }
    }
}

/// Where it is marked what became of each letter. Clones are the same.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    new: Mutex<New>,
    news: Notify,
    state: Mutex<(Marker, Tally)>,
    /// Held by who saves, so that what is newer is never overwritten.
    saving: Mutex<()>,
}

/// Letters under way, as far as nobody waits for them yet.
#[derive(Debug, Default)]
struct New {
    watched: VecDeque<(u64, GroupWatch)>,
    /// Were read, and their watch is still to come.
    unwatched: u64,
}

impl Desk {
    /// A desk for the letters of which this marks what is done.
    #[must_use]
    pub fn new(marker: Marker) -> Self {
        let state = Mutex::new((marker, Tally::default()));
        Self(Arc::new(Shared { new: Mutex::default(), news: Notify::new(), state, saving: Mutex::default() }))
    }

    /// What became of the letters so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.state().1.clone()
    }

    /// Makes durable what was marked. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Marker::save`].
    pub fn save(&self) -> io::Result<()> {
        // Letters settle while the disk is busy: what waits for it holds nothing that they need.
        let _turn = self.0.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sheet) = self.state().0.sheet() else { return Ok(()) };
        let saved = sheet.put();
        let mut state = self.state();
        state.1.trouble = saved.as_ref().err().map(ToString::to_string);
        if saved.is_ok() {
            state.0.saved(&sheet);
        }
        saved
    }

    /// The marker, when nobody else has the desk any more.
    #[must_use]
    pub fn into_marker(self) -> Option<Marker> {
        let shared = Arc::into_inner(self.0)?;
        Some(shared.state.into_inner().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn state(&self) -> MutexGuard<'_, (Marker, Tally)> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_ones(&self) -> MutexGuard<'_, New> {
        self.0.new.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A letter was read; its watch will come.
    fn was_read(&self) {
        self.new_ones().unwatched += 1;
        self.state().1.read += 1;
    }

    fn watch(&self, number: u64, watch: GroupWatch) {
        let mut new = self.new_ones();
        new.unwatched = new.unwatched.saturating_sub(1);
        new.watched.push_back((number, watch));
        drop(new);
        self.0.news.notify_one();
    }

    /// So many that were read will not be watched: nobody reads any more.
    fn is_left(&self, unwatched: u64) {
        let mut new = self.new_ones();
        new.unwatched = new.unwatched.saturating_sub(unwatched);
        drop(new);
        self.0.news.notify_one();
    }

    fn settled(&self, number: u64, outcome: &GroupOutcome) {
        let mut state = self.state();
        let (marker, tally) = &mut *state;
        let count = |of: Outcome| outcome.counts.get(of).get() > 0;
        if let Some(nack) = &outcome.nack {
            marker.refused_again(number, nack.cause.as_str());
            tally.stays(nack.cause.as_str());
            match nack.kind {
                tidegate_flow::NackKind::Permanent => tally.refused += 1,
                tidegate_flow::NackKind::Transient => tally.given_back += 1,
            }
        } else if count(Outcome::Abandoned) {
            // It stays as it was.
        } else if count(Outcome::Shed) || count(Outcome::Expired) {
            tally.stays("given up on its way by a policy of the file: a full buffer, or a deadline");
            tally.given_back += 1;
        } else {
            marker.done(number);
            if count(Outcome::Filtered) || count(Outcome::Absorbed) {
                tally.filtered += 1
            } else {
                tally.delivered += 1
            }
        }
    }

    /// Waits for what becomes of each letter, until `closing` shuts and all are settled.
    async fn attend(self, mut closing: Intake) {
        let mut under_way = FuturesUnordered::new();
        let mut saves = tokio::time::interval(SAVE_EVERY);
        let mut is_open = true;
        loop {
            let (new, unwatched) = {
                let mut new = self.new_ones();
                (std::mem::take(&mut new.watched), new.unwatched)
            };
            under_way.extend(new.into_iter().map(|(number, watch)| async move { (number, watch.await) }));
            // One that was read before `closing` shut may have to wait for its ticket, and be delivered all the same.
            if !is_open && unwatched == 0 && under_way.is_empty() {
                break;
            }
            tokio::select! {
                Some((number, outcome)) = under_way.next() => self.settled(number, &outcome),
                () = self.0.news.notified() => {}
                () = closing.shut(), if is_open => is_open = false,
                _ = saves.tick() => {
                    let desk = self.clone();
                    // What could not be saved is in the tally, and saved with what comes next.
                    drop(blocking(move || desk.save()).await);
                }
            }
        }
    }
}

/// A source of letters, for a pipeline that is put together for them.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The letters of this component alone; of all where it is `None`.
    pub origin: Option<String>,
    #[serde(skip)]
    stock: Stock,
    #[serde(skip)]
    wish: Option<Wish>,
    /// Not those from this number on, which came later.
    until: u64,
    #[serde(skip)]
    desk: Desk,
}

impl Replay {
    /// Reads the letters of `stock` below number `until` that were given up by `origin` and that are wished for.
    #[must_use]
    pub fn new(stock: Stock, until: u64, origin: Option<String>, wish: Option<Wish>, desk: Desk) -> Self {
        Self { origin, stock, wish, until, desk }
    }
}

impl SourceConfig for Replay {
    fn check(&self, _: &mut Check<'_>) {}

    fn exposure(&self) -> Exposure {
        Exposure { delivery: Delivery::Replayed, acked: "it is marked as done", blocked: "it stays on disk" }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        let source = ReplaySource::new(*self);
        slot.source(SourceOptions::new(source).holding(HOLDING));
        Ok(())
    }
}

/// The pieces that wait, that which is read, and that which is handed on.
const HOLDING: Bytes = kib(((PIECES + 2) * PIECE / 1024) as u64);

/// Letters, each with its number.
type Piece = VecDeque<(u64, Rows)>;

struct ReplaySource {
    replay: Option<Replay>,
    desk: Desk,
    /// What reads them from disk, until it is begun.
    reading: Option<Companion>,
    pieces: Option<mpsc::Receiver<io::Result<Piece>>>,
    current: Piece,
    /// Letters that were handed on and have no watch yet.
    unwatched: VecDeque<u64>,
}

impl ReplaySource {
    fn new(replay: Replay) -> Self {
        let desk = replay.desk.clone();
        Self {
            replay: Some(replay),
            desk,
            reading: None,
            pieces: None,
            current: Piece::new(),
            unwatched: VecDeque::new(),
        }
    }
}

/// Reads the letters, on a thread of its own, for as long as somebody takes them.
fn read(replay: Replay, to: &mpsc::Sender<io::Result<Piece>>) {
    let Replay { origin, stock, mut wish, until, .. } = replay;
    let (mut piece, mut bytes) = (Piece::new(), 0);
    let read = stock.look(|letter: &Letter<'_>| {
        if letter.number >= until {
            return false;
        }
        let is_meant = origin.as_deref().is_none_or(|origin| letter.origin() == Some(origin))
            && wish.as_mut().is_none_or(|wish| wish.matches(letter));
        if is_meant {
            bytes += letter.row.bytes().len();
            piece.push_back((letter.number, as_it_was(letter)));
        }
        if bytes < PIECE && piece.len() < 1_024 {
            return true;
        }
        bytes = 0;
        to.blocking_send(Ok(std::mem::take(&mut piece))).is_ok()
    });
    // Nobody takes them any more where this fails.
    drop(to.blocking_send(read.map(|_| piece)));
}

impl Drop for ReplaySource {
    fn drop(&mut self) {
        self.desk.is_left(self.unwatched.len() as u64);
    }
}

/// The record of a letter, with its id: one that is delivered twice can be told.
fn as_it_was(letter: &Letter<'_>) -> Rows {
    let mut rows = Rows::default();
    let origin = letter.row.origin().cloned().unwrap_or_default();
    rows.push_copy_as(letter.row.id(), letter.row.bytes(), letter.row.form(), &origin);
    rows
}

impl Source for ReplaySource {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, _cx: SourceContext) {
        let Some(replay) = self.replay.take() else { return };
        let (to, pieces) = mpsc::channel(PIECES);
        self.pieces = Some(pieces);
        // A panic in it ends the letters; those that were not read stay.
        self.reading = Some(Box::pin(async move { drop(blocking(move || read(replay, &to)).await) }));
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    fn companions(&mut self, closing: &Intake) -> Vec<Companion> {
        let attending: Companion = Box::pin(self.desk.clone().attend(closing.clone()));
        self.reading.take().into_iter().chain([attending]).collect()
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        while self.current.is_empty() {
            let Some(pieces) = &mut self.pieces else { return Ok(Readiness::Ended) };
            match pieces.recv().await {
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => return Err(Cause::from(format!("the letters cannot be read: {error}"))),
                None => return Ok(Readiness::Ended),
            }
        }
        Ok(Readiness::Ready)
    }

    fn read(&mut self, _room: Weight, _spare: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let Some((number, rows)) = self.current.pop_front() else {
            return Ok(Pull { payload: Rows::default(), position: None });
        };
        self.unwatched.push_back(number);
        self.desk.was_read();
        Ok(Pull { payload: rows, position: Some(()) })
    }

    fn watches(&self) -> bool {
        true
    }

    fn watch(&mut self, watch: GroupWatch) {
        if let Some(number) = self.unwatched.pop_front() {
            self.desk.watch(number, watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_flow::{Meta, Time, Window, WindowSpec};
    use tidegate_record::{Form, Origin, RecordId, StreamId, Timestamp};
    use tidegate_runtime::KillSwitch;

    use super::*;
    use crate::testkit::folder;

    #[test]
    fn causes_are_told_apart_up_to_a_thousand() {
        let mut tally = Tally::default();
        (0..1_200).for_each(|number| tally.stays(&format!("record {number}")));
        tally.stays("record 7");
        assert_eq!((tally.causes.len(), tally.other_causes, tally.causes["record 7"]), (1_000, 200, 2));
    }

    #[tokio::test]
    async fn a_letter_that_was_read_and_waits_for_its_ticket_is_waited_for() {
        let folder = folder();
        let desk = Desk::new(Marker::of(&Stock { folder: folder.path().to_owned() }).unwrap());
        let (closing, window) = (KillSwitch::new(), Window::<()>::new(WindowSpec::default()).unwrap());
        desk.was_read();
        desk.was_read();
        let mut attending = Box::pin(desk.clone().attend(closing.intake_with(None)));
        closing.shut();
        for _ in 0..3 {
            assert!(futures_util::poll!(&mut attending).is_pending(), "two are not watched yet");
        }
        let weight = Weight::new(1, 1);
        let (ticket, watch) = window.try_open_watched(0, weight, Some(()), Time::ZERO).unwrap();
        desk.watch(3, watch);
        assert!(futures_util::poll!(&mut attending).is_pending());
        ticket.settle(Outcome::Delivered);
        assert_eq!(desk.tally().read, 2);
        desk.is_left(1);
        attending.await;
        assert_eq!(desk.tally().delivered, 1);
        desk.save().unwrap();
    }

    #[test]
    fn a_letter_is_replayed_under_the_id_that_it_had() {
        let id = RecordId::new(StreamId::from_bits(77), 40);
        let mut stored = Rows::default();
        stored.push_copy_as(Some(id), b"{\"a\":1}", Form::Object, &Arc::new(Origin::default()));
        let row = stored.row(0);
        let meta = Meta::default();
        let letter = Letter { number: 3, stored: Timestamp::from_unix_nanos(0), meta: &meta, renewal: None, row };
        let again = as_it_was(&letter);
        assert_eq!(again.row(0).id(), Some(id));
        assert_eq!((again.row(0).bytes(), again.row(0).form()), (&b"{\"a\":1}"[..], Form::Object));
    }
}
