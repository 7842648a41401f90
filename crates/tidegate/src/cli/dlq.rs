//! `tidegate dlq`: the dead letters of pipelines: listed, shown, replayed and purged, whether a pipeline runs or not.

mod ls;
mod purge;
mod replay;
mod show;

use std::path::{Path, PathBuf};

use tidegate_components::letters::{self, Stock, Wish};
use tidegate_config::nearest::did_you_mean;

pub(super) use self::replay::{Goods, Passing};
use super::Done;

/// Look at dead letters, replay them, purge them, also while the pipeline that writes them runs.
///
/// Records that a component refused for good are kept by `dead_letter: true`, each with the reason. A letter that is
/// delivered by a replay, or purged, is marked as done; the others stay.
///
/// `--where` takes a condition in VRL. The record is at the root, and what is known of the letter under `.dead_letter`:
/// `cause`, `kind` (permanent or transient), `origin`, `attempts`, `first`, `last` and `number`. A condition that fails on a
/// letter is not true of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate dlq ls                                     how many, how old, and why
  tidegate dlq show search --limit 3                  the oldest, with the reason
  tidegate dlq show search --where 'contains(string!(.dead_letter.cause), \"413\")' --json
  tidegate dlq replay pipeline.yaml search            deliver them, now that the receiver is mended
  tidegate dlq replay pipeline.yaml search --to parse --where '.level == \"error\"'
  tidegate dlq purge search --older-than 30d --yes")]
pub(super) struct Dlq {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the dead letter queues: letters, bytes, times, and why the letters are there.
    Ls(ls::Ls),
    /// Print letters, the oldest first: why, where from, how often, when, and the record.
    Show(show::Show),
    /// Run the pipeline from one component on for the letters alone; what is delivered is marked as done.
    Replay(replay::Replay),
    /// Give letters up for good.
    Purge(purge::Purge),
}

impl Dlq {
    pub(super) fn run(self) -> Done {
        match self.verb {
            Verb::Ls(ls) => ls.run(),
            Verb::Show(show) => show.run(),
            Verb::Replay(replay) => replay.run(),
            Verb::Purge(purge) => purge.run(),
        }
    }
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// The component whose letters are meant, or the sink that keeps them.
    #[arg(value_name = "NAME")]
    name: String,
    /// The `data_dir` of the pipeline.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    data_dir: PathBuf,
    /// Only letters of which this is true: VRL, with what is known of the letter under `.dead_letter`.
    #[arg(long = "where", value_name = "EXPR")]
    wish: Option<String>,
}

impl Which {
    /// The letters, and which of them are meant. `None`: there are none, or the condition is wrong; that was said.
    fn find(&self) -> Option<(Stock, Option<Wish>)> {
        Some((stock_of(&self.data_dir, &self.name)?, wish(self.wish.as_deref())?))
    }
}

fn stock_of(data_dir: &Path, name: &str) -> Option<Stock> {
    match Stock::of_letters(data_dir, name) {
        Ok(stock) => Some(stock),
        Err(error) => {
            let known = letters::names(data_dir).unwrap_or_default();
            let near = did_you_mean(name, known.iter().map(String::as_str));
            eprintln!("tidegate: {error}{}", near.map(|help| format!("; {help}")).unwrap_or_default());
            None
        }
    }
}

/// Compiles a condition. `None`: it is wrong, and that was said.
#[expect(clippy::option_option, reason = "none was asked for, or it is wrong")]
pub(super) fn wish(source: Option<&str>) -> Option<Option<Wish>> {
    match source.map(Wish::compile).transpose() {
        Ok(wish) => Some(wish),
        Err(found) => {
            eprintln!("tidegate: --where is no condition:\n{found}");
            None
        }
    }
}
