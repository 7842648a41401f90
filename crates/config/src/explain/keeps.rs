//! What the state of transforms on the way means for what a source and a sink may rely on.

use super::{Guarantee, Pair};
use crate::plan::{Component, Plan};

/// Adds to each pair what the transforms between the two keep.
pub(super) fn add_to(pairs: &mut [Pair], plan: &Plan) {
    let number = |name: &str| plan.nodes.iter().position(|node| node.name == name);
    for pair in pairs {
        let (Some(from), Some(to)) = (number(&pair.source), number(&pair.sink)) else { continue };
        let before = plan.before(to);
        for (at, node) in plan.nodes.iter().enumerate() {
            let Component::Transform(config) = &node.component else { continue };
            let Some(keeps) = config.keeps().filter(|_| before[at] && plan.before(at)[from]) else { continue };
            if keeps.loses && matches!(pair.guarantee, Guarantee::AtLeastOnce | Guarantee::ExactlyOnceEffect) {
                pair.guarantee = Guarantee::WhileRunning;
                pair.words = "each record while the process runs".to_owned();
            }
            pair.words += &format!("; `{}`: {}", node.name, keeps.words);
        }
    }
}
