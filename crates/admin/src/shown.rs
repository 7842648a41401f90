//! [`Shown`]: the pipeline that is looked at now, and how often it was reloaded.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tidegate_runtime::View;

/// Gives what components count beside the records: the name of each, what it counts, and how many so far.
#[derive(Clone)]
pub struct Tallies(Arc<Give>);

type Give = dyn Fn(&mut dyn FnMut(&str, &str, u64)) + Send + Sync;

impl Tallies {
    /// Asks `give` at each look.
    #[must_use]
    pub fn new(give: impl Fn(&mut dyn FnMut(&str, &str, u64)) + Send + Sync + 'static) -> Self {
        Self(Arc::new(give))
    }

    /// Gives each to `take`.
    pub fn each(&self, take: &mut dyn FnMut(&str, &str, u64)) {
        (self.0)(take);
    }
}

impl Default for Tallies {
    /// Nothing is counted.
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tallies").finish_non_exhaustive()
    }
}

/// A handle on the view that answers are made from. Clones refer to the same.
#[derive(Clone, Default)]
pub struct Shown {
    scene: Arc<RwLock<Option<Scene>>>,
    reloads: Arc<[AtomicU64; Reloaded::ALL.len()]>,
    ledger: Arc<RwLock<Option<Tell>>>,
    address: Arc<OnceLock<SocketAddr>>,
}

/// Tells something of the pipeline that runs, as a text.
pub type Tell = Arc<dyn Fn() -> String + Send + Sync>;

/// A pipeline, and what its components count.
type Scene = (Arc<View>, Tallies);

/// What became of a request to read the pipeline files again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Nothing had changed.
    Unchanged,
    /// What changed was put into the place of what ran; everything else went on.
    InPlace,
    /// The pipeline was drained and the new one started.
    Anew,
    /// The files are wrong, or what they say cannot be started; the pipeline goes on as it was.
    Refused,
}

impl Reloaded {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Unchanged, Self::InPlace, Self::Anew, Self::Refused];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::InPlace => "in_place",
            Self::Anew => "anew",
            Self::Refused => "refused",
        }
    }
}

impl Shown {
    /// Shows `view` from now on.
    pub fn show(&self, view: Arc<View>) {
        self.show_with(view, Tallies::default());
    }

    /// Shows `view` from now on, and what its components count.
    pub fn show_with(&self, view: Arc<View>, tallies: Tallies) {
        *self.scene.write().unwrap_or_else(PoisonError::into_inner) = Some((view, tallies));
    }

    /// Shows nothing any more.
    pub fn hide(&self) {
        *self.scene.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is shown now.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.scene().map(|(view, _)| view)
    }

    /// What is shown now, with what its components count.
    #[must_use]
    pub fn scene(&self) -> Option<(Arc<View>, Tallies)> {
        self.scene.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers at `/ledger` with what `tell` says, one JSON object, from now on; with nothing for `None`.
    pub fn show_ledger(&self, tell: Option<Tell>) {
        *self.ledger.write().unwrap_or_else(PoisonError::into_inner) = tell;
    }

    /// What is told at `/ledger` now.
    #[must_use]
    pub fn ledger(&self) -> Option<String> {
        let tell = self.ledger.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(tell())
    }

    /// Notes where it is shown; the first call counts.
    pub fn set_address(&self, address: SocketAddr) {
        let _first: Result<(), SocketAddr> = self.address.set(address);
    }

    /// Where it is shown, if anywhere.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// Counts a reload.
    pub fn count_reload(&self, result: Reloaded) {
        self.reloads[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many reloads had each result so far.
    #[must_use]
    pub fn reloads(&self) -> [(Reloaded, u64); Reloaded::ALL.len()] {
        Reloaded::ALL.map(|result| (result, self.reloads[result as usize].load(Ordering::Relaxed)))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.view().map(|view| view.name().to_owned());
        f.debug_tuple("Shown").field(&name).finish()
    }
}
