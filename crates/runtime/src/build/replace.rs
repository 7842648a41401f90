//! Putting another component into the place of a running one: the stage gets another life, its edges stay.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_flow::graph::{SettleWindowTooSmall, settle_window_needs};
use tidegate_flow::{Budget, BudgetError, Graph, Payload, Records, StageId, Weight};

use super::draft::{Draft, Launcher, PipelineBuilder, StageDraft};
use super::launch::{Kit, Outfit};
use super::plan::StageSpecs;
use crate::drain::KillSwitch;
use crate::exchange::{Needs, Offer};
use crate::handover::{Handed, NextLife, Seat};
use crate::running::{Holding, SourceTask};
use crate::transform::BoxTransform;

/// Why a stage was not replaced. The pipeline runs on as it was, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplaceError {
    /// The pipeline has no such stage that could make way for another; stages made by
    /// [`boxed_port`](PipelineBuilder::boxed_port) and [`boxed_source`](PipelineBuilder::boxed_source) can.
    NoSuchStage {
        /// The stage.
        stage: String,
    },
    /// What was put together for its place has no stage of this name with an end.
    NotMade {
        /// The stage.
        stage: String,
    },
    /// The budget has no room for what the new stage must have beside the old one.
    Budget(BudgetError),
    /// The settle window of a running source is too small for what the new stage may hold.
    SettleWindow(SettleWindowTooSmall),
    /// The pipeline has no such step that could be exchanged, or none of this payload.
    NoSuchStep {
        /// The step.
        step: String,
    },
    /// The step needs more than the one that was there first: more held back, or in hand, than its stage has reserved.
    NeedsMore {
        /// The step.
        step: String,
    },
    /// The stage ended before it could make way; what comes behind the end is settled as ever.
    Ended {
        /// The stage.
        stage: String,
    },
}

impl fmt::Display for ReplaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchStage { stage } => write!(f, "the pipeline has no stage \"{stage}\" that could be replaced"),
            Self::NotMade { stage } => write!(f, "nothing was put together for the place of stage \"{stage}\""),
            Self::Budget(error) => write!(f, "there is no room for it beside the old one: {error}"),
            Self::SettleWindow(error) => write!(f, "{error}"),
            Self::NoSuchStep { step } => write!(f, "the pipeline has no step \"{step}\" that could be exchanged"),
            Self::NeedsMore { step } => {
                write!(f, "step \"{step}\" needs more than its stage has reserved; the pipeline must be started anew")
            }
            Self::Ended { stage } => write!(f, "stage \"{stage}\" ended before it could be replaced"),
        }
    }
}

impl std::error::Error for ReplaceError {}

/// What is needed to put other components into the places of running ones.
pub(crate) struct Places {
    pub(super) kit: Kit,
    /// By the number of the stage; `None` for those that do not make way.
    pub(super) seats: Vec<Option<(Outfit, Arc<Seat>)>>,
    /// The graph, with what the stages of today may hold.
    pub(super) graph: Graph,
    /// Where other steps can be offered, by name.
    pub(super) offers: Vec<(Arc<str>, Box<dyn Any + Send + Sync>)>,
}

/// What was put together for the place of a stage.
pub(crate) struct Successor {
    launcher: Launcher,
    outfit: Outfit,
    holding: Weight,
}

impl PipelineBuilder {
    /// Sets up a builder whose stages are to take the places of running ones.
    pub(crate) fn for_places(self, places: &Places, kill: &KillSwitch) -> Self {
        let mut draft = self.lock();
        draft.batch = places.kit.batch;
        draft.kill = kill.clone();
        drop(draft);
        self
    }
}

impl Places {
    /// Checks what was put together for the place of the stage `id`, and takes it.
    pub(crate) fn successor(
        &self,
        builder: &PipelineBuilder,
        id: StageId,
        name: &str,
        budget: &Budget,
    ) -> Result<Successor, ReplaceError> {
        let Some((outfit, _)) = &self.seats[id.index()] else {
            return Err(ReplaceError::NoSuchStage { stage: name.to_owned() });
        };
        let mut draft = builder.lock();
        let made = draft.stages.iter().position(|stage| *stage.name == *name && stage.launch.is_some());
        let at = made.ok_or_else(|| ReplaceError::NotMade { stage: name.to_owned() })?;
        let holding = draft.graph.stage(draft.stages[at].id).holding;
        self.check_windows(id, holding)?;
        let outfit = renewed(outfit, &draft, &draft.stages[at], budget)?;
        let launcher = draft.stages[at].launch.take();
        let launcher = launcher.ok_or_else(|| ReplaceError::NotMade { stage: name.to_owned() })?;
        Ok(Successor { launcher, outfit, holding })
    }

    /// Where another step can be offered for the one of this name, if it needs no more than that.
    pub(crate) fn offer<P: Payload>(
        &self,
        name: &str,
        step: &BoxTransform<P>,
        holds: Weight,
    ) -> Result<Offer<P>, ReplaceError> {
        let known = self.offers.iter().find(|(known, _)| **known == *name);
        let offer = known.and_then(|(_, offer)| offer.downcast_ref::<Offer<P>>());
        let offer = offer.ok_or_else(|| ReplaceError::NoSuchStep { step: name.to_owned() })?;
        if offer.takes(Needs::of(step, holds)) {
            Ok(offer.clone())
        } else {
            Err(ReplaceError::NeedsMore { step: name.to_owned() })
        }
    }

    /// What the life in the place `id` holds outside of edges; nothing where none makes way.
    pub(crate) fn holdings(&self, id: StageId) -> Vec<Holding> {
        let seat = self.seats[id.index()].as_ref();
        seat.map(|(outfit, _)| outfit.accounts.holdings(&outfit.name)).unwrap_or_default()
    }

    /// Steps of stages that were replaced are offered others where the new stages look for them.
    pub(crate) fn adopt_offers(&mut self, builder: &PipelineBuilder) {
        let offers = std::mem::take(&mut builder.lock().offers);
        self.offers.retain(|(known, _)| offers.iter().all(|(name, _)| name != known));
        self.offers.extend(offers);
    }

    /// Whether the settle windows of the sources hold what the new stage may hold, with all that others may.
    fn check_windows(&self, id: StageId, holding: Weight) -> Result<(), ReplaceError> {
        let mut graph = self.graph.clone();
        graph.stage_mut(id).holding = holding;
        for need in settle_window_needs(&graph) {
            if let Some((source, _)) = &self.seats[need.source.index()] {
                let slots = Records::new(u64::from(source.window.slots));
                let window = Weight { records: slots, bytes: source.window.bytes };
                need.check(window).map_err(ReplaceError::SettleWindow)?;
            }
        }
        Ok(())
    }

    /// Asks the life in the place `id` to make way, and waits until the next one has begun. Gives what a source brings.
    pub(crate) async fn replace(&mut self, id: StageId, next: Successor) -> Option<Vec<SourceTask>> {
        let Successor { launcher, outfit, holding } = next;
        let (_, seat) = self.seats[id.index()].clone()?;
        let edges: HashMap<String, _> =
            self.graph.edge_ids().map(|edge| (self.graph.edge_name(edge).to_owned(), edge)).collect();
        let brought: Arc<Mutex<Vec<SourceTask>>> = Arc::default();
        let (kit, fitted, bring) = (self.kit.clone(), outfit.clone(), Arc::clone(&brought));
        let life: NextLife = Box::new(move |left, relief| {
            let launch = kit.launch();
            let life = fitted.launch(launcher, &launch, relief, Some(Handed::new(left, edges)));
            bring.lock().unwrap_or_else(PoisonError::into_inner).extend(launch.started());
            life
        });
        seat.replace(life)?.await.ok()?;
        self.graph.stage_mut(id).holding = holding;
        self.seats[id.index()] = Some((outfit, seat));
        let brought = std::mem::take(&mut *brought.lock().unwrap_or_else(PoisonError::into_inner));
        Some(brought)
    }
}

/// What the new life is started with: what the old one had, but for what the new one needs otherwise.
fn renewed(old: &Outfit, draft: &Draft, stage: &StageDraft, budget: &Budget) -> Result<Outfit, ReplaceError> {
    let mut outfit = old.clone();
    let specs = StageSpecs::of(draft, stage);
    if specs != old.specs {
        outfit.accounts = specs.open(&stage.name, budget).map_err(ReplaceError::Budget)?;
        outfit.specs = specs;
    }
    outfit.reading = stage.reading;
    Ok(outfit)
}
