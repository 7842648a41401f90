//! `tidegate run`: the main job.

use std::io::IsTerminal;
use std::time::Duration;

use tidegate::stall::StallReport;
use tidegate::{PipelineEnd, Records, Report, Running, SinkRefusals, Time};
use tidegate_admin::{Reloaded, Shown};
use tidegate_components::contract::{Delivery, Depth, Meters};
use tidegate_config::files::Files;
use tidegate_config::plan::Component;
use tidegate_config::{Plan, Planned};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Done;
use super::control::ControlArgs;
use super::logs::LogArgs;
use super::plans::FileArgs;
use super::refused::{self, Refused};
use super::reload::{Again, Live, Next};
use super::status::Status;

/// Run a pipeline until its sources end or a signal comes.
///
/// Then print what became of every record.
///
/// SIGINT (Ctrl-C) and SIGTERM shut the intake and drain what is in flight; a second one stops at once. SIGHUP reads the
/// files again. Where they are wrong, the pipeline goes on as it is. Sinks and transforms that changed are put into the
/// place of those that run, while everything else goes on: no connection is closed and nothing is lost. For any other
/// change the pipeline is drained and the new one started; the log says why.
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
        let again = || self.files.plan_silently(Depth::Values);
        self.options.run(planned, Some(&again))
    }
}

impl RunOptions {
    /// Runs the plan, if there is one.
    pub(super) fn run(&self, planned: Planned, again: Option<Again<'_>>) -> Done {
        let Planned { plan: Some(plan), files, .. } = planned else { return Done::Wrong };
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

    async fn drive(&self, plan: Plan, files: Files, again: Option<Again<'_>>, shown: &Shown) -> Done {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                eprintln!("tidegate: signals cannot be heard: {error}");
                return Done::Failed;
            }
        };
        let Ok(mut live) = Live::start(plan, files, shown) else { return Done::Wrong };
        loop {
            let mut refused = Refused::default();
            let next = self.watch(&mut live, again, &mut signals, shown, &mut refused).await;
            let meters = live.meters();
            let Live { running, plan: before, files: files_before, .. } = live;
            let (report, is_stopped) = self.drain(running, &mut signals, &mut refused, &meters).await;
            refused.firsts(&meters).iter().for_each(refused::Line::log);
            refused.look(Time::from(report.ran), &report.refusals).iter().for_each(refused::Line::log);
            let done = self.conclude(&report, &meters, &before);
            let Next::StartAnew(plan, files) = next else { return done };
            if is_stopped {
                return done;
            }
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

    /// Follows one pipeline until it is to be drained; says what comes next.
    async fn watch(
        &self,
        live: &mut Live,
        again: Option<Again<'_>>,
        signals: &mut Signals,
        shown: &Shown,
        refused: &mut Refused,
    ) -> Next {
        let view = live.running.view();
        let mut status = Status::new(view.clone(), !self.quiet && std::io::stderr().is_terminal());
        let mut stalls = view.watch_stalls();
        let limit = async {
            match &self.time {
                Some(time) => tokio::time::sleep(time.get()).await,
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

    /// Drains, until the deadline or another signal, and says whether it was that.
    async fn drain(
        &self,
        mut running: Running,
        signals: &mut Signals,
        refused: &mut Refused,
        meters: &Meters,
    ) -> (Report, bool) {
        running.shut_intake();
        let view = running.view();
        let deadline = self.drain_timeout.get();
        let stopped = async { while signals.next().await != Heard::End {} };
        tokio::select! {
            () = running.ended() => {}
            () = refused.follow(&view, meters) => {}
            () = tokio::time::sleep(deadline) => return (running.drain(Duration::ZERO).await, false),
            () = stopped => return (running.stop().await, true),
        }
        (running.wait().await, false)
    }

    fn conclude(&self, report: &Report, meters: &Meters, plan: &Plan) -> Done {
        if !self.quiet {
            eprintln!("{report}{}", tallies(meters));
        }
        match (&report.end, report.ledger.check()) {
            (_, Err(imbalance)) => {
                eprintln!("tidegate: {imbalance}; this is a bug, please report it with the pipeline file");
                Done::Failed
            }
            (PipelineEnd::Completed, Ok(())) => {
                let lost: Vec<_> = report.refusals.iter().filter_map(|sink| given_up(sink, plan)).collect();
                lost.iter().for_each(|text| eprintln!("tidegate: {text}"));
                if lost.is_empty() { Done::Well } else { Done::Failed }
            }
            (end, Ok(())) => {
                if self.quiet {
                    eprintln!("tidegate: the pipeline {end}");
                }
                Done::Failed
            }
        }
    }
}

/// What to say where a sink gave records back to sources that do not read them again and tell nobody.
fn given_up(sink: &SinkRefusals, plan: &Plan) -> Option<String> {
    let delivers = |wanted: fn(Delivery) -> bool| {
        plan.nodes.iter().any(|node| match &node.component {
            Component::Source(source) => wanted(source.exposure().delivery),
            Component::Transform(_) | Component::Sink(_) => false,
        })
    };
    let tells_nobody =
        delivers(|delivery| matches!(delivery, Delivery::InFlight | Delivery::Lossy | Delivery::Generated));
    let mut records = if tells_nobody { sink.returned_transient } else { Records::ZERO };
    // What is refused for good is not read again either.
    if tells_nobody || delivers(|delivery| delivery == Delivery::Replayed) {
        records += sink.returned_permanent;
    }
    let cause = sink.last.as_ref().map(|last| last.cause.to_string()).unwrap_or_default();
    (records > Records::ZERO).then(|| {
        format!(
            "sink \"{}\" gave up {} and no source keeps them: {cause}; `dead_letter: true` on the sink keeps what is \
             refused for good in a file",
            sink.sink, records
        )
    })
}

/// What components counted beside the records, as far as there was any of it: for the report.
fn tallies(meters: &Meters) -> String {
    let counted = meters.all().into_iter().filter(|meter| meter.counter.get() > 0);
    let lines: Vec<String> =
        counted.map(|meter| format!("  {:<20} {:<28} {}", meter.node, meter.name, meter.counter.get())).collect();
    if lines.is_empty() { String::new() } else { format!("\nbeside the records:\n{}", lines.join("\n")) }
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
