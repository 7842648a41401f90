//! [`PoolOutlet`]: keeps several sinks of one kind busy, each with one batch at a time.
//!
//! * **Blocks** its stage while every sink is busy. No batch waits inside: what no sink is free for stays in the edge.
//! * **Order** of batches is given up; that within a batch is kept.
//! * **Settles** each batch when it is answered, whatever its neighbours do.
//! * **Completes** when everything taken was answered.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_flow::{Batch, Payload, Time, Wait};

use super::outlet::send_letters;
use super::{Delivery, Sink};
use crate::context::StageContext;
use crate::dead_letter::DeadLetterPort;
use crate::edge::Control;
use crate::handover::Handover;
use crate::probe::Due;
use crate::stage::{Ended, Outlet, StageEnd};

/// Delivers a stage's batches to whichever of several [`Sink`]s is free.
pub(crate) struct PoolOutlet<S, P: Payload> {
    free: Vec<Delivery<S, P>>,
    busy: FuturesUnordered<Run<S, P>>,
    /// Stopped until what they gave up was sent to the port.
    stopped: Vec<Delivery<S, P>>,
    /// Stopped with batches in line, because the stage is to make way.
    relieved: Vec<Delivery<S, P>>,
    /// Taken when no sink was free any more.
    left: Vec<Batch<P>>,
    dues: Vec<Due>,
    dead_letters: Option<DeadLetterPort<P>>,
    ended: Option<Ended>,
}

/// A delivery under way; gives it back when it is done, or must stop.
type Run<S, P> = Pin<Box<dyn Future<Output = (Delivery<S, P>, Result<(), Ended>)> + Send>>;

impl<P: Payload, S: Sink<P>> PoolOutlet<S, P> {
    /// One delivery for each sink; each has a `due` of its own.
    pub(crate) fn new(deliveries: Vec<Delivery<S, P>>, dead_letters: Option<DeadLetterPort<P>>) -> Self {
        let dues = deliveries.iter().map(Delivery::due).collect();
        let (busy, stopped) = (FuturesUnordered::new(), Vec::new());
        let (relieved, left) = (Vec::new(), Vec::new());
        Self { free: deliveries, busy, stopped, relieved, left, dues, dead_letters, ended: None }
    }

    fn start(&mut self, mut delivery: Delivery<S, P>) {
        self.busy.push(Box::pin(async move {
            let ended = delivery.run().await;
            (delivery, ended)
        }));
    }

    /// Goes on with the deliveries under way.
    fn drive(&mut self, task: &mut Context<'_>) {
        while let Poll::Ready(Some((delivery, ended))) = self.busy.poll_next_unpin(task) {
            if let Err(ended) = ended {
                self.ended = Some(ended);
            }
            if delivery.has_letters() { self.stopped.push(delivery) } else { self.put_by(delivery) }
        }
    }

    /// Puts a delivery that has no letters where it belongs.
    fn put_by(&mut self, delivery: Delivery<S, P>) {
        if delivery.is_done() {
            self.free.push(delivery);
        } else if delivery.makes_way() {
            self.relieved.push(delivery);
        } else {
            self.stopped.push(delivery);
        }
    }

    /// Whether a sink is free, or there is no use in waiting for one.
    fn is_ready(&self) -> bool {
        !self.free.is_empty() || !self.relieved.is_empty()
    }

    /// Whether a delivery has ended for good, or waits for what it gave up to be sent.
    fn needs_stage(&self) -> bool {
        self.ended.is_some() || !self.stopped.is_empty()
    }

    /// Drives the deliveries until `enough` says so or one of them needs the stage.
    async fn until(&mut self, cx: &StageContext, enough: impl Fn(&Self) -> bool) {
        poll_fn(|task| {
            self.drive(task);
            if self.needs_stage() || enough(self) {
                return Poll::Ready(());
            }
            // The first of them to come back ends the wait.
            let due = self.dues.iter().filter_map(Due::get).min().unwrap_or(Time::MAX);
            cx.due.set(due);
            cx.clock.will_wait(Wait::External);
            Poll::Pending
        })
        .await;
        cx.due.clear();
    }

    /// Sends what the stopped deliveries gave up, and lets them go on.
    async fn restart(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        while let Some(mut delivery) = self.stopped.pop() {
            let letters: Vec<_> = delivery.letters().collect();
            let Self { busy, dead_letters, .. } = self;
            // Deliveries that end while the port makes this wait are seen to afterwards.
            let mut came_back = Vec::new();
            let sent = send_letters(dead_letters, letters, cx, |task| {
                while let Poll::Ready(Some(run)) = busy.poll_next_unpin(task) {
                    came_back.push(run);
                }
            });
            let sent = sent.await;
            for (delivery, ended) in came_back {
                self.ended = ended.err().or(self.ended.take());
                self.stopped.push(delivery);
            }
            sent?;
            if delivery.is_done() || delivery.makes_way() { self.put_by(delivery) } else { self.start(delivery) }
        }
        Ok(())
    }

    /// Waits until `enough` holds, sending what is given up meanwhile.
    async fn settle_until(&mut self, cx: &mut StageContext, enough: impl Fn(&Self) -> bool) -> Result<(), Ended> {
        loop {
            self.until(cx, &enough).await;
            if let Some(ended) = self.ended.take() {
                return Err(ended);
            }
            self.restart(cx).await?;
            if enough(self) {
                return Ok(());
            }
        }
    }

    /// Waits until nothing is under way, and pushes out what the receivers buffer.
    async fn flush_all(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        self.settle_until(cx, |pool| pool.busy.is_empty() && pool.stopped.is_empty()).await?;
        for delivery in self.free.iter_mut().chain(&mut self.relieved) {
            delivery.flush().await?;
        }
        Ok(())
    }
}

impl<P: Payload, S: Sink<P>> Outlet<P> for PoolOutlet<S, P> {
    async fn ready(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        if self.free.iter().any(Delivery::is_closed) {
            return Err(Ended::Cancelled);
        }
        self.settle_until(cx, Self::is_ready).await
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        if self.free.is_empty() {
            self.settle_until(cx, Self::is_ready).await?;
        }
        match (self.free.pop(), slot.take()) {
            (Some(mut delivery), Some(batch)) => {
                delivery.take(batch);
                self.start(delivery);
            }
            // Every delivery was stopped to make way, and so will the stage be.
            (None, Some(batch)) => self.left.push(batch),
            (free, None) => self.free.extend(free),
        }
        Ok(())
    }

    async fn control(&mut self, control: Control, cx: &mut StageContext) -> Result<(), Ended> {
        match control {
            Control::Flush | Control::Checkpoint(_) | Control::Drain => self.flush_all(cx).await,
        }
    }

    async fn finish(&mut self, _end: &StageEnd, cx: &mut StageContext) -> Result<(), Ended> {
        self.flush_all(cx).await
    }

    /// While something is in flight, batches are made full.
    fn consumer_is_idle(&self) -> bool {
        self.busy.is_empty()
    }

    fn poll_consumer_idle(&mut self, task: &mut Context<'_>) -> Poll<()> {
        // What must be seen to by the stage ends the wait too: at worst a batch goes on that is not full.
        let needs_stage = self.poll_work(task);
        if self.busy.is_empty() { Poll::Ready(()) } else { needs_stage }
    }

    fn is_working(&self) -> bool {
        !self.busy.is_empty() || self.needs_stage()
    }

    fn poll_work(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.drive(task);
        if self.needs_stage() { Poll::Ready(()) } else { Poll::Pending }
    }

    async fn make_way(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        self.flush_all(cx).await
    }

    fn hand_over(self, to: &mut Handover) {
        let Self { free, relieved, left, dead_letters, .. } = self;
        relieved.into_iter().chain(free).for_each(|delivery| delivery.hand_over(to));
        left.into_iter().for_each(|batch| to.leave_batch(batch));
        if let Some(port) = dead_letters {
            port.hand_over(to);
        }
    }
}
