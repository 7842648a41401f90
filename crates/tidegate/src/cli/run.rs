//! `tidegate run`: the main job.

use std::io::IsTerminal;
use std::sync::Arc;

use tidegate::stall::StallReport;
use tidegate::{Report, Time};
use tidegate_admin::{Reloaded, Shown, Tell};
use tidegate_components::contract::{Depth, Meters};
use tidegate_components::rehearsal;
use tidegate_config::files::Files;
use tidegate_config::{Plan, Planned};
use tokio::time::{Instant, sleep_until};

use super::Done;
use super::control::ControlArgs;
use super::draining::drain;
use super::ledger::Keeper;
use super::logs::LogArgs;
use super::plans::FileArgs;
use super::refused::{self, Refused};
use super::reload::{self, Again, Live, Next};
use super::report::{Telling, conclude};
use super::signals::{Heard, Signals};
use super::status::Status;

/// Run a pipeline until its sources end or a signal comes.
///
/// Then print what became of every record.
///
/// SIGINT (Ctrl-C) and SIGTERM shut the intake and drain what is in flight; a second one stops at once. SIGHUP reads the
/// files again. Where they are wrong, or ask for what cannot be had, the pipeline goes on as it is. Sinks and transforms that changed are put into the
/// place of those that run, while everything else goes on: no connection is closed and nothing is lost. For any other
/// change the pipeline is drained and the new one started; the log says why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate run pipeline.yaml
  tidegate run /etc/tidegate/ --quiet --log-format json
  tidegate run pipeline.yaml --json 2>report.json
  tidegate run pipeline.yaml --drain-timeout 5s --admin 127.0.0.1:9000")]
pub(super) struct Run {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    options: RunOptions,
}

/// What does not depend on the pipeline.
#[derive(Debug, clap::Args)]
pub(super) struct RunOptions {
    /// No live status, no report, and of the logs only warnings and errors.
    #[arg(long, short)]
    quiet: bool,
    /// How long draining may take; what is in flight then is abandoned, and the report says so.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    drain_timeout: tidegate_components::value::Period,
    /// Print the report at the end as one JSON object on one line, the last on standard error.
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Drain after this time, as if a signal had come. Reloads do not begin it anew.
    #[arg(long = "for", value_name = "TIME")]
    time: Option<tidegate_components::value::Period>,
    /// Worker threads for pipelines; one for each CPU unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(flatten)]
    control: ControlArgs,
    #[command(flatten)]
    logs: LogArgs,
}

/// Says what a rehearsal asks for, so that nobody runs one without knowing.
fn rehearsed() -> Result<(), String> {
    if rehearsal::check()? {
        tracing::warn!(
            "this is a rehearsal: the environment asks this process to die, to be slow or to have the wrong time"
        );
    }
    Ok(())
}

/// Who tells people how the pipeline does while it runs: the live status, and the log of what is refused.
pub(super) struct Teller {
    pub(super) status: Status,
    pub(super) refused: Refused,
    /// Keeps the ledger, where it can be kept.
    pub(super) keeper: Option<Keeper>,
}

impl Teller {
    /// Logs what was not yet when the pipeline ended.
    fn last(&mut self, report: &Report, meters: &Meters) {
        self.refused.firsts(meters).iter().for_each(refused::Line::log);
        self.refused.look(Time::from(report.ran), &report.refusals).iter().for_each(refused::Line::log);
    }
}

impl Run {
    pub(super) fn run(self) -> Done {
        let planned = self.files.plan(Depth::Surroundings);
        let again = || self.files.plan_silently(Depth::Values);
        self.options.run(planned, Some(&again))
    }
}

impl RunOptions {
    /// Runs the plan, if there is one.
    pub(super) fn run(&self, planned: Planned, again: Option<Again<'_>>) -> Done {
        let Planned { plan: Some(plan), files, .. } = planned else { return Done::Wrong };
        let ready = self.logs.start(self.quiet).and_then(|()| rehearsed()).and_then(|()| self.runtime());
        let shown = Shown::default();
        let ready = ready.and_then(|runtime| Ok((runtime, self.control.start(&shown)?)));
        let (runtime, _control) = match ready {
            Ok(ready) => ready,
            Err(text) => {
                eprintln!("tidegate: {text}");
                return Done::Wrong;
            }
        };
        let done = runtime.block_on(self.drive(plan, files, again, &shown));
        // Blocking calls of components (a read of standard input) may never return.
        runtime.shutdown_background();
        done
    }

    fn runtime(&self) -> Result<tokio::runtime::Runtime, String> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = self.threads {
            builder.worker_threads(usize::from(threads));
        }
        builder.enable_all().thread_name("pipeline").build().map_err(|error| format!("no threads: {error}"))
    }

    async fn drive(&self, plan: Plan, files: Files, again: Option<Again<'_>>, shown: &Shown) -> Done {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                eprintln!("tidegate: signals cannot be heard: {error}");
                return Done::Failed;
            }
        };
        let until = self.time.map(|time| Instant::now() + time.get());
        let Ok(mut live) = Live::start(plan, files, shown) else { return Done::Wrong };
        let mut keeps = true;
        loop {
            let data_dir = live.plan.settings.data_dir.clone();
            // Said once where it cannot be.
            let keeper = if keeps { Keeper::begin(&data_dir, live.running.view(), shown.address()) } else { None };
            keeps = keeper.is_some();
            shown.show_ledger(keeper.as_ref().map(|keeper| -> Tell { Arc::new(keeper.teller()) }));
            let is_shown = !self.quiet && std::io::stderr().is_terminal();
            let status = Status::new(live.running.view(), is_shown);
            let mut teller = Teller { status, refused: Refused::default(), keeper };
            let next = self.watch(&mut live, again, until, &mut signals, &mut teller, shown).await;
            let meters = live.meters();
            let Live { running, plan: before, files: files_before, .. } = live;
            let deadline = self.drain_timeout.get();
            let (report, is_stopped) = drain(running, deadline, &mut signals, &mut teller, &meters).await;
            teller.last(&report, &meters);
            shown.show_ledger(None);
            if let Some(keeper) = teller.keeper.take() {
                keeper.end(&report);
            }
            let done = conclude(&report, &meters, &before, self.telling());
            let Next::StartAnew(plan, files) = next else { return done };
            if is_stopped {
                return done;
            }
            reload::warn_of_losses(&before, &report);
            live = match Live::start(plan, files, shown) {
                Ok(live) => {
                    shown.count_reload(Reloaded::Anew);
                    live
                }
                Err(_) => {
                    tracing::error!("reload: the new pipeline cannot be started (see above); the one before goes on");
                    shown.count_reload(Reloaded::Refused);
                    let Ok(live) = Live::start(before, files_before, shown) else { return Done::Failed };
                    live
                }
            };
        }
    }

    /// So much time, unless the command line says how much.
    pub(super) fn at_most(mut self, time: tidegate_components::value::Period) -> Self {
        self.time = self.time.or(Some(time));
        self
    }

    const fn telling(&self) -> Telling {
        match (self.json, self.quiet) {
            (true, _) => Telling::Json,
            (false, true) => Telling::Quiet,
            (false, false) => Telling::Page,
        }
    }

    /// Follows one pipeline until it is to be drained; says what comes next.
    async fn watch(
        &self,
        live: &mut Live,
        again: Option<Again<'_>>,
        until: Option<Instant>,
        signals: &mut Signals,
        Teller { status, refused, keeper }: &mut Teller,
        shown: &Shown,
    ) -> Next {
        let view = live.running.view();
        let mut buffers = super::buffers::Watch::new(&view);
        let mut stalls = view.watch_stalls();
        let limit = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let meters = live.meters();
        let refusals = refused.follow(&view, &meters);
        tokio::pin!(limit, refusals);
        let mut next = Next::GoOn;
        loop {
            tokio::select! {
                () = live.running.ended() => break,
                () = status.tick() => {}
                () = buffers.tick() => {}
                () = keep(keeper) => {}
                () = &mut refusals => {}
                report = stalls.next() => match report {
                    Some(StallReport::Stalled(stall)) => tracing::warn!("{stall}"),
                    Some(StallReport::Recovered(recovery)) => tracing::info!("{recovery}"),
                    None => break,
                },
                () = &mut limit => break,
                heard = signals.next() => match (heard, again) {
                    (Heard::End, _) => break,
                    (Heard::Reload, None) => {}
                    (Heard::Reload, Some(again)) => {
                        next = live.reload(again, shown).await;
                        if matches!(next, Next::StartAnew(..)) {
                            break;
                        }
                        status.note(shown.reloads());
                    }
                },
            }
        }
        status.clear();
        next
    }
}

/// Writes the ledger now and then; never completes where it is not kept.
async fn keep(keeper: &mut Option<Keeper>) {
    match keeper {
        Some(keeper) => keeper.tick().await,
        None => std::future::pending().await,
    }
}
