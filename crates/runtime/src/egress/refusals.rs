//! [`Refusals`]: what the receiver behind a sink refused: how often, of which kind, why last, and since when.
//!
//! Written by the deliveries of a stage, read by whoever looks at the pipeline. Costs one relaxed load for a delivery that
//! was accepted while nothing is wrong.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_flow::{Nack, NackKind, Records, Time};
use tokio::sync::Notify;

use super::halving::Halving;

/// What a sink refused so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRefusals {
    /// The stage of the sink, by name.
    pub sink: String,
    /// Deliveries that were refused for now: a timeout, a receiver that is not there, a full disk.
    pub transient: u64,
    /// Deliveries that were refused for good; each halving of a batch is one.
    pub permanent: u64,
    /// Deliveries that were tried again after a pause.
    pub retries: u64,
    /// Records that went back to their source because the tries were used up.
    pub returned_transient: Records,
    /// Records that went back to their source because they were refused for good, and no dead letter port took them.
    pub returned_permanent: Records,
    /// The last refusal.
    pub last: Option<Nack>,
    /// When that was, since the pipeline started.
    pub at: Time,
    /// When the first refusal was since something was last accepted; `None` where the last delivery was accepted.
    pub since: Option<Time>,
}

impl SinkRefusals {
    /// Whether anything was ever refused.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.transient + self.permanent > 0
    }

    /// Refusals of both kinds.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.transient + self.permanent
    }
}

impl fmt::Display for SinkRefusals {
    /// `sink "out" was refused 14 times for now and 2 times for good; last: no answer from ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sink \"{}\" was refused ", self.sink)?;
        match (self.transient, self.permanent) {
            (transient, 0) => write!(f, "{} for now", times(transient))?,
            (0, permanent) => write!(f, "{} for good", times(permanent))?,
            (transient, permanent) => write!(f, "{} for now and {} for good", times(transient), times(permanent))?,
        }
        match &self.last {
            Some(last) => write!(f, "; last: {}", last.cause),
            None => Ok(()),
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The refusals of one stage. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Tells who listens that something was refused after it had been accepted, or the other way round.
    news: Arc<Notify>,
    /// Whether the last delivery was refused.
    is_refused: AtomicBool,
    /// Whether anything was ever refused for good: until then nothing needs to be earned.
    is_halving: AtomicBool,
    halving: Mutex<Halving>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    transient: u64,
    permanent: u64,
    retries: u64,
    returned_transient: Records,
    returned_permanent: Records,
    last: Option<Nack>,
    at: Time,
    since: Option<Time>,
}

impl Refusals {
    /// None so far; changes are told by `news`.
    pub(crate) fn new(news: Arc<Notify>) -> Self {
        Self(Arc::new(Shared { news, ..Shared::default() }))
    }

    /// A delivery, or part of it, was refused.
    pub(super) fn refused(&self, nack: &Nack, now: Time) {
        let is_news = {
            let mut state = self.lock();
            let is_news = state.since.is_none() || state.last.as_ref().is_none_or(|last| last.kind != nack.kind);
            match nack.kind {
                NackKind::Transient => state.transient += 1,
                NackKind::Permanent => state.permanent += 1,
            }
            (state.last, state.at) = (Some(nack.clone()), now);
            state.since.get_or_insert(now);
            is_news
        };
        self.0.is_refused.store(true, Ordering::Relaxed);
        if is_news {
            self.0.news.notify_one();
        }
    }

    /// A delivery was accepted.
    #[inline]
    pub(super) fn accepted(&self) {
        if self.0.is_refused.load(Ordering::Relaxed) {
            self.0.is_refused.store(false, Ordering::Relaxed);
            self.lock().since = None;
            self.0.news.notify_one();
        }
    }

    /// Tells what looks for culprits that so many records were accepted.
    #[inline]
    pub(super) fn earned(&self, records: u32) {
        if self.0.is_halving.load(Ordering::Relaxed) {
            self.halving(|halving| halving.accepted(records));
        }
    }

    /// What the stage does to find culprits.
    pub(super) fn halving<T>(&self, ask: impl FnOnce(&mut Halving) -> T) -> T {
        self.0.is_halving.store(true, Ordering::Relaxed);
        ask(&mut self.0.halving.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A delivery will be tried again.
    pub(super) fn retried(&self) {
        self.lock().retries += 1;
    }

    /// So many records went back to their source.
    pub(super) fn returned(&self, kind: NackKind, records: Records) {
        let mut state = self.lock();
        match kind {
            NackKind::Transient => state.returned_transient += records,
            NackKind::Permanent => state.returned_permanent += records,
        }
    }

    /// How it is now, of the sink of this name.
    pub(crate) fn facts(&self, sink: &str) -> SinkRefusals {
        let state = self.lock();
        SinkRefusals {
            sink: sink.to_owned(),
            transient: state.transient,
            permanent: state.permanent,
            retries: state.retries,
            returned_transient: state.returned_transient,
            returned_permanent: state.returned_permanent,
            last: state.last.clone(),
            at: state.at,
            since: state.since,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
