//! Says in the log when a buffer on disk or a checkpoint has to wait, for what, and when it goes on.

use std::collections::BTreeMap;
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
    /// Of checkpoints, by component.
    said_of_checkpoints: BTreeMap<Arc<str>, String>,
    looks: Interval,
}

impl Watch {
    pub(super) fn new(view: &Arc<View>) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            view: Arc::clone(view),
            said: vec![None; view.logs().len()],
            said_of_checkpoints: BTreeMap::new(),
            looks,
        }
    }

    /// Looks once more. Cancel-safe.
    pub(super) async fn tick(&mut self) {
        self.looks.tick().await;
        self.look_at_checkpoints();
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

    fn look_at_checkpoints(&mut self) {
        let troubles = self.view.checkpoint_troubles();
        let now: BTreeMap<_, _> = troubles.into_iter().map(|(name, trouble)| (name, trouble.words)).collect();
        for (name, words) in now.iter().filter(|(name, words)| self.said_of_checkpoints.get(*name) != Some(words)) {
            tracing::warn!("the checkpoint of {name}: {words}");
        }
        for name in self.said_of_checkpoints.keys().filter(|name| !now.contains_key(*name)) {
            tracing::info!("the checkpoint of {name} goes on");
        }
        self.said_of_checkpoints = now;
    }
}
