//! Where a stage's input comes from when it is not a source: an edge, or another inlet with a condition on it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Context;
use std::time::Duration;

use tidegate_flow::{Batch, Cause, Payload};
use tokio::time::Instant;

use crate::context::StageContext;
use crate::drain::Intake;
use crate::edge::{EdgeRx, Event};
use crate::handover::Handover;
use crate::stage::Inlet;

/// Takes from an edge.
pub struct EdgeInlet<P: Payload> {
    rx: EdgeRx<Batch<P>>,
    /// What the last life of the stage had in hand; comes first, and was counted as taken by that one.
    given: VecDeque<Batch<P>>,
    /// Ends the input when the stage is to make way.
    way: Option<Intake>,
}

impl<P: Payload> EdgeInlet<P> {
    pub(crate) fn new(rx: EdgeRx<Batch<P>>) -> Self {
        Self { rx, given: VecDeque::new(), way: None }
    }

    /// One that gives what was in hand first, and ends when `way` shuts.
    pub(crate) fn relieving(rx: EdgeRx<Batch<P>>, given: VecDeque<Batch<P>>, way: Intake) -> Self {
        Self { rx, given, way: Some(way) }
    }
}

impl<P: Payload> Inlet for EdgeInlet<P> {
    type Payload = P;

    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<P>> {
        let Self { rx, given, way } = self;
        let event = match way {
            None => poll_fn(|task| rx.poll_recv(task)).await,
            Some(way) if way.is_shut() => return Event::Completed,
            Some(way) => {
                if let Some(batch) = given.pop_front() {
                    return Event::Batch(batch);
                }
                tokio::select! {
                    biased;
                    event = poll_fn(|task| rx.poll_recv(task)) => event,
                    () = way.shut() => return Event::Completed,
                }
            }
        };
        if let Event::Batch(batch) = &event {
            cx.count_taken(batch.records());
        }
        event
    }

    fn hand_over(self, to: &mut Handover) {
        self.given.into_iter().for_each(|batch| to.leave_batch(batch));
        to.leave_rx(self.rx);
    }
}

/// Ends when a kill switch is thrown, as if its input had ended: what was taken from it goes on.
pub struct Gated<I> {
    inlet: I,
    intake: Intake,
}

impl<I> Gated<I> {
    pub(crate) fn new(inlet: I, intake: Intake) -> Self {
        Self { inlet, intake }
    }
}

impl<I: Inlet> Inlet for Gated<I> {
    type Payload = I::Payload;

    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<I::Payload>> {
        if self.inlet.has_read_ahead() {
            return self.inlet.next(cx).await;
        }
        if self.intake.is_shut() {
            return Event::Completed;
        }
        tokio::select! {
            biased;
            event = self.inlet.next(cx) => event,
            () = self.intake.shut() => Event::Completed,
        }
    }

    fn poll_background(&mut self, task: &mut Context<'_>) {
        self.inlet.poll_background(task);
    }

    fn has_read_ahead(&self) -> bool {
        self.inlet.has_read_ahead()
    }

    fn may_hold_back(&self) -> bool {
        self.inlet.may_hold_back()
    }

    fn is_working(&self) -> bool {
        self.inlet.is_working()
    }

    fn hand_over(self, to: &mut Handover) {
        self.inlet.hand_over(to);
    }
}

/// Fails when nothing arrives for too long. Time in which the stage does not ask for input (because what is behind it
/// is full) does not count, but for that between two asks without an answer.
pub struct IdleTimeout<I> {
    inlet: I,
    limit: Duration,
    /// Since when there was nothing; kept when the wait is cancelled, as a linger time does.
    since: Option<Instant>,
}

impl<I> IdleTimeout<I> {
    pub(crate) fn new(inlet: I, limit: Duration) -> Self {
        Self { inlet, limit, since: None }
    }
}

impl<I: Inlet> Inlet for IdleTimeout<I> {
    type Payload = I::Payload;

    async fn next(&mut self, cx: &mut StageContext) -> Event<Batch<I::Payload>> {
        let name = std::sync::Arc::clone(&cx.name);
        let since = *self.since.get_or_insert_with(Instant::now);
        let answer = tokio::time::timeout_at(since + self.limit, self.inlet.next(cx)).await;
        self.since = None;
        answer.unwrap_or_else(|_| {
            Event::Failed(Cause::from(format!("stage \"{name}\" received nothing for {:?}", self.limit)))
        })
    }

    fn poll_background(&mut self, task: &mut Context<'_>) {
        self.inlet.poll_background(task);
    }

    fn has_read_ahead(&self) -> bool {
        self.inlet.has_read_ahead()
    }

    fn may_hold_back(&self) -> bool {
        self.inlet.may_hold_back()
    }

    fn is_working(&self) -> bool {
        self.inlet.is_working()
    }

    fn hand_over(self, to: &mut Handover) {
        self.inlet.hand_over(to);
    }
}
