//! `tidegate dlq replay`, and what it has in common with `tidegate buffer replay`: letters through the rest of a pipeline.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tidegate::Running;
use tidegate_components::contract::{BuildContext, Depth};
use tidegate_components::letters::{Desk, Marker, RealDisk, Replay as Source, Stock, Tally};
use tidegate_config::files::Files;
use tidegate_config::replay::wire_from;
use tidegate_config::words::grouped;
use tidegate_config::{Plan, Planned};

use crate::cli::logs::LogArgs;
use crate::cli::plans::{self, FileArgs};
use crate::cli::refused::Refused;
use crate::cli::signals::{Heard, Signals};
use crate::cli::{Done, term};

/// Which letters go where.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// The pipeline file (YAML, TOML, JSON), or a directory of them.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The component whose letters are meant, or the sink that keeps them.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    passing: Passing,
}

/// How letters are replayed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Passing {
    /// The component that is given the letters. Default: the one that refused each of them.
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// Only letters of which this is true: VRL, with what is known of the letter under `.dead_letter`.
    #[arg(long = "where", value_name = "EXPR")]
    wish: Option<String>,
    /// How long what is under way may take after Ctrl-C; what is not answered then stays.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    drain_timeout: tidegate_components::value::Period,
    #[command(flatten)]
    logs: LogArgs,
}

impl Replay {
    pub(super) fn run(self) -> Done {
        let Planned { plan: Some(plan), files, .. } = FileArgs { files: vec![self.file] }.plan(Depth::Values) else {
            return Done::Wrong;
        };
        let Some(stock) = super::stock_of(&plan.settings.data_dir, &self.name) else { return Done::Wrong };
        self.passing.run(&plan, &files, Goods { stock, name: self.name, what: "letters", lock: None })
    }
}

/// What is replayed.
pub(in crate::cli) struct Goods {
    pub(in crate::cli) stock: Stock,
    pub(in crate::cli) name: String,
    /// "letters", or "records".
    pub(in crate::cli) what: &'static str,
    /// Keeps pipelines from opening the log meanwhile.
    pub(in crate::cli) lock: Option<RealDisk>,
}

/// How many go where, and who gave them up.
type Ways = BTreeMap<Option<String>, u64>;

impl Passing {
    pub(in crate::cli) fn run(&self, plan: &Plan, files: &Files, goods: Goods) -> Done {
        match self.replay(plan, files, goods) {
            Ok(done) => done,
            Err(text) => {
                eprintln!("tidegate: {text}");
                Done::Failed
            }
        }
    }

    fn replay(&self, plan: &Plan, files: &Files, goods: Goods) -> Result<Done, String> {
        let marker = Marker::of(&goods.stock).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => format!("another process replays or purges those of {}", goods.name),
            _ => format!("those of {}: {error}", goods.name),
        })?;
        let Some((ways, until)) = self.ways(&goods)? else { return Ok(Done::Wrong) };
        let ways = at_home(ways, &goods, plan);
        let meant: u64 = ways.values().sum();
        if let Some(lost) =
            ways.keys().find(|way| self.to.is_none() && way.as_ref().is_none_or(|to| plan.node(to).is_none()))
        {
            let who =
                lost.as_deref().map_or("nobody".to_owned(), |node| format!("`{node}`, which is not in the file,"));
            eprintln!("tidegate: {who} gave up some of these {}: say --to NODE", goods.what);
            return Ok(Done::Wrong);
        }
        self.logs.start(false)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no threads: {error}"))?;
        let desk = Desk::new(marker);
        let mut sound = true;
        for origin in ways.into_keys() {
            let to = self.to.clone().or_else(|| origin.clone()).unwrap_or_default();
            let origin = if self.to.is_some() || goods.lock.is_some() { None } else { origin };
            let pass = Pass { plan, files, goods: &goods, to, origin, until, desk: &desk };
            match runtime.block_on(self.pass(pass))? {
                Ended::Wrong => return Ok(Done::Wrong),
                Ended::Failed => sound = false,
                Ended::Asked => break,
                Ended::Well => {}
            }
            if self.to.is_some() {
                break;
            }
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        let tally = desk.tally();
        term::print(&ledger(&goods, meant, &tally));
        desk.save()
            .map_err(|error| format!("what was delivered could not be marked: {error}; it is delivered again"))?;
        drop(goods.lock);
        if let Some(marker) = desk.into_marker() {
            marker.give_back().map_err(|error| format!("the space could not be given back: {error}"))?;
        }
        Ok(if sound && tally.done() == meant { Done::Well } else { Done::Failed })
    }

    /// How many letters are meant, by who gave them up, and the number behind the last one. `None`: the condition is wrong.
    fn ways(&self, goods: &Goods) -> Result<Option<(Ways, u64)>, String> {
        let Some(mut wish) = super::wish(self.wish.as_deref()) else { return Ok(None) };
        let mut ways = Ways::new();
        let mut until = 0;
        let looked = goods.stock.look(|letter| {
            until = letter.number + 1;
            if wish.as_mut().is_none_or(|wish| wish.matches(letter)) {
                *ways.entry(letter.origin().map(str::to_owned)).or_default() += 1;
            }
            true
        });
        looked.map_err(|error| format!("those of {}: {error}", goods.name))?;
        Ok(Some((ways, until)))
    }

    /// Runs the part of the pipeline from one component on.
    async fn pass(&self, pass: Pass<'_>) -> Result<Ended, String> {
        let Pass { plan, files, goods, to, origin, until, desk } = pass;
        let Some(wish) = super::wish(self.wish.as_deref()) else { return Ok(Ended::Wrong) };
        let mut signals = Signals::listen().map_err(|error| format!("signals cannot be heard: {error}"))?;
        let source = Source::new(goods.stock.clone(), until, origin, wish, desk.clone());
        let scratch = Scratch::new();
        let context: BuildContext = plans::context();
        let wired = match wire_from(plan, &to, Box::new(source), &scratch.0, &context) {
            Ok(wired) => wired,
            Err(problems) => {
                plans::show_problems(files, &problems);
                return Ok(Ended::Wrong);
            }
        };
        let mut running: Running = wired.pipeline.start();
        context.observed.set(&running.view());
        tracing::info!("replaying {} of `{}` to `{to}`", goods.what, goods.name);
        let view = running.view();
        let mut refused = Refused::default();
        let mut is_asked = false;
        {
            let mut refusals = pin!(refused.follow(&view, &context.meters));
            loop {
                tokio::select! {
                    () = running.ended() => break,
                    () = &mut refusals => {}
                    heard = signals.next() => if heard == Heard::End {
                        is_asked = true;
                        break;
                    },
                }
            }
        }
        let report = if is_asked { running.drain(self.drain_timeout.get()).await } else { running.wait().await };
        let failed = !matches!(report.end, tidegate::PipelineEnd::Completed);
        if failed && !is_asked {
            eprintln!("tidegate: the replay to `{to}` {}", report.end);
        }
        Ok(match (is_asked, failed) {
            (true, _) => Ended::Asked,
            (false, true) => Ended::Failed,
            (false, false) => Ended::Well,
        })
    }
}

/// What nobody gave up, as in a buffer, goes to the component of its name, where there is one.
fn at_home(ways: Ways, goods: &Goods, plan: &Plan) -> Ways {
    if goods.what == "records" && plan.node(&goods.name).is_some() && !ways.is_empty() {
        return Ways::from([(Some(goods.name.clone()), ways.values().sum())]);
    }
    ways
}

/// One run, for the letters that go to one component.
struct Pass<'a> {
    plan: &'a Plan,
    files: &'a Files,
    goods: &'a Goods,
    to: String,
    origin: Option<String>,
    until: u64,
    desk: &'a Desk,
}

enum Ended {
    Well,
    /// The pipeline failed.
    Failed,
    /// A signal asked for it.
    Asked,
    /// The file is wrong.
    Wrong,
}

/// A data directory for what only a replay keeps, removed with all that is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-replay-{}", std::process::id()));
        // A component that cannot write there says so itself.
        drop(std::fs::create_dir_all(&folder));
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What became of each letter.
fn ledger(goods: &Goods, meant: u64, tally: &Tally) -> String {
    let Goods { name, what, .. } = goods;
    let rest = meant.saturating_sub(tally.done() + tally.refused + tally.given_back);
    let mut text = format!("{} {what} of `{name}` were meant\n", grouped(meant));
    for (count, what) in [
        (tally.delivered, "delivered, and marked as done"),
        (tally.filtered, "filtered or absorbed on their way, and marked as done"),
        (tally.refused, "refused again for good; they stay, with the new cause and time"),
        (tally.given_back, "given back for now; they stay"),
        (rest, "not tried to the end; they stay as they were"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {:>9}  {what}", grouped(count));
        }
    }
    let mut causes: Vec<_> = tally.causes.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if !causes.is_empty() {
        text.push_str("why they stay:\n");
    }
    for (cause, count) in causes.iter().take(8) {
        let _ = writeln!(text, "  {:>9}  {cause}", grouped(**count));
    }
    let rest = causes.iter().skip(8).map(|(_, count)| **count).sum::<u64>() + tally.other_causes;
    if rest > 0 {
        let _ = writeln!(text, "  {:>9}  for other reasons", grouped(rest));
    }
    text
}
