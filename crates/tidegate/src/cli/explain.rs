//! `tidegate explain`: the plan in words and numbers.

use tidegate_components::contract::Depth;
use tidegate_config::Code;
use tidegate_config::explain::explain;

use super::plans::FileArgs;
use super::{Done, plans, term};

/// Say what a plan holds, where it waits, what it may lose.
///
/// In words and numbers: the memory of each part, what happens under pressure, and what each pair of source and sink
/// guarantees. Nothing is started. With the code of a message instead of a file: what that means, and how to mend it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate explain pipeline.yaml
  tidegate explain pipeline.yaml --json | jq .memory
  tidegate explain E0301                       what that code in a message means")]
pub(super) struct Explain {
    #[command(flatten)]
    files: FileArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self) -> Done {
        if let [only] = self.files.files.as_slice()
            && !only.exists()
            && let Some(code) = only.to_str().and_then(Code::parse)
        {
            term::print(&format!("{code}: {}\n\n{}\n", code.title(), code.more()));
            return Done::Well;
        }
        let planned = self.files.plan(Depth::Values);
        let Some(plan) = &planned.plan else { return Done::Wrong };
        match plans::wired(plan, |wired| explain(plan, wired)) {
            Ok(explanation) => {
                let text = if self.json { format!("{:#}\n", explanation.to_json()) } else { explanation.to_text() };
                term::print(&text);
                Done::Well
            }
            Err(problems) => {
                plans::show_problems(&planned.files, &problems);
                Done::Wrong
            }
        }
    }
}
