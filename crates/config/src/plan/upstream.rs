//! [`Upstream`]: who is told what became of the records of a sink.

use tidegate_components::contract::Delivery;

use super::{Component, PlanNode};

/// Who hears what a sink says of its records: the sources before it, and the logs of buffers on disk, which stand for the
/// sources before them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// What the sources do that have no log between them and the sink.
    deliveries: Vec<Delivery>,
    /// Whether a log is among those that hear.
    has_log: bool,
}

impl Upstream {
    /// Who hears of the records of node `at`. What is refused on its way into the buffer on disk of that node itself is
    /// heard by those before it: `passes_own_log`.
    #[must_use]
    pub(super) fn of(nodes: &[PlanNode], at: usize, passes_own_log: bool) -> Self {
        let (mut upstream, mut seen, mut left) = (Self::default(), vec![false; nodes.len()], vec![at]);
        while let Some(next) = left.pop() {
            let node = &nodes[next];
            if let Component::Source(source) = &node.component {
                upstream.deliveries.push(source.exposure().delivery);
            }
            if node.has_log() && !(passes_own_log && next == at) {
                upstream.has_log = true;
                continue;
            }
            let inputs = node.inputs.iter().map(|input| input.from);
            left.extend(inputs.filter(|from| !std::mem::replace(&mut seen[*from], true)));
        }
        upstream
    }

    /// Whether a record that is refused for good is gone, for some that hear of it: they neither tell its sender, nor read
    /// it again, since it would be refused again.
    #[must_use]
    pub fn gives_up_what_is_refused(&self) -> bool {
        self.has_log || self.deliveries.iter().any(|delivery| *delivery != Delivery::Answered)
    }

    /// Whether a record that is given back for now is gone, for some that hear of it.
    #[must_use]
    pub fn gives_up_what_is_given_back(&self) -> bool {
        let has_gone =
            |delivery: &Delivery| matches!(delivery, Delivery::InFlight | Delivery::Lossy | Delivery::Generated);
        self.deliveries.iter().any(has_gone)
    }
}
