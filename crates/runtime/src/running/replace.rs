//! Putting other components into the places of running ones.

use tidegate_flow::{Payload, Weight};

use super::Running;
use crate::build::{PipelineBuilder, ReplaceError};
use crate::transform::BoxTransform;

/// A step for the place of a running one.
pub struct NewStep<P: Payload> {
    /// The name under which the running one was put there.
    pub name: String,
    /// The step.
    pub step: BoxTransform<P>,
    /// What it may hold back from one batch to the next; no more than the first one in its place.
    pub holds: Weight,
}

impl Running {
    /// A builder for stages that are to take the places of running ones; see [`replace`](Self::replace).
    #[must_use]
    pub fn places(&self) -> PipelineBuilder {
        PipelineBuilder::new(self.view.name()).for_places(&self.places, &self.view.parts.kill)
    }

    /// Puts other components into the places of running ones, while everything else goes on.
    ///
    /// * **Stages**, by name: what was put together on `builder` (one of [`places`](Self::places)) under the same name,
    ///   behind and before edges of the same names. Their edges stay, with what waits in them. What the old component had
    ///   in hand and did not deliver is the first that the new one is given; counters go on. A delivery that is under way
    ///   may end, within [`GRACE`](crate::handover::GRACE).
    /// * **Steps**: at the next batch or flush of their stage, when the old one is flushed.
    ///
    /// Everything is checked before anything is touched. Completes when every new stage has begun. Not cancel-safe:
    /// dropped halfway, it leaves open which of the old ones go on.
    ///
    /// # Errors
    /// Nothing was changed and the old ones go on; but for [`ReplaceError::Ended`], which says that the pipeline is
    /// ending anyway.
    pub async fn replace<P: Payload>(
        &mut self,
        builder: &PipelineBuilder,
        stages: &[&str],
        steps: Vec<NewStep<P>>,
    ) -> Result<(), ReplaceError> {
        let mut next = Vec::with_capacity(stages.len());
        for stage in stages {
            let known = self.view.parts.stages.iter().find(|known| *known.name == **stage);
            let id = known.map(|known| known.id);
            let id = id.ok_or_else(|| ReplaceError::NoSuchStage { stage: (*stage).to_owned() })?;
            next.push((id, *stage, self.places.successor(builder, id, stage, &self.view.parts.budget)?));
        }
        let mut offers = Vec::with_capacity(steps.len());
        for NewStep { name, step, holds } in steps {
            offers.push((self.places.offer(&name, &step, holds)?, step));
        }
        offers.into_iter().for_each(|(offer, step)| offer.put(step));
        for (id, stage, successor) in next {
            let brought = self.places.replace(id, successor).await;
            let brought = brought.ok_or_else(|| ReplaceError::Ended { stage: stage.to_owned() })?;
            self.view.parts.holdings.renew(stage, self.places.holdings(id));
            // What the old life of a source read settles as ever; nothing more will be read.
            self.view.lives().iter().filter(|row| row.stage == id).for_each(|row| row.probe.close());
            brought.into_iter().for_each(|source| self.settle(source));
        }
        self.places.adopt_offers(builder);
        Ok(())
    }
}
