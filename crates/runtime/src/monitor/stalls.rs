//! Stalls that were seen: those going on, and the news of them.

use std::time::Duration;

use tidegate_flow::stall::{EdgeObservation, StageObservation, StallDetector, StallEvent, StallReport};
use tidegate_flow::{Graph, Time};
use tokio::sync::broadcast::{self, error::RecvError};

/// News that a watcher may leave unread before it loses the oldest.
const NEWS_KEPT: usize = 64;

/// The detector, the stalls that it has reported and not taken back, and those who want to hear of them.
pub(super) struct Stalls {
    detector: StallDetector,
    open: Vec<StallEvent>,
    /// `None` once the pipeline is over.
    news: Option<broadcast::Sender<StallReport>>,
}

impl Stalls {
    pub(super) fn new(threshold: Duration) -> Self {
        Self {
            detector: StallDetector::new(threshold),
            open: Vec::new(),
            news: Some(broadcast::Sender::new(NEWS_KEPT)),
        }
    }

    pub(super) fn observe(&mut self, now: Time, graph: &Graph, stages: &[StageObservation], edges: &[EdgeObservation]) {
        for report in self.detector.observe(now, graph, stages, edges) {
            match &report {
                StallReport::Stalled(event) => self.open.push(event.clone()),
                StallReport::Recovered(recovery) => self.open.retain(|event| {
                    let same = event.chain.iter().map(|link| &link.name).eq(&recovery.chain);
                    !(same && event.since == recovery.since)
                }),
            }
            if let Some(news) = &self.news {
                // The error says that nobody listens.
                drop(news.send(report));
            }
        }
    }

    pub(super) fn open(&self) -> Vec<StallEvent> {
        self.open.clone()
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.detector.is_stalled()
    }

    pub(super) fn subscribe(&self) -> StallWatch {
        let news = match &self.news {
            Some(news) => news.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        };
        StallWatch { news, missed: 0 }
    }

    pub(super) fn close(&mut self) {
        self.news = None;
    }
}

/// Hears of every stall of a pipeline that begins or ends. It keeps the last 64 reports that were not read; who reads
/// more slowly loses the oldest, and [`missed`](Self::missed) counts them.
pub struct StallWatch {
    news: broadcast::Receiver<StallReport>,
    missed: u64,
}

impl StallWatch {
    /// The next report, or `None` when the pipeline is over. Cancel-safe: a report that was not returned is returned
    /// by the next call.
    pub async fn next(&mut self) -> Option<StallReport> {
        loop {
            match self.news.recv().await {
                Ok(report) => return Some(report),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reports that were lost because they were read too slowly.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
