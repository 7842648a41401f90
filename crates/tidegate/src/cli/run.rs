//! `tidegate run`: the main job.

use std::io::IsTerminal;
use std::time::Duration;

use tidegate::stall::StallReport;
use tidegate::{PipelineEnd, Report, Running};
use tidegate_admin::{Shown, Tallies};
use tidegate_components::contract::{BuildContext, Depth, Meters};
use tidegate_config::Plan;
use tidegate_config::diff::{Change, Diff, diff};
use tidegate_config::files::Files;
use tidegate_config::wire::wire;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Done;
use super::control::ControlArgs;
use super::logs::LogArgs;
use super::plans::{self, FileArgs};
use super::status::Status;

/// Run a pipeline until its sources end or a signal comes.
///
/// Then print what became of every record.
///
/// SIGINT (Ctrl-C) and SIGTERM shut the intake and drain what is in flight; a second one stops at once. SIGHUP reads the
/// files again: where they are sound and changed, the pipeline is drained and the new one started; else it goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate run pipeline.yaml
  tidegate run /etc/tidegate/ --quiet --log-format json
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
    /// Drain after this time, as if a signal had come.
    #[arg(long = "for", value_name = "TIME")]
    time: Option<tidegate_components::value::Period>,
    /// Worker threads for pipelines; one for each CPU unless set.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    control: ControlArgs,
    #[command(flatten)]
    logs: LogArgs,
}

impl Run {
    pub(super) fn run(self) -> Done {
        let planned = self.files.plan(Depth::Surroundings);
        let Some(plan) = planned.plan else { return Done::Wrong };
        let again = || self.files.plan_silently(Depth::Values);
        self.options.run(&plan, &planned.files, Some(&again))
    }
}

/// Reads the files again.
type Again<'a> = &'a dyn Fn() -> tidegate_config::Planned;

impl RunOptions {
    /// Runs `plan`.
    pub(super) fn run(&self, plan: &Plan, files: &Files, again: Option<Again<'_>>) -> Done {
        let ready = self.logs.start(self.quiet).and_then(|()| self.runtime());
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
            builder.worker_threads(threads.max(1));
        }
        builder.enable_all().thread_name("pipeline").build().map_err(|error| format!("no threads: {error}"))
    }

    async fn drive(&self, plan: &Plan, files: &Files, again: Option<Again<'_>>, shown: &Shown) -> Done {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                eprintln!("tidegate: signals cannot be heard: {error}");
                return Done::Failed;
            }
        };
        let mut next = None;
        loop {
            let (plan, files) = next.as_ref().map_or((plan, files), |(plan, files)| (plan, files));
            let Some((running, meters)) = start(plan, files, shown) else { return Done::Wrong };
            match self.watch(running, plan, again, &mut signals).await {
                Ended::Report(report) => return self.conclude(&report, &meters),
                Ended::Reload(report, planned) => {
                    self.conclude(&report, &meters);
                    let tidegate_config::Planned { plan, files, .. } = *planned;
                    next = plan.map(|plan| (plan, files));
                }
            }
        }
    }

    /// So much time, unless the command line says how much.
    pub(super) fn at_most(mut self, time: tidegate_components::value::Period) -> Self {
        self.time = self.time.or(Some(time));
        self
    }

    /// Follows one pipeline to its end.
    async fn watch(&self, mut running: Running, plan: &Plan, again: Option<Again<'_>>, signals: &mut Signals) -> Ended {
        let mut status = Status::new(running.view(), !self.quiet && std::io::stderr().is_terminal());
        let mut stalls = running.view().watch_stalls();
        let limit = async {
            match &self.time {
                Some(time) => tokio::time::sleep(time.get()).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(limit);
        loop {
            tokio::select! {
                () = running.ended() => break,
                () = status.tick() => {}
                report = stalls.next() => match report {
                    Some(StallReport::Stalled(stall)) => tracing::warn!("{stall}"),
                    Some(StallReport::Recovered(recovery)) => tracing::info!("{recovery}"),
                    None => break,
                },
                () = &mut limit => break,
                heard = signals.next() => match heard {
                    Heard::End => break,
                    Heard::Reload => {
                        if let Some(planned) = again.and_then(|again| reread(again, plan)) {
                            status.clear();
                            return Ended::Reload(self.drain(running, signals).await, Box::new(planned));
                        }
                    }
                },
            }
        }
        status.clear();
        Ended::Report(self.drain(running, signals).await)
    }

    /// Drains, until the deadline or another signal.
    async fn drain(&self, mut running: Running, signals: &mut Signals) -> Report {
        running.shut_intake();
        let deadline = self.drain_timeout.get();
        let stopped = async { while signals.next().await != Heard::End {} };
        tokio::select! {
            () = running.ended() => {}
            () = tokio::time::sleep(deadline) => return running.drain(Duration::ZERO).await,
            () = stopped => return running.stop().await,
        }
        running.wait().await
    }

    fn conclude(&self, report: &Report, meters: &Meters) -> Done {
        if !self.quiet {
            eprintln!("{report}{}", tallies(meters));
        }
        match (&report.end, report.ledger.check()) {
            (_, Err(imbalance)) => {
                eprintln!("tidegate: {imbalance}; this is a bug, please report it with the pipeline file");
                Done::Failed
            }
            (PipelineEnd::Completed, Ok(())) => Done::Well,
            (end, Ok(())) => {
                if self.quiet {
                    eprintln!("tidegate: the pipeline {end}");
                }
                Done::Failed
            }
        }
    }
}

/// The name of the pipeline in reports and metrics.
const NAME: &str = "tidegate";

/// How following a pipeline ended.
enum Ended {
    Report(Report),
    Reload(Report, Box<tidegate_config::Planned>),
}

/// What components counted beside the records, as far as there was any of it: for the report.
fn tallies(meters: &Meters) -> String {
    let counted = meters.all().into_iter().filter(|meter| meter.counter.get() > 0);
    let lines: Vec<String> =
        counted.map(|meter| format!("  {:<20} {:<28} {}", meter.node, meter.name, meter.counter.get())).collect();
    if lines.is_empty() { String::new() } else { format!("\nbeside the records:\n{}", lines.join("\n")) }
}

fn start(plan: &Plan, files: &Files, shown: &Shown) -> Option<(Running, Meters)> {
    let mut context = BuildContext { data_dir: plan.settings.data_dir.clone(), ..plans::context() };
    context.observed = tidegate_components::contract::Observed::default();
    match wire(plan, NAME, &context) {
        Ok(wired) => {
            let running = wired.pipeline.start();
            context.observed.set(&running.view());
            let (meters, shown_meters) = (context.meters.clone(), context.meters);
            let each = move |take: &mut dyn FnMut(&str, &str, u64)| {
                shown_meters.all().iter().for_each(|meter| take(&meter.node, meter.name, meter.counter.get()));
            };
            shown.show_with(running.view(), Tallies::new(each));
            tracing::info!("started: {} components under {}", plan.nodes.len(), running.budget().total());
            Some((running, meters))
        }
        Err(problems) => {
            plans::show_problems(files, &problems);
            None
        }
    }
}

/// Reads the files again; a plan where they are sound and say something new.
fn reread(again: Again<'_>, running: &Plan) -> Option<tidegate_config::Planned> {
    let planned = again();
    plans::show(&planned);
    let Some(plan) = &planned.plan else {
        tracing::error!("reload: the files are wrong (see above); the pipeline goes on as it is");
        return None;
    };
    let diff = diff(running, plan);
    if diff.is_empty() {
        tracing::info!("reload: nothing has changed");
        return None;
    }
    tracing::info!("reload: {}", in_words(&diff));
    Some(planned)
}

fn in_words(diff: &Diff) -> String {
    let changes = [
        (Change::Added, "added"),
        (Change::Removed, "removed"),
        (Change::Changed, "changed"),
        (Change::Rewired, "rewired"),
    ];
    let listed = changes.into_iter().filter_map(|(change, word)| {
        let names: Vec<&str> = diff.with(change).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    });
    listed.chain(diff.settings.then(|| "other settings".to_owned())).collect::<Vec<_>>().join("; ")
}

/// What a signal asks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Heard {
    End,
    Reload,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel-safe.
    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.interrupt.recv() => Heard::End,
            _ = self.terminate.recv() => Heard::End,
            _ = self.hangup.recv() => Heard::Reload,
        }
    }
}
