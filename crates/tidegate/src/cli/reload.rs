//! What SIGHUP does: the files are read again, and the running pipeline becomes what they say, in place where it can.

use tidegate::Running;
use tidegate_admin::{Reloaded, Shown, Tallies};
use tidegate_components::contract::{BuildContext, Meters, Observed};
use tidegate_config::files::Files;
use tidegate_config::swap::{Swap, Way, prepare, way};
use tidegate_config::wire::wire;
use tidegate_config::{Plan, Planned};

use super::plans;

/// Reads the files again.
pub(super) type Again<'a> = &'a dyn Fn() -> Planned;

/// The name of the pipeline in reports and metrics.
const NAME: &str = "tidegate";

/// A pipeline at work, and what it was made of.
pub(super) struct Live {
    pub(super) running: Running,
    pub(super) plan: Plan,
    pub(super) files: Files,
    context: BuildContext,
}

/// What a reload asks of whoever holds the pipeline.
pub(super) enum Next {
    /// It goes on, changed or not.
    GoOn,
    /// It is to be drained, and one of this plan started.
    StartAnew(Plan, Files),
}

impl Live {
    /// Starts a pipeline of `plan`.
    ///
    /// # Errors
    /// The plan, when it cannot be started. Why was printed.
    pub(super) fn start(plan: Plan, files: Files, shown: &Shown) -> Result<Self, (Plan, Files)> {
        let mut context = BuildContext { data_dir: plan.settings.data_dir.clone(), runs: true, ..plans::context() };
        context.observed = Observed::default();
        match wire(&plan, NAME, &context) {
            Ok(wired) => {
                let running = wired.pipeline.start();
                context.observed.set(&running.view());
                shown.show_with(running.view(), tallies(context.meters.clone()));
                tracing::info!("started: {} components under {}", plan.nodes.len(), running.budget().total());
                Ok(Self { running, plan, files, context })
            }
            Err(problems) => {
                plans::show_problems(&files, &problems);
                Err((plan, files))
            }
        }
    }

    /// What its components count.
    pub(super) fn meters(&self) -> Meters {
        self.context.meters.clone()
    }

    /// Reads the files again, and does what they say as far as the pipeline can go on meanwhile.
    pub(super) async fn reload(&mut self, again: Again<'_>, shown: &Shown) -> Next {
        let planned = again();
        plans::show(&planned);
        let Planned { plan: Some(plan), files, .. } = planned else {
            tracing::error!("reload: the files are wrong (see above); the pipeline goes on as it is");
            shown.count_reload(Reloaded::Refused);
            return Next::GoOn;
        };
        match way(&self.plan, &plan) {
            Way::Nothing => {
                tracing::info!("reload: nothing has changed");
                shown.count_reload(Reloaded::Unchanged);
                Next::GoOn
            }
            Way::InPlace(swap) => self.swap(&swap, plan, files, shown).await,
            Way::Anew(why) => start_anew(&why, plan, files),
        }
    }

    /// Puts what changed into the place of what runs.
    async fn swap(&mut self, swap: &Swap, plan: Plan, files: Files, shown: &Shown) -> Next {
        let prepared = match prepare(&self.running, &plan, swap, &self.context) {
            Ok(prepared) => prepared,
            Err(problems) => {
                plans::show_problems(&files, &problems);
                tracing::error!("reload: what is new cannot be started (see above); the pipeline goes on as it is");
                shown.count_reload(Reloaded::Refused);
                return Next::GoOn;
            }
        };
        match prepared.put(&mut self.running).await {
            Ok(()) => {
                tracing::info!("reload: {}", swap.in_words(&plan));
                shown.count_reload(Reloaded::InPlace);
                (self.plan, self.files) = (plan, files);
                Next::GoOn
            }
            Err(refused) => start_anew(&refused.to_string(), plan, files),
        }
    }
}

fn tallies(meters: Meters) -> Tallies {
    Tallies::new(move |take| {
        meters.all().iter().for_each(|meter| take(&meter.node, meter.name, meter.counter.get()));
    })
}

fn start_anew(why: &str, plan: Plan, files: Files) -> Next {
    tracing::info!("reload: the pipeline is drained and started anew: {why}");
    Next::StartAnew(plan, files)
}
