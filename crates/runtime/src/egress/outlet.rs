//! [`SinkOutlet`]: delivers one batch at a time, in their order.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tidegate_flow::{Batch, Payload, Wait};

use super::delivery::Letter;
use super::{Delivery, Sink};
use crate::context::StageContext;
use crate::dead_letter::DeadLetterPort;
use crate::edge::Control;
use crate::handover::Handover;
use crate::stage::{Ended, Outlet, StageEnd};

/// Delivers a stage's batches to a [`Sink`].
pub(crate) struct SinkOutlet<S, P: Payload> {
    delivery: Delivery<S, P>,
    dead_letters: Option<DeadLetterPort<P>>,
}

impl<P: Payload, S: Sink<P>> SinkOutlet<S, P> {
    pub(crate) fn new(delivery: Delivery<S, P>, dead_letters: Option<DeadLetterPort<P>>) -> Self {
        Self { delivery, dead_letters }
    }

    /// Delivers everything in line; leaves it there where the stage is to make way.
    async fn drain(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        while !self.delivery.is_done() && !self.delivery.makes_way() {
            self.delivery.run().await?;
            let letters: Vec<_> = self.delivery.letters().collect();
            send_letters(&mut self.dead_letters, letters, cx, |_| {}).await?;
        }
        Ok(())
    }
}

/// Sends what was given up to the port, one by one. `meanwhile` is polled while the port makes this wait.
pub(super) async fn send_letters<P: Payload>(
    port: &mut Option<DeadLetterPort<P>>,
    letters: impl IntoIterator<Item = Letter<P>>,
    cx: &mut StageContext,
    mut meanwhile: impl FnMut(&mut Context<'_>),
) -> Result<(), Ended> {
    for Letter { batch, nack, attempts, first } in letters {
        let Some(port) = port else {
            cx.refuse(batch, nack);
            continue;
        };
        port.stage(batch, nack, (attempts, first), cx);
        poll_fn(|task| -> Poll<Result<(), Ended>> {
            meanwhile(task);
            port.poll_sent(task, cx)
        })
        .await?;
    }
    Ok(())
}

impl<P: Payload, S: Sink<P>> Outlet<P> for SinkOutlet<S, P> {
    async fn ready(&mut self, cx: &mut StageContext) -> Result<(), Ended> {
        if self.delivery.is_closed() {
            return Err(Ended::Cancelled);
        }
        self.drain(cx).await?;
        let mut relief = cx.relief.intake();
        let memory = poll_fn(|task| {
            let has_memory = self.delivery.poll_memory(task);
            if has_memory.is_pending() {
                cx.clock.will_wait(Wait::Budget);
            }
            has_memory
        });
        tokio::select! {
            biased;
            () = memory => {}
            // Nothing is delivered any more.
            () = relief.shut() => {}
        }
        Ok(())
    }

    async fn push(&mut self, slot: &mut Option<Batch<P>>, cx: &mut StageContext) -> Result<(), Ended> {
        if let Some(batch) = slot.take() {
            self.delivery.take(batch);
        }
        self.drain(cx).await
    }

    async fn control(&mut self, control: Control, _cx: &mut StageContext) -> Result<(), Ended> {
        match control {
            Control::Flush | Control::Checkpoint(_) | Control::Drain => self.delivery.flush().await,
        }
    }

    async fn finish(&mut self, _end: &StageEnd, cx: &mut StageContext) -> Result<(), Ended> {
        self.drain(cx).await?;
        self.delivery.flush().await
    }

    fn consumer_is_idle(&self) -> bool {
        true
    }

    /// What its receiver buffers is flushed, as far as that can be done in time; it was accepted.
    async fn make_way(&mut self, _cx: &mut StageContext) -> Result<(), Ended> {
        self.delivery.flush().await
    }

    fn hand_over(self, to: &mut Handover) {
        self.delivery.hand_over(to);
        if let Some(port) = self.dead_letters {
            port.hand_over(to);
        }
    }
}
