//! Says in the log when a buffer on disk has to wait, for what, and when it goes on.

use std::sync::Arc;
use std::time::Duration;

use tidegate::View;
use tidegate_runtime::durable::LETTERS;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the buffers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The buffers of a running pipeline, and what was said of each.
pub(super) struct Watch {
    view: Arc<View>,
    said: Vec<Option<String>>,
    looks: Interval,
}

impl Watch {
    pub(super) fn new(view: &Arc<View>) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { view: Arc::clone(view), said: vec![None; view.logs().len()], looks }
    }

    /// Looks once more. Cancel-safe. Never completes where there is nothing to look at.
    pub(super) async fn tick(&mut self) {
        if self.said.is_empty() {
            return std::future::pending().await;
        }
        self.looks.tick().await;
        for ((name, log), said) in self.view.logs().iter().zip(&mut self.said) {
            let trouble = log.trouble();
            let words = trouble.as_ref().map(|trouble| trouble.words.clone());
            if *said == words {
                continue;
            }
            match &trouble {
                Some(trouble) if trouble.needs_somebody(name) => tracing::warn!("{}", trouble.about(name)),
                Some(trouble) => tracing::info!("{}", trouble.about(name)),
                None => match name.strip_suffix(LETTERS) {
                    Some(node) => tracing::info!("there is room again for the dead letters of {node}"),
                    None => tracing::info!("the buffer of {name} on disk goes on"),
                },
            }
            *said = words;
        }
    }
}
