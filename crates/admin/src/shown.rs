//! [`Shown`]: the pipeline that is looked at now; after a reload, another one.

use std::sync::{Arc, PoisonError, RwLock};

use tidegate_runtime::View;

/// A handle on the view that answers are made from. Clones refer to the same.
#[derive(Clone, Default)]
pub struct Shown(Arc<RwLock<Option<Arc<View>>>>);

impl Shown {
    /// Shows `view` from now on.
    pub fn show(&self, view: Arc<View>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    /// Shows nothing any more.
    pub fn hide(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is shown now.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.view().map(|view| view.name().to_owned());
        f.debug_tuple("Shown").field(&name).finish()
    }
}
