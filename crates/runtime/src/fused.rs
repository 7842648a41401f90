//! [`Fused`]: an inlet with a transform behind it and no queue between: what `map`, `filter` and the like run in.

use std::pin::pin;
use std::task::{Context, Poll};

use tidegate_flow::{Batch, Bytes, StageClock, Time, Wait};

use crate::clock::{Clock, waiting};
use crate::context::StageContext;
use crate::edge::Event;
use crate::handover::Handover;
use crate::stage::{Ended, Inlet, with_background};
use crate::transform::{Step, Transform, Turn, call};

/// Takes batches from `inlet` and gives what `transform` makes of them.
///
/// Everything that must survive a cancelled `next` is a field.
pub struct Fused<I: Inlet, T: Transform<I::Payload>> {
    inlet: I,
    transform: T,
    clock: Clock,
    /// What the transform said last.
    step: Step,
    /// How the transform goes on.
    turn: Turn,
    /// What to pass on when the flush is done.
    behind: Option<Event<Batch<T::Out>>>,
    /// What waits until the charge of what left before it was let go.
    leaving: Option<Batch<T::Out>>,
    /// Whether what comes out stays in the stage's hand, because calls are made for it.
    stays: bool,
}

/// What a stage got when it asked for input.
enum Taken<P> {
    Event(Event<Batch<P>>),
    /// The transform's own time has come.
    Due,
    /// Nothing to take, and the consumer waits for what the transform holds back.
    Lull,
}

impl<I: Inlet, T: Transform<I::Payload>> Fused<I, T> {
    pub(crate) fn new(inlet: I, transform: T, clock: Clock) -> Self {
        Self {
            inlet,
            transform,
            clock,
            step: Step::Done,
            turn: Turn::Resume,
            behind: None,
            leaving: None,
            stays: false,
        }
    }

    /// For what comes before calls: what it gives stays in the stage's hand.
    pub(crate) fn staying(self) -> Self {
        Self { stays: true, ..self }
    }

    /// Lets the charge of `batch` leave with it. Cancel-safe.
    async fn let_go(&mut self, batch: Batch<T::Out>, cx: &mut StageContext) -> Option<Batch<T::Out>> {
        if self.stays || !cx.is_in_hand(&batch.lease) {
            return Some(batch);
        }
        self.leaving = Some(batch);
        self.let_go_rest(cx).await
    }

    async fn let_go_rest(&mut self, cx: &mut StageContext) -> Option<Batch<T::Out>> {
        let Self { inlet, leaving, .. } = self;
        if let Some(batch) = leaving {
            with_background(inlet, cx.let_go(batch)).await;
        }
        leaving.take()
    }

    /// Calls the transform again, as its last step asks for.
    fn go_on(&mut self, cx: &mut StageContext) -> Option<Batch<T::Out>> {
        let mut out = None;
        self.step = call(&mut self.transform, self.turn, &mut out, cx);
        out
    }

    fn start(&mut self, turn: Turn, behind: Option<Event<Batch<T::Out>>>) {
        self.behind = behind;
        self.turn = turn;
        self.step = Step::More;
    }

    /// Waits for what the last step asks for, while calls that the inlet has in flight go on. Cancel-safe: it changes
    /// nothing.
    async fn wait_for_step(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        let Self { inlet, transform, clock, .. } = self;
        match &self.step {
            Step::Done | Step::More => Ok(()),
            Step::WaitUntil(at) => {
                with_background(inlet, waiting(&cx.clock, Wait::Throttled, reach(*clock, *at, &cx.clock))).await;
                Ok(())
            }
            Step::Side => {
                let times = cx.clock.clone();
                let sent = std::future::poll_fn(|task| transform.poll_side(task, cx));
                // An edge says itself that it is full, which counts for more. What waits for anything else is not idle.
                with_background(inlet, waiting(&times, Wait::External, sent)).await
            }
            Step::Fail(cause) => Err(Ended::Failed(cause.clone())),
        }
    }

    /// Waits until an overdraft is repaid: a stage in debt takes no input, though it goes on with what it has begun.
    /// Cancel-safe.
    async fn repay(&mut self, cx: &mut StageContext) {
        let Self { inlet, .. } = self;
        let account = &cx.account;
        // An account in debt has room for nothing until it is repaid.
        let repaid = std::future::poll_fn(|task| {
            inlet.poll_background(task);
            account.poll_room(task, Bytes::new(1)).map(drop)
        });
        waiting(&cx.clock, Wait::Budget, repaid).await;
    }

    /// Takes the next event, unless the transform's own time comes first or its consumer waits for what it holds back.
    async fn take(&mut self, cx: &mut StageContext) -> Taken<I::Payload> {
        let due = self.transform.wake_at();
        let holds_back = self.transform.holds_back();
        if due.is_none() && !holds_back {
            return Taken::Event(self.inlet.next(cx).await);
        }
        let lull = holds_back && cx.consumer_is_idle;
        let times = cx.clock.clone();
        let mut next = pin!(self.inlet.next(cx));
        if let Poll::Ready(event) = futures_util::poll!(next.as_mut()) {
            return Taken::Event(event);
        }
        match due {
            _ if lull => Taken::Lull,
            None => Taken::Event(next.await),
            Some(at) => tokio::select! {
                biased;
                event = next => Taken::Event(event),
                () = reach(self.clock, at, &times) => Taken::Due,
            },
        }
    }

    /// Acts on what was taken; gives a batch or an event to pass on if there is one at once.
    fn accept(&mut self, taken: Taken<I::Payload>, cx: &mut StageContext) -> Option<Event<Batch<T::Out>>> {
        let mut out = None;
        match taken {
            Taken::Event(Event::Batch(batch)) => self.step = self.transform.process(batch, &mut out, cx),
            Taken::Event(Event::Control(control)) => self.start(Turn::Flush, Some(Event::Control(control))),
            Taken::Event(Event::Completed) => self.start(Turn::Flush, Some(Event::Completed)),
            Taken::Event(Event::Failed(cause)) => return Some(Event::Failed(cause)),
            Taken::Due => out = self.go_on(cx),
            Taken::Lull => self.start(Turn::Lull, None),
        }
        out.map(Event::Batch)
    }
}

/// Completes when the stage itself has seen that it is `at`. The timer may be early by what passed since the stage
/// read its clock, which it does when its task is polled; calling a transform then would be too early. Cancel-safe.
async fn reach(clock: Clock, at: Time, times: &StageClock) {
    clock.sleep_until(at).await;
    while times.now() < at {
        tokio::task::yield_now().await;
    }
}

impl<I: Inlet, T: Transform<I::Payload>> Inlet for Fused<I, T> {
    type Payload = T::Out;

    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<T::Out>> {
        if let Some(batch) = self.let_go_rest(cx).await {
            return Event::Batch(batch);
        }
        loop {
            while self.step != Step::Done {
                match self.wait_for_step(cx).await {
                    Ok(()) => {}
                    Err(Ended::Failed(cause)) => return Event::Failed(cause),
                    Err(Ended::Cancelled) => return Event::Completed,
                }
                if let Some(batch) = self.go_on(cx)
                    && let Some(batch) = self.let_go(batch, cx).await
                {
                    return Event::Batch(batch);
                }
            }
            self.turn = Turn::Resume;
            if let Some(event) = self.behind.take() {
                return event;
            }
            if cx.account.in_debt() && !self.inlet.is_working() && !self.transform.holds_back() {
                self.repay(cx).await;
                continue;
            }
            let taken = self.take(cx).await;
            match self.accept(taken, cx) {
                None => {}
                Some(Event::Batch(batch)) => {
                    if let Some(batch) = self.let_go(batch, cx).await {
                        return Event::Batch(batch);
                    }
                }
                Some(event) => return event,
            }
        }
    }

    fn poll_background(&mut self, task: &mut Context<'_>) {
        self.inlet.poll_background(task);
    }

    fn may_hold_back(&self) -> bool {
        self.transform.may_hold_back()
    }

    fn is_working(&self) -> bool {
        self.inlet.is_working()
    }

    /// The transform was flushed before the input ended, and holds nothing.
    fn hand_over(self, to: &mut Handover) {
        self.inlet.hand_over(to);
    }
}
