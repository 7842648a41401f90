//! The one loop that every stage runs: wait for room downstream, take one batch, change it, send it on.
//!
//! ```text
//! outlet.ready()  ->  inlet.next(), which changes what it takes  ->  outlet.push()
//! ```
//!
//! Room is waited for *before* input is taken, so what cannot be forwarded stays in the edge, where it is counted and
//! where its policy can act on it. A stage has at most one batch of input and one of output in hand.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tidegate_flow::{Batch, Cause, Payload, Records};

use crate::context::{StageContext, count_sent, panic_nack};
use crate::edge::{Control, Event};
use crate::handover::Handover;

/// Where a stage takes its batches from.
///
/// Cancel-safe: dropping the future of `next` loses nothing.
pub trait Inlet: Send + 'static {
    /// What it gives.
    type Payload: Payload;

    /// The next batch, control message, or the end.
    fn next(&mut self, cx: &mut StageContext) -> impl Future<Output = Event<Batch<Self::Payload>>> + Send;

    /// Drives work that is under way (calls of `map_async`) without taking or giving anything. Called whenever the
    /// stage waits for something else.
    fn poll_background(&mut self, _task: &mut Context<'_>) {}

    /// Whether it has read records that it has not given yet, and that are nowhere else.
    fn has_read_ahead(&self) -> bool {
        false
    }

    /// Whether it may wait for more input with records in hand, and so wants to know when the consumer is idle.
    fn may_hold_back(&self) -> bool {
        false
    }

    /// Whether records that were taken are still in hand (calls of `map_async`), so that `next` can give something
    /// without taking more. Such a stage goes on while memory is owed: what it has in hand may be what is owed.
    fn is_working(&self) -> bool {
        false
    }

    /// Leaves to the next life of the stage what it takes from, and what it took and did not give. Called when it was
    /// asked to make way and has ended.
    fn hand_over(self, _to: &mut Handover)
    where
        Self: Sized,
    {
    }
}

/// Where a stage sends its batches to.
pub trait Outlet<P: Payload>: Send + 'static {
    /// Waits until a batch could be sent; reserves nothing. Cancel-safe.
    fn ready(&mut self, cx: &mut StageContext) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Sends the batch in `slot` and counts what became of it. Cancel-safe: the batch leaves the slot only when it was
    /// taken.
    fn push(
        &mut self,
        slot: &mut Option<Batch<P>>,
        cx: &mut StageContext,
    ) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Passes a control message on.
    fn control(&mut self, control: Control, cx: &mut StageContext) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Tells downstream that nothing more will come, and why; waits until everything sent was taken over.
    fn finish(&mut self, end: &StageEnd, cx: &mut StageContext) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Whether downstream waits for input: the moment to send a partial batch.
    fn consumer_is_idle(&self) -> bool {
        false
    }

    /// Completes when [`consumer_is_idle`](Outlet::consumer_is_idle) has become true.
    fn poll_consumer_idle(&mut self, _task: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Whether it has work under way (several deliveries at once) that goes on while the stage waits for input.
    fn is_working(&self) -> bool {
        false
    }

    /// Goes on with the work under way. Completes when [`ready`](Outlet::ready) must be called before more is taken.
    fn poll_work(&mut self, _task: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Ends what is under way, because the stage is asked to make way; nothing downstream is told.
    fn make_way(&mut self, _cx: &mut StageContext) -> impl Future<Output = Result<(), Ended>> + Send {
        async { Ok(()) }
    }

    /// Leaves to the next life of the stage what it sends to, and what it was given and did not send. Called after
    /// [`make_way`](Outlet::make_way).
    fn hand_over(self, _to: &mut Handover)
    where
        Self: Sized,
    {
    }
}

/// Why a stage cannot go on sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everyone downstream is gone; there is nobody left to work for.
    Cancelled,
    /// Something failed; the pipeline stops with this cause.
    Failed(Cause),
}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageEnd {
    /// Its input ended and everything was sent on.
    Completed,
    /// Downstream went away first.
    Cancelled,
    /// It failed, or something upstream did.
    Failed(Cause),
}

impl From<Ended> for StageEnd {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Cancelled => Self::Cancelled,
            Ended::Failed(cause) => Self::Failed(cause),
        }
    }
}

/// A stage put together and ready to run.
pub(crate) struct Stage<I, O> {
    pub(crate) inlet: I,
    pub(crate) outlet: O,
    pub(crate) context: StageContext,
}

impl<I: Inlet, O: Outlet<I::Payload>> Stage<I, O> {
    /// Runs until the input ends, downstream is gone, or something fails. A panic outside the fused operators (in a
    /// source, a sink or a batch transform) is a failure of the stage, never of the process.
    pub(crate) async fn run(mut self) -> StageEnd {
        let end = match AssertUnwindSafe(self.work()).catch_unwind().await {
            Ok(end) => end,
            Err(panic) => StageEnd::Failed(panic_nack(&*panic).cause),
        };
        if end == StageEnd::Completed && self.context.relief.is_asked() {
            return self.make_way().await;
        }
        match AssertUnwindSafe(self.outlet.finish(&end, &mut self.context)).catch_unwind().await {
            Ok(Err(ended)) if end == StageEnd::Completed => ended.into(),
            Ok(_) => end,
            Err(panic) => StageEnd::Failed(panic_nack(&*panic).cause),
        }
    }

    /// Gives everything to the next life of the stage.
    async fn make_way(mut self) -> StageEnd {
        let made = AssertUnwindSafe(self.outlet.make_way(&mut self.context)).catch_unwind().await;
        if let Err(end) = made.unwrap_or_else(|panic| Err(Ended::Failed(panic_nack(&*panic).cause))) {
            return end.into();
        }
        let Self { inlet, outlet, context } = self;
        let mut left = Handover::default();
        // What the outlet has in hand is older than what the inlet still has to give.
        outlet.hand_over(&mut left);
        inlet.hand_over(&mut left);
        context.leave(left);
        StageEnd::Completed
    }

    async fn work(&mut self) -> StageEnd {
        loop {
            match self.turn().await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(ended) => return ended.into(),
            }
        }
    }

    /// One turn of the loop; says how the stage ended, if it did.
    async fn turn(&mut self) -> Result<Option<StageEnd>, Ended> {
        let Self { inlet, outlet, context } = self;
        with_background(inlet, outlet.ready(context)).await?;
        context.consumer_is_idle = outlet.consumer_is_idle();
        if inlet.may_hold_back()
            && !context.consumer_is_idle
            && let Some(event) = next_unless_idle(inlet, outlet, context).await
        {
            return Self::pass_on(event, inlet, outlet, context).await;
        }
        if !outlet.is_working() {
            let event = inlet.next(context).await;
            return Self::pass_on(event, inlet, outlet, context).await;
        }
        tokio::select! {
            biased;
            event = inlet.next(context) => Self::pass_on(event, inlet, outlet, context).await,
            () = poll_fn(|task| outlet.poll_work(task)) => Ok(None),
        }
    }

    async fn pass_on(
        event: Event<Batch<I::Payload>>,
        inlet: &mut I,
        outlet: &mut O,
        context: &mut StageContext,
    ) -> Result<Option<StageEnd>, Ended> {
        match event {
            Event::Batch(batch) => {
                let mut slot = Some(batch);
                with_background(inlet, outlet.push(&mut slot, context)).await?;
                context.clock.processed(1);
            }
            Event::Control(control) => with_background(inlet, outlet.control(control, context)).await?,
            Event::Completed => return Ok(Some(StageEnd::Completed)),
            Event::Failed(cause) => return Ok(Some(StageEnd::Failed(cause))),
        }
        Ok(None)
    }
}

/// The next event, or `None` as soon as the consumer is idle, which the context says from then on.
async fn next_unless_idle<I: Inlet, O: Outlet<I::Payload>>(
    inlet: &mut I,
    outlet: &mut O,
    context: &mut StageContext,
) -> Option<Event<Batch<I::Payload>>> {
    let event = tokio::select! {
        biased;
        event = inlet.next(context) => Some(event),
        () = poll_fn(|task| outlet.poll_consumer_idle(task)) => None,
    };
    context.consumer_is_idle |= event.is_none();
    event
}

/// Runs `future` while the calls that the inlet has in flight go on: work under way is never paused because something
/// downstream is full.
pub(crate) async fn with_background<I: Inlet, F: Future>(inlet: &mut I, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|task| {
        inlet.poll_background(task);
        future.as_mut().poll(task)
    })
    .await
}

impl StageContext {
    pub(crate) fn count_taken(&self, records: u32) {
        let records = Records::new(u64::from(records));
        self.counter().record(|flows| {
            flows.input += records;
            flows.held += records;
        });
    }

    pub(crate) fn count_sent(&self, records: u32) {
        count_sent(self.counter(), records);
    }
}
