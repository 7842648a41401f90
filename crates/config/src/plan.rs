//! [`Plan`]: what the files mean, checked: every component read, every input found, nothing left that is known to be wrong.
//!
//! [`plan`] goes on behind mistakes. A component that cannot be read still has its name and inputs, so that the rest of the
//! graph is checked as if it were sound.

mod check;
mod clash;
mod component;
mod cycle;
mod dead_letters;
mod graph;
mod inputs;
mod keys;
mod settings;
mod trial;
mod types;
mod upstream;

use std::collections::BTreeSet;

use tidegate_components::columns::Columns;
use tidegate_components::contract::{BuildContext, Depth};
use tidegate_components::options::Buffer;
use tidegate_components::wiring::TO_DISK;
use tidegate_flow::StageKind;

use crate::cases::{Case, read_cases};
use crate::document::outline;
use crate::files::{Files, Place};
use crate::interpolate::Secrets;
use crate::load::Loaded;
use crate::problem::Problems;
use crate::tree::Node;

pub(crate) use clash::{Claim, claim};
pub use component::Component;
pub(crate) use component::Draft;
pub use graph::Input;
pub(crate) use keys::{find as find_key, within as place_within};
pub use settings::Settings;
pub use upstream::Upstream;

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
    /// What waits before it, where the file says so.
    pub buffer: Option<Buffer>,
    /// How the records of a source are sorted, where the file says so.
    pub columns: Option<Columns>,
    /// Which sink takes what this one refuses for good, of a sink or a transform: an index into the nodes of the plan.
    pub dead_letters: Option<usize>,
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

impl Plan {
    /// The nodes so that each comes behind all that send to it.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::with_capacity(self.nodes.len());
        let gives = |from: usize, to: usize| {
            let inputs = self.nodes[to].inputs.iter().filter(|input| input.from == from).count();
            inputs + usize::from(self.nodes[from].dead_letters == Some(to))
        };
        let all = 0..self.nodes.len();
        let mut missing: Vec<usize> = all.clone().map(|to| all.clone().map(|from| gives(from, to)).sum()).collect();
        let mut next: BTreeSet<usize> = all.clone().filter(|at| missing[*at] == 0).collect();
        while let Some(at) = next.pop_first() {
            order.push(at);
            for to in all.clone() {
                let given = gives(at, to);
                missing[to] -= given;
                if given > 0 && missing[to] == 0 {
                    next.insert(to);
                }
            }
        }
        order
    }

    /// For each node whether what it does reaches a sink.
    #[must_use]
    pub fn used(&self) -> Vec<bool> {
        let mut used: Vec<bool> = self.nodes.iter().map(|node| node.kind == StageKind::Sink).collect();
        for at in self.order().into_iter().rev().filter(|at| self.nodes[*at].kind != StageKind::Sink) {
            let mut nodes = self.nodes.iter().enumerate();
            used[at] = nodes.any(|(to, node)| used[to] && node.inputs.iter().any(|input| input.from == at));
        }
        used
    }

    /// For each node whether its records reach node `to`, which is among them.
    #[must_use]
    pub fn before(&self, to: usize) -> Vec<bool> {
        let mut before = vec![false; self.nodes.len()];
        before[to] = true;
        for at in self.order().into_iter().rev().filter(|at| self.nodes[*at].kind != StageKind::Source) {
            if before[at] {
                self.nodes[at].inputs.iter().for_each(|input| before[input.from] = true);
            }
        }
        before
    }

    /// Who hears what becomes of the records that the stage of this name was given: a sink, or what writes the buffer on
    /// disk of a node.
    #[must_use]
    pub fn upstream(&self, stage: &str) -> Option<Upstream> {
        let node = stage.strip_suffix(TO_DISK).unwrap_or(stage);
        let at = self.nodes.iter().position(|known| known.name == node)?;
        Some(Upstream::of(&self.nodes, at, stage != node))
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&PlanNode> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl PlanNode {
    /// Whether what waits before it is on disk.
    #[must_use]
    pub fn has_log(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| buffer.is_on_disk())
    }

    /// "sink `out`".
    #[must_use]
    pub fn in_words(&self) -> String {
        format!("{} `{}`", self.kind, self.name)
    }

    /// What is wrong with its surroundings: paths and addresses of this machine. Nothing is started.
    #[must_use]
    pub fn probe(&self, cx: &BuildContext) -> Problems {
        check::surroundings(self, cx)
    }

    /// Its configuration once more, for what uses it up: a pipeline that starts, a unit test.
    #[must_use]
    pub fn again(&self) -> Option<Component> {
        component::read_again(self.kind, self.type_name, &self.tree)
    }
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
    let Loaded { files, root, secrets, mut problems, incomplete } = loaded;
    let document = outline(&root, &mut problems);
    let settings = Settings::read(&document, &mut problems);
    let letter_boxes = dead_letters::boxes(&document);
    let mut drafts = Vec::with_capacity(document.components.len());
    for declared in &document.components {
        let is_letter_box = letter_boxes.contains(&declared.name.name.as_str());
        drafts.push(component::read_one(*declared, is_letter_box, &mut problems));
    }
    let inputs = graph::resolve(&drafts, incomplete || document.incomplete, &mut problems);
    let cx = BuildContext { data_dir: settings.data_dir.clone(), ..cx.clone() };
    dead_letters::check(&drafts, &cx, &mut problems);
    drafts.iter().for_each(|draft| check::check(draft, &cx, depth, &mut problems));
    clash::check(&drafts, &mut problems);
    let cases = document.tests.map(|entry| read_cases(entry, &drafts, &mut problems)).unwrap_or_default();
    let sound = !problems.has_errors();
    secrets.redact_all(&mut problems);
    let nodes = drafts.into_iter().zip(inputs).filter_map(|(draft, inputs)| draft.into_node(inputs));
    let plan = sound.then(|| {
        let mut nodes: Vec<_> = nodes.collect();
        dead_letters::connect(&mut nodes);
        Plan { settings, nodes, cases }
    });
    Planned { plan, files, problems, secrets }
}
