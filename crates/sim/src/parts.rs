//! What a generated pipeline is made of: scripted sources and sinks that note what they see.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Cause, Items, Meta, Nack, Outcome, Settled, Time, Weight};
use tidegate_runtime::{Accepted, Class, Committer, Pull, Readiness, Sink, Source};

use crate::book::Book;
use crate::plan::{SinkPlan, SourcePlan};
use crate::record::Rec;
use crate::rng::{Rng, mix2};
use crate::stuck::Stuck;

/// How often a delivery that fails for now is tried again.
pub const RETRIES: u32 = 3;

/// A source that reads what its plan says, in virtual time.
pub struct Scripted {
    plan: SourcePlan,
    number: u8,
    read: u64,
    batch_bytes: u64,
    rng: Rng,
    book: Arc<Book>,
}

impl Scripted {
    /// Source `number` of a run.
    #[must_use]
    pub fn new(plan: SourcePlan, number: u8, batch_bytes: u64, rng: Rng, book: &Arc<Book>) -> Self {
        Self { plan, number, read: 0, batch_bytes, rng, book: Arc::clone(book) }
    }

    /// The next record; `None` at the end.
    pub fn next_record(&mut self) -> Option<Rec> {
        if self.read == self.plan.records {
            return None;
        }
        self.read += 1;
        let oversize = self.plan.oversize_every > 0 && self.rng.next().is_multiple_of(self.plan.oversize_every);
        let weight = match oversize {
            true => self.batch_bytes - size_of::<Rec>() as u64 - self.rng.from_to(0, self.batch_bytes / 8),
            false => self.rng.from_to(0, self.plan.weight),
        };
        let record = Rec::new(self.number, self.read, u32::try_from(weight).unwrap_or(u32::MAX), &self.book);
        self.book.read(&record);
        Some(record)
    }
}

/// The classes of the records of a source, by their numbers.
pub fn classes(plan: &SourcePlan) -> impl FnMut(&Rec, Time) -> Class + Send + 'static {
    let (lanes, buckets, deadline) = (plan.lanes, plan.buckets, plan.deadline);
    move |record, now| Class {
        lane: u8::try_from(record.fate(11) % u64::from(lanes)).unwrap_or(0),
        bucket: u8::try_from(record.fate(12) % u64::from(buckets)).unwrap_or(0),
        deadline: match deadline {
            0 => Time::MAX,
            longest => now + Duration::from_millis(record.fate(13) % longest),
        },
    }
}

impl Source for Scripted {
    type Payload = Items<Rec>;
    type Position = u64;
    type Committer = Listener;

    fn committer(&mut self) -> Listener {
        Listener { number: usize::from(self.number), takes: self.plan.commit_takes, book: Arc::clone(&self.book) }
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        if self.plan.fails_at.is_some_and(|at| self.read >= at) {
            return Err(Cause::from("planned: the source failed"));
        }
        if self.rng.percent(self.plan.waits) {
            tokio::time::sleep(Duration::from_millis(self.rng.from_to(0, self.plan.longest_wait))).await;
        }
        Ok(if self.read == self.plan.records { Readiness::Ended } else { Readiness::Ready })
    }

    fn read(&mut self, room: Weight, mut into: Items<Rec>) -> Result<Pull<Items<Rec>, u64>, Cause> {
        let most = self.rng.from_to(0, room.records.get());
        while (into.len() as u64) < most && (into.is_empty() || into.bytes() < room.bytes) {
            let Some(record) = self.next_record() else { break };
            into.push(record);
        }
        let position = (!into.is_empty()).then_some(self.read);
        Ok(Pull { payload: into, position })
    }
}

/// Notes what a source is told.
pub struct Listener {
    number: usize,
    takes: u64,
    book: Arc<Book>,
}

impl Committer<u64> for Listener {
    async fn settled(&mut self, settled: Settled<u64>) {
        if self.takes > 0 {
            tokio::time::sleep(Duration::from_millis(self.takes)).await;
        }
        self.book.settled(self.number, &settled);
        self.book.refused(self.number, &settled);
    }
}

/// A sink that does what its plan says.
pub struct Faulty {
    /// What it does.
    pub plan: SinkPlan,
    /// Its number.
    pub number: usize,
    /// The largest usual batch that reaches it, in bytes: that of its edge, or of the pipeline.
    pub largest: u64,
    /// Whether it has a dead letter port.
    pub has_dead_letters: bool,
    /// No part of a record may come twice.
    pub unique: bool,
    /// Records of one way come in order.
    pub ordered: bool,
    /// Chance.
    pub rng: Rng,
    /// How often each record was refused for now.
    pub tries: HashMap<u64, u32>,
    /// What makes it never answer again.
    pub stuck: Option<Stuck>,
    /// Whether it takes as long as no generator says.
    pub noisy: bool,
    /// The notes of the run.
    pub book: Arc<Book>,
}

impl Faulty {
    fn salt(&self) -> u64 {
        mix2(77, self.number as u64)
    }

    fn refuses(&self, record: &Rec) -> bool {
        record.hits(self.salt(), self.plan.refuses)
    }

    fn panics(&self, record: &Rec) -> bool {
        record.hits(self.salt(), self.plan.panics)
    }

    /// Notes that a record is given up here, unless it goes on as a dead letter.
    fn given_up(&self, record: &Rec) {
        if !self.has_dead_letters {
            self.book.ended(record, Outcome::Returned);
        }
    }

    /// Whether a record is refused for now, once more.
    fn hesitates(&mut self, record: &Rec) -> bool {
        if !record.hits(self.salt(), self.plan.hesitates) {
            return false;
        }
        let tries = self.tries.entry(record.fate(5)).or_default();
        *tries += 1;
        if *tries > self.plan.hesitations {
            return false;
        }
        if *tries == RETRIES + 1 {
            self.book.ended(record, Outcome::Returned);
        }
        true
    }

    /// Refuses the whole batch, where the plan says so; alone, a culprit is given up.
    fn check_batch(&mut self, records: &[Rec]) -> Result<(), Nack> {
        let alone = records.len() == 1;
        if records.iter().any(|record| self.panics(record)) {
            records.iter().filter(|_| alone).for_each(|record| self.given_up(record));
            panic!("planned: a sink panicked");
        }
        if !self.plan.names_rows && records.iter().any(|record| self.refuses(record)) {
            records.iter().filter(|_| alone).for_each(|record| self.given_up(record));
            return Err(Nack::permanent("planned: a record of the batch is refused"));
        }
        if self.rng.percent(self.plan.fails) {
            return Err(Nack::transient("planned: not now"));
        }
        Ok(())
    }

    fn check_rows(&mut self, records: &[Rec]) -> Vec<(u32, Nack)> {
        let mut refused = Vec::new();
        for (record, row) in records.iter().zip(0..) {
            if self.hesitates(record) {
                refused.push((row, Nack::transient("planned: this one not now")));
            } else if self.plan.names_rows && self.refuses(record) {
                self.given_up(record);
                refused.push((row, Nack::permanent("planned: this one is refused")));
            }
        }
        refused
    }
}

impl Sink<Items<Rec>> for Faulty {
    async fn deliver(&mut self, payload: &mut Items<Rec>, meta: &Meta) -> Result<Accepted, Nack> {
        if self.stuck.as_mut().is_some_and(Stuck::hangs) {
            std::future::pending::<()>().await;
        }
        if self.noisy {
            // The keys of a hash table differ from table to table.
            let noise = RandomState::new().hash_one(self.number);
            tokio::time::sleep(Duration::from_micros(noise % 1_000_000)).await;
        }
        if self.plan.takes > 0 {
            tokio::time::sleep(Duration::from_millis(self.rng.from_to(0, self.plan.takes))).await;
        }
        self.book.delivery(payload.bytes().get() > self.largest);
        self.check_batch(payload.as_slice())?;
        let refused = self.check_rows(payload.as_slice());
        let outcome = if meta.dead_letter.is_some() { Outcome::DeadLettered } else { Outcome::Delivered };
        let mut next = refused.iter().map(|(row, _)| *row).peekable();
        for (record, row) in payload.as_slice().iter().zip(0..) {
            if next.next_if_eq(&row).is_none() {
                self.book.accepted(self.number, record, outcome, self.unique, self.ordered);
            }
        }
        if refused.is_empty() {
            // Half of the sinks take the rows, as real ones do; the others leave them.
            if self.number.is_multiple_of(2) {
                payload.drain().for_each(drop);
            }
            return Ok(Accepted::All);
        }
        Ok(Accepted::Except(refused))
    }
}
