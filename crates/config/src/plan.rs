//! [`Plan`]: what the files mean, checked: every component read, every input found, nothing left that is known to be wrong.
//!
//! [`plan`] goes on behind mistakes. A component that cannot be read still has its name and inputs, so that the rest of the
//! graph is checked as if it were sound.

mod check;
mod component;
mod cycle;
mod graph;
mod inputs;
mod keys;
mod settings;
mod types;

use std::path::PathBuf;

use tidegate_components::contract::{BuildContext, Depth, SinkConfig, SourceConfig, TransformConfig};
use tidegate_components::options::Buffer;
use tidegate_components::value::ByteSize;
use tidegate_flow::StageKind;

use crate::document::outline;
use crate::files::{Files, Place};
use crate::interpolate::Secrets;
use crate::load::Loaded;
use crate::problem::{Problem, Problems};
use crate::cases::{Case, read_cases};
use crate::tree::Node;

pub use component::Component;
pub use graph::Input;
pub use settings::Settings;

/// A component of a plan.
#[derive(Debug)]
pub struct PlanNode {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// Which of the three kinds it is.
    pub kind: StageKind,
    /// Its `type`.
    pub type_name: &'static str,
    /// Its configuration.
    pub component: Component,
    /// What it reads; nothing for a source.
    pub inputs: Vec<Input>,
    /// What waits before it.
    pub buffer: Buffer,
    /// As it stands in the file.
    pub tree: Node,
}

/// What the files mean.
#[derive(Debug)]
pub struct Plan {
    /// What holds for the whole process.
    pub settings: Settings,
    /// The components: sources, transforms, sinks, in the order of the files.
    pub nodes: Vec<PlanNode>,
    /// The unit tests.
    pub cases: Vec<Case>,
}

/// A plan, or why there is none; and the files, to show places in.
#[derive(Debug)]
pub struct Planned {
    /// The plan; `None` where there are errors.
    pub plan: Option<Plan>,
    /// The texts.
    pub files: Files,
    /// Everything that was found, warnings as well.
    pub problems: Problems,
    /// What came from the environment.
    pub secrets: Secrets,
}

/// Makes a plan of what was loaded. With [`Depth::Surroundings`] components also look at files and ports.
#[must_use]
pub fn plan(loaded: Loaded, cx: &BuildContext, depth: Depth) -> Planned {
    let Loaded { files, root, secrets, mut problems } = loaded;
    let document = outline(&root, &mut problems);
    let settings = Settings::read(&document, &mut problems);
    let drafts: Vec<_> = document.components.iter().map(|declared| component::read_one(*declared, &mut problems)).collect();
    let inputs = graph::resolve(&drafts, &mut problems);
    let cx = BuildContext { data_dir: settings.data_dir.clone(), ..cx.clone() };
    drafts.iter().for_each(|draft| check::check(draft, &cx, depth, &mut problems));
    let cases = document.tests.map(|entry| read_cases(entry, &drafts, &mut problems)).unwrap_or_default();
    let sound = !problems.has_errors();
    secrets.redact_all(&mut problems);
    let nodes = drafts.into_iter().zip(inputs).filter_map(|(draft, inputs)| draft.into_node(inputs));
    let plan = sound.then(|| Plan { settings, nodes: nodes.collect(), cases });
    Planned { plan, files, problems, secrets }
}
