//! Where a flow becomes several: forks, partitions, diversions and taps.

use tidegate_flow::graph::{Branch as GraphBranch, FanOut};
use tidegate_flow::{EdgeSpec, Items, Nack, Share, Weigh};

use super::error::BuildError;
use super::flow::{EdgeEnd, EdgeFlow, Flow, Head, Port, RecordFlow};
use super::ops::Extended;
use crate::dead_letter::DeadLetterPort;
use crate::ops::{Copying, Divert, Returning, Tap, TryOr};
use crate::outlet::{ChoiceOutlet, Chooser, ForkOutlet, PartitionOutlet, Router};
use crate::records::{Identity, RecordOp, Records};
use crate::stage::Inlet;
use crate::transform::Transform;

/// One branch of a fork: its edge, and whether settlement waits for it.
#[derive(Clone, Debug)]
pub struct Branch {
    spec: EdgeSpec,
    required: bool,
}

impl Branch {
    /// A record is settled only when this branch has settled it, and the worst outcome counts.
    #[must_use]
    pub fn required(spec: impl Into<EdgeSpec>) -> Self {
        Self { spec: spec.into(), required: true }
    }

    /// What this branch loses is counted on the branch and concerns nobody else. Give it a policy that sheds, or it
    /// will slow its siblings down when it is full.
    #[must_use]
    pub fn best_effort(spec: impl Into<EdgeSpec>) -> Self {
        Self { spec: spec.into(), required: false }
    }
}

impl<I, U, V> Flow<I, U, V>
where
    I: Inlet,
    U: Transform<I::Payload>,
    V: Transform<U::Out>,
    V::Out: Head,
{
    /// Sends every record to every branch. The branches share the payload; each has an edge of its own, so that a slow
    /// branch hurts only itself as far as its window and policy go. A blocking branch that is full makes all wait.
    pub fn fork<const N: usize>(self, branches: [Branch; N]) -> [EdgeFlow<V::Out>; N]
    where
        V::Out: Share,
    {
        let builder = self.builder.clone();
        let mut ends = Vec::with_capacity(N);
        let flows = branches.map(|branch| {
            let (end, rx) = builder.new_edge(branch.spec);
            self.note_branch(&end, branch.required);
            ends.push((end, branch.required));
            builder.edge_flow(rx)
        });
        self.finish_fork(ends);
        flows
    }

    /// Sends every record to one branch, chosen row by row.
    pub fn route<const N: usize>(self, router: impl Router<V::Out>, specs: [EdgeSpec; N]) -> [EdgeFlow<V::Out>; N] {
        let builder = self.builder.clone();
        if N == 0 {
            self.refuse_branches(N);
        }
        let mut ends = Vec::with_capacity(N);
        let flows = specs.map(|spec| {
            let (end, rx) = builder.new_edge(spec);
            let mut draft = builder.lock();
            draft.graph.add_producer(end.id, self.stage);
            draft.graph.stage_mut(self.stage).fan_out = FanOut::Route;
            drop(draft);
            ends.push(end);
            builder.edge_flow(rx)
        });
        self.finish(move |launch| {
            let branches = ends.into_iter().map(|end| launch.producer(end)).collect();
            PartitionOutlet::new(branches, router, launch.clock())
        });
        flows
    }

    /// Shows every record to a port on the side without ever waiting for it: what the port's edge cannot take at once
    /// is shed there. The main flow is not affected.
    pub fn wire_tap(self, port: &Port<V::Out>) -> Extended<I, U, V, Tap<V::Out>, U::Out, V::Out>
    where
        V::Out: Share,
    {
        let end = self.builder.tap_producer(port, self.stage);
        self.transform(Tap::new(end))
    }
}

/// Junctions with any number of branches, for pipelines put together at run time. They send to ports, so that a branch may
/// be merged with what others send there.
impl<I, U, V> Flow<I, U, V>
where
    I: Inlet,
    U: Transform<I::Payload>,
    V: Transform<U::Out>,
    V::Out: Share,
{
    /// Sends every record to every port; each with whether settlement waits for it, as [`Branch`] says.
    pub fn fork_to(self, branches: &[(&Port<V::Out>, bool)]) {
        let mut ends = Vec::with_capacity(branches.len());
        for (port, required) in branches {
            let Some(end) = self.builder.another_producer(port) else { return self.abandon() };
            self.note_branch(&end, *required);
            ends.push((end, *required));
        }
        self.finish_fork(ends);
    }

    /// Sends each record to the ports that `chooser` names for it: to none (it settles as filtered), to one, or to
    /// several. A branch without a port takes nothing: what is meant for it alone settles as filtered.
    pub fn choose_to(self, chooser: impl Chooser<V::Out>, branches: &[Option<&Port<V::Out>>]) {
        let mut ends = Vec::with_capacity(branches.len());
        for port in branches {
            let end = match port {
                None => None,
                Some(port) => match self.builder.another_producer(port) {
                    None => return self.abandon(),
                    end => end,
                },
            };
            if let Some(end) = &end {
                self.note_branch(end, true);
                let mut draft = self.builder.lock();
                let stage = draft.graph.stage_mut(self.stage);
                stage.fan_out = FanOut::Route;
                stage.may_drop = true;
            }
            ends.push(end);
        }
        if ends.iter().all(Option::is_none) {
            self.refuse_branches(0);
        }
        self.finish(move |launch| {
            let branches = ends.into_iter().map(|end| end.map(|end| launch.producer(end))).collect();
            ChoiceOutlet::new(branches, chooser, launch.clock())
        });
    }
}

impl<I, U, V> Flow<I, U, V>
where
    I: Inlet,
    U: Transform<I::Payload>,
    V: Transform<U::Out>,
    V::Out: Share,
{
    /// Adds a branch of a fork to the graph.
    fn note_branch(&self, end: &EdgeEnd<V::Out>, required: bool) {
        let mut draft = self.builder.lock();
        let window = draft.edges[end.id.index()].spec.window;
        // The branches share one charge, which stays with this stage until the last of them lets go; so what they may
        // hold is this stage's to reserve.
        if window.bytes != EdgeSpec::DEFAULT_WINDOW.bytes {
            draft.stage(self.stage).shared += window.bytes;
        }
        draft.graph.add_producer(end.id, self.stage);
        let stage = draft.graph.stage_mut(self.stage);
        stage.fan_out = FanOut::Fork;
        if let (Some(port), false) = (stage.outputs.last_mut(), required) {
            port.branch = GraphBranch::BestEffort;
        }
    }

    fn finish_fork(self, ends: Vec<(EdgeEnd<V::Out>, bool)>) {
        if ends.is_empty() {
            self.refuse_branches(0);
        } else if !ends.iter().any(|(_, required)| *required) {
            let mut draft = self.builder.lock();
            let stage = draft.stage(self.stage).name.to_string();
            draft.errors.push(BuildError::NoRequiredBranch { stage });
        }
        self.finish(move |launch| {
            ForkOutlet::new(ends.into_iter().map(|(end, required)| (launch.producer(end), required)).collect())
        });
    }
}

impl<I, U, V> Flow<I, U, V> {
    /// Notes a junction with too few branches for `build`.
    fn refuse_branches(&self, branches: usize) {
        let mut draft = self.builder.lock();
        let stage = draft.stage(self.stage).name.to_string();
        draft.errors.push(BuildError::TooFewBranches { stage, branches });
    }
}

impl<I, U, C> RecordFlow<I, U, C>
where
    I: Inlet,
    C: RecordOp,
    U: Transform<I::Payload, Out = Items<C::In>>,
{
    /// Sends the records for which `predicate` holds to a port, and passes the others on. A full port makes this stage
    /// wait unless its edge sheds.
    pub fn divert_to<F>(
        self,
        port: &Port<Items<C::Out>>,
        predicate: F,
    ) -> Extended<I, U, Records<C>, Divert<C::Out, F>, Items<C::In>, Items<C::Out>>
    where
        F: FnMut(&C::Out) -> bool + Send + 'static,
    {
        let end = self.builder.side_producer(port, self.stage);
        self.transform(Divert::new(predicate, end))
    }

    /// Makes one record of each; what `function` gives back with a reason goes to a dead letter port.
    pub fn try_map_or<T, F>(
        self,
        port: &Port<Items<C::Out>>,
        function: F,
    ) -> Extended<I, U, Records<C>, TryOr<C::Out, Returning<F>>, Items<C::In>, Items<C::Out>>
    where
        T: Weigh + Send + 'static,
        F: FnMut(C::Out) -> Result<T, (C::Out, Nack)> + Send + 'static,
    {
        let end = self.builder.side_producer(port, self.stage);
        self.transform(TryOr::new(Returning(function), DeadLetterPort::new(end)))
    }

    /// The dead letter choice of [`Supervision`]: a record that a closure of the operators right before this
    /// (`.map(..).filter(..).dead_letters_to(&port)`, back to the last step that is none of them) panics on, or refuses,
    /// goes to a dead letter port as it was before them, instead of back to its source. What the stage does after a panic
    /// is still what its supervision says.
    ///
    /// Costs one clone of each record, made before the operators see it: only then is there something left of a record
    /// that was moved into a closure that panicked.
    ///
    /// [`Supervision`]: crate::Supervision
    pub fn dead_letters_to(self, port: &Port<Items<C::In>>) -> Guarded<I, U, C>
    where
        C::In: Clone,
    {
        let end = self.builder.side_producer(port, self.stage);
        let Self { builder, stage, inlet, upstream, tail } = self;
        let (op, pristine) = tail.into_parts();
        let guarded = TryOr::new(Copying::new(op, pristine), DeadLetterPort::new(end));
        Flow { builder, stage, inlet, upstream, tail: Records::new(Identity::default()) }.transform(guarded)
    }
}

/// A flow whose record operators so far give up what they panic on to a dead letter port.
pub type Guarded<I, U, C> = Extended<
    I,
    U,
    Records<Identity<<C as RecordOp>::In>>,
    TryOr<<C as RecordOp>::In, Copying<C>>,
    Items<<C as RecordOp>::In>,
    Items<<C as RecordOp>::In>,
>;
