//! Where acknowledgements come back: one task per source that tells its [`Committer`] what was settled.
//!
//! It waits for nothing downstream and nothing downstream waits for it, so acks flow while the data path is blocked.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tidegate_flow::{SourceLedger, Window};

use crate::drain::{Intake, KillSwitch};
use crate::ingress::Committer;
use crate::probe::SourceProbe;

/// Reports settled records until the source stage has ended (`closing`) and everything it opened is settled.
pub(crate) async fn settle_loop<Pos, C>(window: Window<Pos>, mut committer: C, mut closing: Intake)
where
    Pos: Send + 'static,
    C: Committer<Pos>,
{
    loop {
        let settled = tokio::select! {
            biased;
            settled = poll_fn(|task| window.poll_settled(task)) => settled,
            () = all_settled(&window, &mut closing) => break,
        };
        committer.settled(settled).await;
    }
    while let Some(settled) = window.take_settled() {
        committer.settled(settled).await;
    }
}

async fn all_settled<Pos: Send + 'static>(window: &Window<Pos>, closing: &mut Intake) {
    closing.shut().await;
    poll_fn(|task| window.poll_idle(task)).await;
}

/// A look at a source's window, and the switch that says that its stage has ended.
pub(crate) struct SettleProbe<Pos: Send + 'static> {
    pub(crate) window: Window<Pos>,
    pub(crate) closing: KillSwitch,
}

impl<Pos: Send + 'static> SourceProbe for SettleProbe<Pos> {
    fn counts(&self) -> SourceLedger {
        self.window.counts()
    }

    fn poll_idle(&self, task: &mut Context<'_>) -> Poll<()> {
        self.window.poll_idle(task)
    }

    fn close(&self) {
        self.closing.shut();
    }
}
