//! `tidegate check`: every mistake of the files, and nothing started.

use tidegate_components::contract::Depth;
use tidegate_config::Severity;

use super::plans::{self, FileArgs};
use super::{Done, term};

/// Find every mistake in pipeline files, with its place and what helps.
///
/// Nothing is started. Paths and ports of this machine are looked at too, unless `--offline` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate check pipeline.yaml
  tidegate check /etc/tidegate/ --json
  tidegate check pipeline.yaml --offline    on another machine than the one that will run it")]
pub(super) struct Check {
    #[command(flatten)]
    files: FileArgs,
    /// Look at the files alone, not at paths and ports of this machine.
    #[arg(long)]
    offline: bool,
    /// Warnings count as errors.
    #[arg(long)]
    deny_warnings: bool,
    /// Problems as JSON objects on standard output.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Done {
        let depth = if self.offline { Depth::Values } else { Depth::Surroundings };
        let mut planned = self.files.plan_silently(depth);
        plans::try_wiring(&mut planned);
        if self.json {
            plans::show_json(&planned);
        } else {
            plans::show(&planned);
        }
        let warned = planned.problems.count(Severity::Warning) > 0;
        match &planned.plan {
            Some(plan) if !(self.deny_warnings && warned) => {
                if !self.json {
                    let tests = plan.cases.len();
                    let tests = if tests > 0 {
                        format!(", {tests} unit tests (run them with `tidegate test`)")
                    } else {
                        String::new()
                    };
                    term::print(&format!("{} components are sound{tests}\n", plan.nodes.len()));
                }
                Done::Well
            }
            _ => Done::Wrong,
        }
    }
}
