//! [`CallSet`]: the calls in flight, and everything that is done about them without waiting.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_flow::{
    Account, Batch, Bytes, Cause, FlowCounter, Items, Nack, Outcome, Records, StageClock, Time, Weigh,
};
use tokio::time::Sleep;

use super::call::{Caller, Ended, Failure, Running, Shell};
use super::lines::{KeyOf, Lines, Next, Pick};
use super::results::{Made, Results};
use super::{CallLimits, Order};
use crate::context::{AfterFault, StageContext, Supervision, panic_nack};
use crate::pay::pay_held;
use crate::probe::Due;

/// What the calls share with their stage: they settle and count while the stage's own loop waits for something else.
pub(crate) struct CallTools {
    pub(crate) clock: StageClock,
    pub(crate) due: Due,
    pub(crate) counter: FlowCounter,
    pub(crate) account: Account,
    /// Pays for records and results for as long as they are held here, where it has room.
    pub(crate) held: Account,
    /// With so much in hand, no more is taken before that is dealt with.
    pub(crate) most_in_hand: Bytes,
    pub(crate) supervision: Supervision,
}

/// The records taken: waiting for a call, in one, or with a result that was not sent on.
pub(crate) struct CallSet<T, C: Caller<T>, K: KeyOf<T>> {
    caller: C,
    limits: CallLimits,
    tools: CallTools,
    lines: Lines<T, K>,
    running: FuturesUnordered<Running<T, C, K::Key>>,
    results: Results<C::Out>,
    faults: u32,
    /// When the call started last ends at the latest, if calls have a timeout.
    latest_end: Option<Time>,
    /// After a fault, nothing is started before this.
    pause: Option<Pin<Box<Sleep>>>,
    /// The supervision has stopped the stage.
    failed: Option<Cause>,
}

impl<T: Weigh + Send + 'static, C: Caller<T>, K: KeyOf<T>> CallSet<T, C, K> {
    pub(crate) fn new(caller: C, limits: CallLimits, order: Order, key_of: K, tools: CallTools) -> Self {
        Self {
            caller,
            limits,
            tools,
            lines: Lines::new(key_of, limits.in_flight as usize),
            running: FuturesUnordered::new(),
            results: Results::new(order),
            faults: 0,
            latest_end: None,
            pause: None,
            failed: None,
        }
    }

    /// Takes a batch in hand. Only where there is [room](Self::has_room).
    pub(super) fn put(&mut self, mut batch: Batch<Items<T>>) {
        if batch.lease.account().is_some_and(|account| account.is(&self.tools.account)) {
            // Where there is no room to hold it, it stays in hand, and nothing more is taken.
            let _ = batch.rebind(&self.tools.held);
        }
        self.lines.put(batch);
    }

    /// Whether another batch can be taken: the last one is used up and a slot is free. What is charged in hand is dealt
    /// with first, as far as the room for an output would be lacking.
    pub(super) fn has_room(&self) -> bool {
        let pays_for_more = || self.tools.account.used() <= self.tools.most_in_hand;
        self.lines.wants_input() && self.has_slot() && (self.is_idle() || pays_for_more())
    }

    /// Whether there is something to send on.
    pub(super) fn has_output(&self) -> bool {
        self.results.is_ready()
    }

    /// Whether nothing that was taken is left here.
    pub(super) fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.running.is_empty() && self.results.is_empty()
    }

    /// Whether nothing is started because of a fault.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Why the stage must stop, if it must.
    pub(super) fn failure(&self) -> Option<Cause> {
        self.failed.clone()
    }

    fn has_slot(&self) -> bool {
        self.results.taken(self.running.len()) < self.limits.in_flight as usize
    }

    /// Starts what can be started and polls what is in flight, until neither gets any further.
    pub(super) fn drive(&mut self, task: &mut Context<'_>) {
        loop {
            self.start_all(task);
            match self.running.poll_next_unpin(task) {
                Poll::Ready(Some(ended)) => self.end(ended),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.tools.due.set_calls(!self.running.is_empty(), self.latest_end);
    }

    fn start_all(&mut self, task: &mut Context<'_>) {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(task).is_pending() {
                return;
            }
            self.pause = None;
        }
        while self.failed.is_none() && self.pause.is_none() && !self.results.has_unpaid() && self.has_slot() {
            match self.lines.next() {
                Next::Pick(pick) => self.start(pick),
                Next::Refuse(shell, nack) => self.refuse(shell, Failure { nack, panicked: true }),
                Next::Nothing => return,
            }
        }
        if let Some(pause) = &mut self.pause {
            // It was set just now: polled once, it wakes the task.
            let _ = pause.as_mut().poll(task);
        }
    }

    /// Calls for a record, unless it has expired.
    fn start(&mut self, pick: Pick<T, K::Key>) {
        let Pick { record, shell, key } = pick;
        let now = self.tools.clock.now();
        if shell.is_expired(now) {
            self.expire(shell);
            self.over(key);
            return;
        }
        let caller = &mut self.caller;
        match catch_unwind(AssertUnwindSafe(|| caller.call(record))) {
            Ok(call) => {
                let number = self.results.begin();
                self.latest_end = self.limits.timeout.map(|timeout| now + timeout);
                self.running.push(Running::new(call, number, key, shell, &self.limits, now));
            }
            Err(panic) => {
                self.refuse(shell, Failure { nack: panic_nack(&*panic), panicked: true });
                self.over(key);
            }
        }
    }

    fn end(&mut self, ended: Ended<C::Out, K::Key>) {
        let Ended { number, key, mut shell, answer } = ended;
        match answer {
            Ok(record) => {
                let bytes = Bytes::new(record.weigh() as u64);
                let is_paid = pay_held(&mut shell.lease, bytes, &self.tools.held);
                self.results.end(number, Some(Made { record, bytes, shell, is_paid }));
            }
            Err(failure) => {
                self.results.end(number, None);
                self.refuse(shell, failure);
            }
        }
        self.over(key);
    }

    /// A record is done with: the next one with its key may go.
    fn over(&mut self, key: Option<K::Key>) {
        if let Some(key) = key {
            self.lines.over(key);
        }
    }

    fn expire(&self, shell: Shell) {
        let one = Records::new(1);
        self.tools.counter.record(|flows| {
            flows.expired += one;
            flows.held -= one;
        });
        shell.ticket.settle(Outcome::Expired);
    }

    /// Gives a record back to its source, and asks the supervision what that means for the stage.
    fn refuse(&mut self, shell: Shell, failure: Failure) {
        let one = Records::new(1);
        self.tools.counter.record(|flows| {
            flows.returned += one;
            flows.held -= one;
        });
        let Failure { nack, panicked } = failure;
        let cause = nack.cause.clone();
        shell.ticket.nack(nack);
        if panicked || self.tools.supervision == Supervision::Stop {
            self.fault(cause);
        }
    }

    fn fault(&mut self, cause: Cause) {
        self.faults += 1;
        let now = self.tools.clock.now();
        match self.tools.supervision.after(self.faults, now) {
            AfterFault::Resume => {}
            AfterFault::Restart(at) => self.pause = Some(Box::pin(tokio::time::sleep(at.since(now)))),
            AfterFault::Stop => self.failed = Some(cause),
        }
    }

    /// What is ready, as one batch that is paid for.
    pub(super) fn take_output(&mut self, cx: &StageContext) -> Option<Batch<Items<C::Out>>> {
        let (mut batch, apart) = self.results.take(cx.chunk_bytes())?;
        let covered = cx.cover(&mut batch);
        drop(apart);
        match covered {
            Ok(()) => Some(batch),
            Err(nack) => {
                self.refuse_batch(batch, nack, cx);
                None
            }
        }
    }

    fn refuse_batch(&mut self, batch: Batch<Items<C::Out>>, nack: Nack, cx: &StageContext) {
        let cause = nack.cause.clone();
        cx.refuse(batch, nack);
        if cx.stops_on_refusal() {
            self.fault(cause);
        }
    }
}
