//! [`PoolOutlet`]: keeps several sinks of one kind busy, each with one batch at a time.
//!
//! * **Blocks** its stage while every sink is busy, or has no memory to encode into. No batch waits inside: what no sink is
//!   free for stays in the edge.
//! * **Order** of batches is given up; that within a batch is kept.
//! * **Settles** each batch when it is answered, whatever its neighbours do.
//! * **Completes** when everything taken was answered.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
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
    /// Free too, and with the memory for a delivery.
    ready: Option<Delivery<S, P>>,
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
        Self { free: deliveries, ready: None, busy, stopped, relieved, left, dues, dead_letters, ended: None }
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

    /// Puts a delivery that has no letters where it belongs. One that has nothing to do has no use for memory.
    fn put_by(&mut self, mut delivery: Delivery<S, P>) {
        if delivery.is_done() {
            delivery.release();
            self.free.push(delivery);
        } else if delivery.makes_way() {
            delivery.release();
            self.relieved.push(delivery);
        } else {
            self.stopped.push(delivery);
        }
    }

    /// Whether a delivery has ended for good, or waits for what it gave up to be sent.
    fn needs_stage(&self) -> bool {
        self.ended.is_some() || !self.stopped.is_empty()
    }

    /// Drives the deliveries until `enough` says so or one of them needs the stage.
    async fn until(&mut self, cx: &StageContext, enough: impl Fn(&mut Self, &mut Context<'_>) -> bool) {
        let mut relief = cx.relief.intake();
        let mut asked = pin!(relief.shut());
        let mut is_asked = false;
        poll_fn(|task| {
            self.drive(task);
            if self.needs_stage() || enough(self, task) {
                return Poll::Ready(());
            }
            // What waits for memory does not any more.
            if !is_asked && asked.as_mut().poll(task).is_ready() {
                is_asked = true;
                if enough(self, task) {
                    return Poll::Ready(());
                }
            }
            // The first of them to come back ends the wait.
            let due = self.dues.iter().filter_map(Due::get).min().unwrap_or(Time::MAX);
            cx.due.set(due);
            cx.clock.will_wait(if self.busy.is_empty() { Wait::Budget } else { Wait::External });
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
    async fn settle_until(
        &mut self,
        cx: &mut StageContext,
        enough: impl Fn(&mut Self, &mut Context<'_>) -> bool,
    ) -> Result<(), Ended> {
        loop {
            self.until(cx, &enough).await;
            if let Some(ended) = self.ended.take() {
                return Err(ended);
            }
            let holds = self.stopped.is_empty();
            self.restart(cx).await?;
            if holds {
                return Ok(());
            }
        }
    }

    /// Whether a sink is free and has the memory for a delivery, or there is no use in waiting for one because the stage is
    /// to make way. One at a time: they share what was reserved for one, and none of them keeps it from another.
    fn has_ready(&mut self, task: &mut Context<'_>) -> bool {
        if self.ready.is_none()
            && let Some(mut delivery) = self.free.pop()
        {
            if delivery.makes_way() || delivery.poll_memory(task).is_ready() {
                self.ready = Some(delivery);
            } else {
                self.free.push(delivery);
            }
        }
        self.ready.is_some() || !self.relieved.is_empty()
    }

    /// Waits until nothing is under way, and pushes out what the receivers buffer.
    async fn flush_all(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        self.settle_until(cx, |pool, _| pool.busy.is_empty() && pool.stopped.is_empty()).await?;
        for delivery in self.free.iter_mut().chain(&mut self.ready).chain(&mut self.relieved) {
            delivery.flush().await?;
        }
        Ok(())
    }
}

impl<P: Payload, S: Sink<P>> Outlet<P> for PoolOutlet<S, P> {
    async fn ready(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        if self.free.iter().chain(&self.ready).any(Delivery::is_closed) {
            return Err(Ended::Cancelled);
        }
        self.settle_until(cx, Self::has_ready).await
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        // Costs nothing where `ready` was asked: that sink has its memory.
        self.settle_until(cx, Self::has_ready).await?;
        match (self.ready.take(), slot.take()) {
            (Some(mut delivery), Some(batch)) => {
                delivery.take(batch);
                self.start(delivery);
            }
            // Every delivery was stopped to make way, and so will the stage be.
            (None, Some(batch)) => self.left.push(batch),
            (ready, None) => self.ready = ready,
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
        let Self { free, ready, relieved, left, dead_letters, .. } = self;
        relieved.into_iter().chain(ready).chain(free).for_each(|delivery| delivery.hand_over(to));
        left.into_iter().for_each(|batch| to.leave_batch(batch));
        if let Some(port) = dead_letters {
            port.hand_over(to);
        }
    }
}
