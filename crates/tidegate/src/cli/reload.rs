//! What SIGHUP does: the files are read again, and the running pipeline becomes what they say, in place where it can.

use tidegate::flow::ledger::SourceLedger;
use tidegate::{Outcome, Report, Running};
use tidegate_admin::{Reloaded, Shown, Tallies};
use tidegate_components::contract::{BuildContext, Delivery, Meters, Observed};
use tidegate_config::files::Files;
use tidegate_config::plan::Component;
use tidegate_config::swap::{Swap, Way, prepare, probe, way};
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
        let way = way(&self.plan, &plan);
        // Before anything that runs is touched.
        if way != Way::Nothing
            && let Err(problems) = probe(&self.plan, &plan, &plans::context())
        {
            plans::show_problems(&files, &problems);
            return refused(shown);
        }
        match way {
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
                return refused(shown);
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

fn refused(shown: &Shown) -> Next {
    tracing::error!("reload: what is new cannot be started (see above); the pipeline goes on as it is");
    shown.count_reload(Reloaded::Refused);
    Next::GoOn
}

/// Says how much a pipeline that was drained for another one left undone, and what of it is gone for good: what the
/// senders of its sources do not send again.
pub(super) fn warn_of_losses(plan: &Plan, report: &Report) {
    let abandoned = |counts: &SourceLedger| counts.ended.get(Outcome::Abandoned).get();
    let all = abandoned(&report.ledger.total());
    if all == 0 {
        return;
    }
    let is_gone = |source: &str| match plan.node(source).map(|node| &node.component) {
        Some(Component::Source(config)) => {
            !matches!(config.exposure().delivery, Delivery::Replayed | Delivery::Answered)
        }
        _ => false,
    };
    let gone = report.ledger.sources.iter().filter(|(source, counts)| abandoned(counts) > 0 && is_gone(source));
    let gone: Vec<_> = gone.map(|(source, counts)| format!("{} of `{source}`", abandoned(counts))).collect();
    let lost = match gone.as_slice() {
        [] => "their sources read them again".to_owned(),
        gone => format!("lost for good, because nobody sends them again: {}", gone.join(", ")),
    };
    tracing::warn!("reload: the drain timeout passed with {all} records in flight, which are abandoned; {lost}");
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
