//! [`Book`]: the groups that are open, the records that they became until those are safe, and the inputs that wait for
//! the next checkpoint.
//!
//! ```text
//! record --> group --ends--> output: fresh --in a checkpoint--> ready --sent--> on its way --safe--> gone
//!   |                                                             ^-- after a pause -- given back <-|
//!   its ticket waits for the checkpoint that has it
//! ```
//!
//! An output is sent only when a checkpoint has it as an output: sent before, a crash would leave a checkpoint in which its
//! group is still open and goes on, and records would be counted in two outputs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate_flow::{NackKind, Outcome, Ticket, Time, Verdict, Witness};
use tidegate_record::{RecordId, StreamId};
use tidegate_runtime::checkpoint::{Bell, Restored, State};

use super::group::{Group, Spec};
use super::saved;
use crate::checkpoints::Known;

/// The most inputs that wait for a checkpoint, in records. Half of them make it urgent.
pub(super) const MOST_WAITING: u64 = 8_192;

/// What a record that waits takes: a part of a ticket, where no two are of one batch.
pub(super) const WAITING_BYTES: u64 = 64;

/// What an output takes beside its bytes.
pub(super) const OUTPUT_BYTES: usize = 128;

/// What was given back is sent again after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// The state. Clones of the `Arc` are the same.
pub(super) struct Book(Mutex<Inner>);

/// How much may be held.
#[derive(Copy, Clone, Debug)]
pub(super) struct Bounds {
    /// Groups.
    pub(super) keys: usize,
    /// Bytes of groups and outputs.
    pub(super) bytes: usize,
    /// Bytes of inputs whose settlement waits. The inputs themselves are gone.
    pub(super) waiting_bytes: u64,
    /// Whether there are checkpoints: outputs wait for one, and stay until they are safe.
    pub(super) checkpoints: bool,
    /// Whether records that come again are known by their ids.
    pub(super) knows: bool,
}

pub(super) struct Inner {
    pub(super) spec: Arc<Spec>,
    pub(super) bounds: Bounds,
    pub(super) groups: BTreeMap<u64, Group>,
    pub(super) keys: HashMap<Arc<[u8]>, u64>,
    due: BTreeSet<(Time, u64)>,
    next_group: u64,
    pub(super) outputs: BTreeMap<u64, Box<[u8]>>,
    pub(super) next_output: u64,
    /// In what outputs are numbered; drawn when the state begins.
    pub(super) stream: StreamId,
    /// The inputs that are in groups or were, where they can be known again.
    pub(super) known: Option<Known>,
    /// Not in a checkpoint yet, as outputs.
    fresh: VecDeque<u64>,
    ready: VecDeque<u64>,
    /// Given back, and not seen by the step.
    returned: Vec<u64>,
    back: BTreeSet<(Time, u64)>,
    on_their_way: usize,
    bytes: usize,
    group_bytes: usize,
    waiting: Inputs,
    /// In the checkpoint that is being written.
    saving: Inputs,
    saving_to: u64,
    changed: bool,
    hurried: bool,
    bell: Option<Bell>,
    news: bool,
    waker: Option<Waker>,
    /// Groups that had to end before their time.
    pub(super) ended_early: u64,
}

/// Inputs that are settled when a checkpoint has them.
#[derive(Default)]
struct Inputs {
    ticket: Ticket,
    bytes: u64,
}

impl Book {
    /// Nothing yet; outputs are numbered in `stream`, unless a checkpoint says otherwise.
    pub(super) fn new(spec: Arc<Spec>, bounds: Bounds, stream: StreamId) -> Self {
        Self(Mutex::new(Inner {
            spec,
            bounds,
            groups: BTreeMap::new(),
            keys: HashMap::new(),
            due: BTreeSet::new(),
            next_group: 0,
            outputs: BTreeMap::new(),
            next_output: 0,
            stream,
            known: bounds.knows.then(Known::default),
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            returned: Vec::new(),
            back: BTreeSet::new(),
            on_their_way: 0,
            bytes: 0,
            group_bytes: 0,
            waiting: Inputs::default(),
            saving: Inputs::default(),
            saving_to: 0,
            changed: false,
            hurried: false,
            bell: None,
            news: false,
            waker: None,
            ended_early: 0,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when something has happened that a step may have waited for since it was last asked.
    pub(super) fn poll_news(&self, task: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.news) {
            return Poll::Ready(());
        }
        inner.waker = Some(task.waker().clone());
        Poll::Pending
    }

    /// Does something that a step may wait for, and wakes it.
    fn tell(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        inner.news = true;
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Inner {
    /// Who is told that there is something to save.
    pub(super) fn set_bell(&mut self, bell: Bell) {
        self.bell = Some(bell);
    }

    /// Whether a record that needs so much can be taken in now. Makes room as far as that is possible: groups end, the
    /// oldest first.
    pub(super) fn has_room(&mut self, growth: usize) -> bool {
        if self.bytes + growth <= self.bounds.bytes {
            return true;
        }
        // What leaves makes room only when it is safe: enough of it at once that not each record has to wait for that.
        while self.bytes - self.group_bytes < growth.max(self.bounds.bytes / 4) {
            if !self.end_oldest() {
                break;
            }
        }
        self.hurry();
        self.bytes + growth <= self.bounds.bytes
    }

    /// Whether a record has been merged before.
    pub(super) fn knows(&self, id: Option<RecordId>) -> bool {
        self.known.as_ref().zip(id).is_some_and(|(known, id)| known.has(id))
    }

    /// A record has been merged.
    pub(super) fn note(&mut self, id: Option<RecordId>) {
        if let Some((known, id)) = self.known.as_mut().zip(id) {
            known.add(id);
        }
    }

    /// Whether inputs that wait for a checkpoint are as many as may.
    pub(super) fn is_waiting(&self) -> bool {
        let records = u64::from(self.waiting.ticket.records()) + u64::from(self.saving.ticket.records());
        records >= MOST_WAITING || self.waiting.bytes + self.saving.bytes >= self.bounds.waiting_bytes
    }

    /// Merges a record into the group of its key. Says how many values do not count.
    pub(super) fn add(&mut self, key: &[u8], record: &[u8], most_bytes: usize, now: Time) -> u64 {
        let spec = Arc::clone(&self.spec);
        let number = match self.keys.get(key) {
            Some(number) => *number,
            None => self.begin(key, &spec, now),
        };
        let Some(group) = self.groups.get_mut(&number) else { return 0 };
        let before = group.bytes;
        let ignored = group.add(record, &spec, now);
        let (bytes, records) = (group.bytes, group.records);
        self.count_bytes(before, bytes);
        self.group_bytes = self.group_bytes + bytes - before;
        if bytes >= most_bytes {
            self.ended_early += 1;
        }
        if bytes >= most_bytes || records >= spec.max_events {
            self.end(number);
        }
        self.change();
        ignored
    }

    fn begin(&mut self, key: &[u8], spec: &Spec, now: Time) -> u64 {
        if self.groups.len() >= self.bounds.keys {
            self.end_oldest();
        }
        let number = self.next_group;
        self.insert(Group::new(key.into(), spec, now));
        number
    }

    /// Adds a group under the next number.
    pub(super) fn insert(&mut self, group: Group) {
        let number = self.next_group;
        self.next_group += 1;
        self.count_bytes(0, group.bytes);
        self.group_bytes += group.bytes;
        self.due.insert((group.look_at, number));
        self.keys.insert(Arc::clone(&group.key), number);
        self.groups.insert(number, group);
    }

    fn count_bytes(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
    }

    /// Ends the group of this key, where there is one.
    pub(super) fn end_key(&mut self, key: &[u8]) {
        if let Some(number) = self.keys.get(key) {
            self.end(*number);
        }
    }

    fn end_oldest(&mut self) -> bool {
        let oldest = self.groups.keys().next().copied();
        if let Some(number) = oldest {
            self.ended_early += 1;
            self.end(number);
        }
        oldest.is_some()
    }

    /// Ends all groups.
    pub(super) fn end_all(&mut self) {
        while let Some(number) = self.groups.keys().next().copied() {
            self.end(number);
        }
        self.hurry();
    }

    /// Makes an output of a group.
    fn end(&mut self, number: u64) {
        let Some(group) = self.groups.remove(&number) else { return };
        self.keys.remove(&group.key);
        self.due.remove(&(group.look_at, number));
        self.count_bytes(group.bytes, 0);
        self.group_bytes -= group.bytes;
        let spec = Arc::clone(&self.spec);
        self.output(group.write(&spec.nested));
    }

    /// Adds an output under the next number.
    pub(super) fn output(&mut self, record: Vec<u8>) {
        let number = self.next_output;
        self.next_output += 1;
        self.restore_output(number, record);
        if self.bounds.checkpoints {
            self.ready.pop_back();
            self.fresh.push_back(number);
        }
        self.change();
    }

    /// Adds an output that a checkpoint has.
    pub(super) fn restore_output(&mut self, number: u64, record: Vec<u8>) {
        self.count_bytes(0, record.len() + OUTPUT_BYTES);
        self.outputs.insert(number, record.into_boxed_slice());
        self.ready.push_back(number);
    }

    /// Ends the groups whose time has come, and lets what was given back be sent again when its pause is over.
    pub(super) fn pass(&mut self, now: Time) {
        self.news = false;
        while let Some((at, number)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, number));
            let Some(group) = self.groups.get_mut(&number) else { continue };
            group.look_at = group.ends_at();
            let look_at = group.look_at;
            if look_at <= now {
                self.end(number);
            } else {
                self.due.insert((look_at, number));
            }
        }
        let returned = std::mem::take(&mut self.returned);
        self.back.extend(returned.into_iter().map(|number| (now + PAUSE, number)));
        while let Some((at, number)) = self.back.first().copied().filter(|(at, _)| *at <= now) {
            self.back.remove(&(at, number));
            self.ready.push_back(number);
        }
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Time> {
        let times = [self.due.first(), self.back.first()];
        times.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// When something that was given back may be sent again.
    pub(super) fn back_at(&self) -> Option<Time> {
        self.back.first().map(|(at, _)| *at)
    }

    /// Whether something may happen that nobody tells a step of that waits for input.
    pub(super) fn is_watched(&self) -> bool {
        !(self.fresh.is_empty() && self.ready.is_empty() && self.returned.is_empty()) || self.on_their_way > 0
    }

    /// The next output that may be sent.
    pub(super) fn next_ready(&mut self) -> Option<(u64, &[u8])> {
        while let Some(number) = self.ready.front().copied() {
            if self.outputs.contains_key(&number) {
                return self.outputs.get(&number).map(|record| (number, &**record));
            }
            self.ready.pop_front();
        }
        None
    }

    /// The output that was shown last is on its way; without checkpoints nothing more is known of it here.
    pub(super) fn sent(&mut self) {
        let Some(number) = self.ready.pop_front() else { return };
        if self.bounds.checkpoints {
            self.on_their_way += 1;
        } else {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(record) = self.outputs.remove(&number) {
            self.count_bytes(record.len() + OUTPUT_BYTES, 0);
        }
    }

    /// Whether outputs are still to be sent, but for those that were given back.
    pub(super) fn has_unsent(&self) -> bool {
        !(self.fresh.is_empty() && self.ready.is_empty())
    }

    /// Inputs that are in the groups, and are settled when a checkpoint has them; without checkpoints at once.
    pub(super) fn absorbed(&mut self, ticket: Ticket, bytes: u64) {
        if !self.bounds.checkpoints {
            ticket.settle(Outcome::Absorbed);
            return;
        }
        self.waiting.ticket.append(ticket);
        self.waiting.bytes += bytes;
        self.change();
        if self.is_much() {
            self.ring();
        }
    }

    fn is_much(&self) -> bool {
        u64::from(self.waiting.ticket.records()) >= MOST_WAITING / 2
            || self.waiting.bytes >= self.bounds.waiting_bytes / 2
    }

    fn change(&mut self) {
        if !std::mem::replace(&mut self.changed, true) {
            self.ring();
        }
    }

    /// Has what has changed saved soon.
    pub(super) fn hurry(&mut self) {
        if self.changed && !std::mem::replace(&mut self.hurried, true) {
            self.ring();
        }
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

impl State for Book {
    fn restore(&self, saved: Restored<'_>) -> Result<(), String> {
        let mut inner = self.lock();
        saved::take(&mut inner, saved)
    }

    fn is_changed(&self) -> bool {
        self.lock().changed
    }

    fn is_urgent(&self) -> bool {
        let inner = self.lock();
        inner.hurried || inner.is_much()
    }

    fn put_down(&self, now: Time, into: &mut Vec<u8>) {
        let mut inner = self.lock();
        saved::put(&inner, now, into);
        (inner.changed, inner.hurried) = (false, false);
        inner.saving_to = inner.next_output;
        let Inputs { ticket, bytes } = std::mem::take(&mut inner.waiting);
        inner.saving.ticket.append(ticket);
        inner.saving.bytes += bytes;
    }

    fn written(&self, durable: bool) {
        let mut settled = Inputs::default();
        self.tell(|inner| {
            if !durable {
                inner.changed = true;
                return;
            }
            settled = std::mem::take(&mut inner.saving);
            let to = inner.saving_to;
            while let Some(number) = inner.fresh.front().copied().filter(|number| *number < to) {
                inner.fresh.pop_front();
                inner.ready.push_back(number);
            }
        });
        settled.ticket.settle(Outcome::Absorbed);
    }

    fn is_awaiting(&self) -> bool {
        self.lock().on_their_way > 0
    }
}

/// Outputs that are on their way.
pub(super) struct OnTheirWay {
    pub(super) book: Arc<Book>,
    pub(super) numbers: Vec<u64>,
}

impl Witness for OnTheirWay {
    /// What is safe, or was given up for good, need not be kept. What was given back for now is sent again.
    fn ended(&self, first: u32, rows: u32, verdict: &Verdict) {
        let is_over = match verdict.outcome() {
            Outcome::Abandoned => false,
            Outcome::Returned => verdict.nack().is_some_and(|nack| nack.kind == NackKind::Permanent),
            _ => true,
        };
        let ended = self.numbers.iter().skip(first as usize).take(rows as usize);
        self.book.tell(|inner| {
            for number in ended {
                inner.on_their_way = inner.on_their_way.saturating_sub(1);
                if is_over {
                    inner.forget(*number);
                    inner.changed = true;
                } else {
                    inner.returned.push(*number);
                }
            }
            inner.ring();
        });
    }
}
