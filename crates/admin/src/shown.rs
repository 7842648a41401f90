//! [`Shown`]: the pipeline that is looked at now; after a reload, another one.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

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
pub struct Shown(Arc<RwLock<Option<Scene>>>);

/// A pipeline, and what its components count.
type Scene = (Arc<View>, Tallies);

impl Shown {
    /// Shows `view` from now on.
    pub fn show(&self, view: Arc<View>) {
        self.show_with(view, Tallies::default());
    }

    /// Shows `view` from now on, and what its components count.
    pub fn show_with(&self, view: Arc<View>, tallies: Tallies) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((view, tallies));
    }

    /// Shows nothing any more.
    pub fn hide(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is shown now.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.scene().map(|(view, _)| view)
    }

    /// What is shown now, with what its components count.
    #[must_use]
    pub fn scene(&self) -> Option<(Arc<View>, Tallies)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.view().map(|view| view.name().to_owned());
        f.debug_tuple("Shown").field(&name).finish()
    }
}
