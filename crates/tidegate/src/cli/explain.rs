//! `tidegate explain`: the plan in words and numbers.

use tidegate_components::contract::Depth;

use super::plans::FileArgs;
use super::{Done, plans, term};

/// Say in words and numbers what a plan holds in memory and where, where it waits, what it may lose, and what each pair
/// of source and sink guarantees. Nothing is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate explain pipeline.yaml
  tidegate explain pipeline.yaml --json | jq .budget")]
pub(super) struct Explain {
    #[command(flatten)]
    files: FileArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self) -> Done {
        let planned = self.files.plan(Depth::Values);
        let Some(plan) = &planned.plan else { return Done::Wrong };
        plans::in_runtime(|| tidegate_config::explain::explain(plan, &plans::context())).map_or_else(
            |problems| {
                plans::show_problems(&planned.files, &problems);
                Done::Wrong
            },
            |explained| {
                term::print(&if self.json { format!("{:#}\n", explained.json()) } else { explained.to_string() });
                Done::Well
            },
        )
    }
}
