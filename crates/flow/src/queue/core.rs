//! [`Queue`]: one edge as a state machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Load;
use super::claims::{Claims, ProducerId, TooManyProducers, Watch};
use super::control::{Control, ControlFull};
use super::counts::EdgeFlows;
use super::credit::CreditCell;
use super::lanes::{Entry, LaneSet};
use super::marks::Gauge;
use super::policy::{OnFull, Sampler};
use super::spec::{EdgeSpec, EdgeSpecError};
use crate::outcome::Cause;
use crate::time::Time;
use crate::units::{Records, Weight};

/// What the consumer gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Take<B> {
    /// A batch. Its expired rows are settled already, and still in it: see [`Load::drop_expired`].
    Batch(B),
    /// A control message; it overtakes data.
    Control(Control),
    /// Every producer is gone, or the edge was closed, and everything was taken.
    Completed,
    /// A producer failed, and everything that was sent before was taken.
    Failed(Cause),
    /// Nothing yet. The edge has granted all it can and counts its consumer as parked.
    Empty,
}

/// Who has to be woken after a call. The caller empties it.
#[derive(Debug, Default)]
pub struct Wakes {
    /// Producers whose wait is over (their claim was granted, there is room, or the edge ended).
    pub producers: Vec<ProducerId>,
    /// The consumer has something to take.
    pub consumer: bool,
    /// The pressure level moved, or the edge ended.
    pub watchers: bool,
}

impl Wakes {
    /// Whether nobody has to be woken.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.consumer && !self.watchers && self.producers.is_empty()
    }
}

/// Whether the edge still takes data.
#[derive(Clone, Debug)]
enum End {
    /// It does.
    Open,
    /// All producers are gone, or the consumer closed it: what is in it can still be taken.
    Completed,
    /// A producer failed: what is in it can still be taken.
    Failed(Cause),
    /// The consumer is gone: what was in it was dropped.
    Cancelled,
}

/// The state of one edge. Every method is one step: it never waits, and says in [`Queue::wakes`] who must be woken.
///
/// # Limits
/// Holds what its window allows, plus one batch of any size that found it empty; one claim and one watch for each
/// producer; and as many control messages as its spec says.
#[derive(Debug)]
pub struct Queue<B> {
    pub(super) name: Arc<str>,
    pub(super) when_full: OnFull,
    pub(super) credit: CreditCell,
    pub(super) lanes: LaneSet<B>,
    pub(super) claims: Claims,
    pub(super) gauge: Gauge,
    pub(super) sampler: Sampler,
    pub(super) flows: EdgeFlows,
    control: VecDeque<Control>,
    control_capacity: usize,
    end: End,
    /// The consumer found nothing and waits.
    pub(super) parked: bool,
    /// The budget refused a batch; claims wait for memory, not for credit.
    pub(super) starved: bool,
    /// A batch was turned away since something was last taken out.
    pub(super) refusing: bool,
    pub(super) wakes: Wakes,
    /// Settled and out of the edge, but not dropped.
    pub(super) gone: Vec<B>,
}

impl<B: Load> Queue<B> {
    /// An empty edge without producers.
    ///
    /// # Errors
    /// Where the spec is not valid.
    pub fn new(spec: &EdgeSpec) -> Result<Self, EdgeSpecError> {
        spec.validate()?;
        let control_capacity = usize::from(spec.control_capacity);
        let producers = Vec::with_capacity(usize::from(spec.max_producers));
        Ok(Self {
            name: Arc::clone(&spec.name),
            when_full: spec.when_full,
            credit: CreditCell::new(spec.window),
            lanes: LaneSet::new(spec),
            claims: Claims::new(spec),
            gauge: Gauge::new(spec.marks, spec.window),
            sampler: Sampler::default(),
            flows: EdgeFlows::default(),
            control: VecDeque::with_capacity(control_capacity),
            control_capacity,
            end: End::Open,
            parked: false,
            starved: false,
            refusing: false,
            wakes: Wakes { producers, consumer: false, watchers: false },
            gone: Vec::new(),
        })
    }

    /// The name of the edge.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the edge does when it is full.
    #[must_use]
    pub const fn when_full(&self) -> OnFull {
        self.when_full
    }

    /// Who has to be woken since this was last emptied.
    #[inline]
    pub const fn wakes(&mut self) -> &mut Wakes {
        &mut self.wakes
    }

    /// What was shed, or expired whole, since this was last emptied: settled already, and to be dropped by the caller
    /// where no lock is held.
    #[inline]
    pub const fn gone(&mut self) -> &mut Vec<B> {
        &mut self.gone
    }

    /// One more producer.
    ///
    /// # Errors
    /// Where the edge has as many as its spec allows.
    pub fn add_producer(&mut self) -> Result<ProducerId, TooManyProducers> {
        let limit = self.claims.max();
        self.claims.add().ok_or_else(|| TooManyProducers { edge: Arc::clone(&self.name), limit })
    }

    /// A producer is gone. Its claim passes on; when it was the last one, the edge completes.
    pub fn remove_producer(&mut self, now: Time, id: ProducerId) {
        self.cancel(now, id);
        self.claims.remove(id);
        if self.claims.producers() == 0 {
            self.finish(End::Completed);
        }
    }

    /// Takes back what `id` claims or watches for. Credit that it held goes to the next claim.
    pub fn cancel(&mut self, now: Time, id: ProducerId) {
        self.claims.set_watch(id, Watch::Nothing);
        self.withdraw(id);
        self.look(now);
    }

    /// Whether a batch of `weight` would be let in now. If not, `id` is woken when it would. Reserves nothing.
    ///
    /// `lane: None` asks for room in any lane. Only an edge that blocks or diverts can say no: the other policies
    /// never make a producer wait. An edge that has ended says yes, so that its producer finds out by sending.
    #[inline]
    pub fn poll_room(&mut self, id: ProducerId, lane: Option<u8>, weight: Weight) -> bool {
        let lane = lane.map(|lane| self.lanes.index(lane));
        let waits = matches!(self.when_full, OnFull::Block { .. } | OnFull::Divert);
        let ready = !waits || self.is_ended() || self.has_room(lane, weight);
        self.claims.set_watch(id, if ready { Watch::Nothing } else { Watch::Room { lane, weight } });
        ready
    }

    /// Whether the consumer waits on an empty edge. If not, `id` is woken when it does, or when the edge ends.
    pub fn poll_starving(&mut self, id: ProducerId) -> bool {
        let ready = self.is_starving() || self.is_ended();
        self.claims.set_watch(id, if ready { Watch::Nothing } else { Watch::Starving });
        ready
    }

    /// Whether the consumer waits on an empty edge.
    #[must_use]
    pub const fn is_starving(&self) -> bool {
        self.parked && self.lanes.is_empty()
    }

    /// Takes what is next: control, then data, then the end. Rows past their deadline are settled as expired
    /// on the way.
    #[inline]
    pub fn take(&mut self, now: Time) -> Take<B> {
        if let Some(message) = self.control.pop_front() {
            return Take::Control(message);
        }
        if let Some(load) = self.take_batch(now) {
            return Take::Batch(load);
        }
        match &self.end {
            End::Open => {
                self.park(now);
                Take::Empty
            }
            End::Completed | End::Cancelled => Take::Completed,
            End::Failed(cause) => Take::Failed(cause.clone()),
        }
    }

    /// Takes the next batch if there is one; neither control nor the end, and does not park.
    #[inline]
    pub fn take_batch(&mut self, now: Time) -> Option<B> {
        let mut taken = None;
        while let Some(Entry { mut load, weight, at: _ }) = self.lanes.pop() {
            let expired = match load.earliest() {
                Some(earliest) if earliest <= now => load.settle_expired(now),
                Some(_) | None => Records::ZERO,
            };
            self.credit.consume(weight);
            self.refusing = false;
            if !cfg!(tidegate_unmetered) {
                self.flows.expired += expired;
                self.flows.output += weight.records - expired;
            }
            self.after_consuming();
            if expired < weight.records {
                taken = Some(load);
                break;
            }
            self.gone.push(load);
        }
        self.look(now);
        taken
    }

    /// The consumer is about to wait: allow all there is to allow.
    fn park(&mut self, now: Time) {
        assert_eq!(self.credit.fill(), Weight::ZERO, "edge {:?}: empty, but credit says it is not", self.name);
        self.parked = true;
        self.starved = false;
        self.refusing = false;
        self.credit.grant();
        self.spread();
        self.look(now);
    }

    /// Grants when it is time to, and lets waiting producers go on.
    #[inline]
    fn after_consuming(&mut self) {
        let others_wait = self.claims.waiting() + self.claims.watching() > 0;
        let raised =
            if self.lanes.is_empty() && others_wait { self.credit.grant() } else { self.credit.grant_at_half() };
        if others_wait && (raised || self.starved || self.lanes.is_empty()) {
            self.starved = false;
            self.spread();
        }
    }

    /// Sends a control message. It needs no credit.
    ///
    /// # Errors
    /// The message, where as many wait as may. After the end it is dropped: nobody is there to act on it.
    pub fn send_control(&mut self, message: Control) -> Result<(), ControlFull> {
        if self.is_ended() {
            return Ok(());
        }
        if self.control.len() == self.control_capacity {
            return Err(ControlFull { edge: Arc::clone(&self.name), message });
        }
        self.control.push_back(message);
        self.wake_consumer();
        Ok(())
    }

    /// A producer failed: no more is taken in, and the consumer gets the cause after what is in the edge. The first
    /// cause stands.
    pub fn fail(&mut self, cause: Cause) {
        self.finish(End::Failed(cause));
    }

    /// The consumer takes no more in, but will still take what is in the edge.
    pub fn close(&mut self) {
        self.finish(End::Completed);
    }

    /// The consumer is gone: everything in the edge is counted as abandoned, and comes back to be dropped where no lock
    /// is held.
    pub fn cancel_consumer(&mut self, now: Time) -> Vec<B> {
        self.finish(End::Cancelled);
        self.end = End::Cancelled;
        self.control.clear();
        let mut batches = Vec::with_capacity(self.lanes.len());
        while let Some(entry) = self.lanes.pop() {
            self.credit.consume(entry.weight);
            self.flows.abandoned += entry.weight.records;
            batches.push(entry.load);
        }
        self.refusing = false;
        self.look(now);
        batches
    }

    /// Whether the edge takes no more in.
    #[must_use]
    #[inline]
    pub const fn is_ended(&self) -> bool {
        !matches!(self.end, End::Open)
    }

    fn finish(&mut self, end: End) {
        if self.is_ended() {
            return;
        }
        self.end = end;
        let Self { claims, wakes, .. } = self;
        wakes.producers.extend(claims.waiters());
        for index in 0..self.wakes.producers.len() {
            let id = self.wakes.producers[index];
            self.claims.cancel(id);
            self.claims.set_watch(id, Watch::Nothing);
        }
        self.wakes.watchers = true;
        self.wake_consumer();
    }

    /// Sets the window (at least one record and one byte). A larger one lets waiting producers go on at once; a
    /// smaller one revokes nothing.
    pub fn set_window(&mut self, now: Time, window: Weight) {
        let window = window.max(Weight::new(1, 1));
        self.credit.set_window(window);
        self.gauge.set_window(window);
        self.spread();
        self.look(now);
    }

    /// Memory became free: claims that the budget had refused may try again.
    pub fn budget_freed(&mut self) {
        if self.starved {
            self.starved = false;
            self.spread();
        }
    }

    /// A batch was turned away for want of room or memory: the edge is full until something is taken out.
    pub(super) fn look_refused(&mut self, now: Time) {
        self.refusing = true;
        self.look(now);
    }

    /// Moves the pressure level to what the edge looks like.
    #[inline]
    pub(super) fn look(&mut self, now: Time) {
        let age = if self.gauge.by_residence() { self.head_age(now) } else { Duration::ZERO };
        let fill = self.credit.fill() + self.claims.reserved();
        let refusing = self.refusing || self.claims.waiting() > 0;
        if self.gauge.look(fill, refusing, age) {
            self.wakes.watchers = true;
        }
    }
}
