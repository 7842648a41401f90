//! `tidegate demo`: pressure, shown without a file.

use tidegate_components::value::Period;
use tidegate_config::load::Given;
use tidegate_config::tree::Format;

use super::plans::{self, plan_of_text};
use super::run::RunOptions;
use super::{Done, term};

/// The pipeline of the demonstration; `SINK_RATE` is replaced.
const PIPELINE: &str = include_str!("demo.yaml");

/// Show pressure at work, without a file.
///
/// A generator that could make a million records a second, a parser, and a sink that takes a few thousand, for 15 seconds.
/// The source is slowed, memory stays small, and the ledger at the end balances.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate demo
  tidegate demo --sink-rate 100000 --for 5s
  tidegate demo --print > pipeline.yaml     the pipeline file, to begin with")]
pub(super) struct Demo {
    /// Records that the sink takes in a second.
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    sink_rate: u32,
    /// Print the pipeline file and do nothing.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    options: RunOptions,
}

impl Demo {
    pub(super) fn run(self) -> Done {
        let text = PIPELINE.replace("SINK_RATE", &self.sink_rate.max(1).to_string());
        if self.print {
            term::print(&text);
            return Done::Well;
        }
        let planned = plan_of_text(Given { name: "demo.yaml", format: Format::Yaml, text: &text });
        plans::show(&planned);
        if planned.plan.is_none() {
            return Done::Wrong;
        }
        eprintln!(
            "A generator, a parser, and a sink that takes {} records a second. Ctrl-C ends it.\n",
            self.sink_rate
        );
        let options = self.options.at_most(Period::secs(15));
        options.run(planned, None)
    }
}
