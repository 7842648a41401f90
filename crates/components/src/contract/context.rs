//! [`BuildContext`]: what components are given of the world around them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

use tidegate_runtime::{LetterTray, View};

use super::meters::Meters;
use crate::Rows;

/// What components are given of the world around them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BuildContext {
    /// Where components keep what must survive a restart, each in a folder of its own name. Not necessarily there yet.
    pub data_dir: PathBuf,
    /// The name of this machine, for the field `host` of records that are read here.
    pub host: Option<Arc<str>>,
    /// The node that is being built; empty where none is.
    pub node: Arc<str>,
    /// The pipeline, once it runs.
    pub observed: Observed,
    /// Where the node puts what it refuses for good, where that is kept. For transforms.
    pub letters: Option<LetterTray<Rows>>,
    /// Nodes whose refused records go back to where they came from, where they are kept: in a replay of dead letters.
    pub give_back: Arc<[Arc<str>]>,
    /// The counters of the components.
    pub meters: Meters,
    /// Whether what is built will run: then folders of data are locked, so that no other process works with them. Not so
    /// where a plan is only looked at.
    pub runs: bool,
    /// Whether the records of a source come to the node that is being built one way alone. Otherwise two with one id may
    /// be different records.
    pub one_way: bool,
}

impl BuildContext {
    /// A context with this data folder, no host name, and no pipeline.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            host: None,
            node: Arc::from(""),
            observed: Observed::default(),
            letters: None,
            give_back: Arc::default(),
            meters: Meters::default(),
            runs: false,
            one_way: false,
        }
    }

    /// For the node of this name.
    #[must_use]
    pub fn for_node(&self, node: &Arc<str>) -> Self {
        Self { node: Arc::clone(node), ..self.clone() }
    }

    /// For a node to which records come one way alone, or not.
    #[must_use]
    pub const fn one_way(mut self, one_way: bool) -> Self {
        self.one_way = one_way;
        self
    }

    /// Whether what the node refuses for good is kept: as a dead letter, or where it comes from.
    #[must_use]
    pub fn keeps_refused(&self) -> bool {
        self.letters.is_some() || self.give_back.contains(&self.node)
    }

    /// With this name of the machine.
    #[must_use]
    pub fn host(mut self, host: impl Into<Arc<str>>) -> Self {
        self.host = Some(host.into());
        self
    }
}

/// The running pipeline, for components that report on it. Empty until whoever starts the pipeline says which it is.
/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Observed(Arc<OnceLock<Weak<View>>>);

impl Observed {
    /// Says which pipeline it is; the first call counts.
    pub fn set(&self, view: &Arc<View>) {
        drop(self.0.set(Arc::downgrade(view)));
    }

    /// The pipeline, while it runs.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.0.get().and_then(Weak::upgrade)
    }
}
