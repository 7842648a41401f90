//! `tidegate explain`: the plan in words and numbers.

use tidegate_components::contract::Depth;
use tidegate_config::Code;
use tidegate_config::explain::explain;
use tidegate_config::nearest::nearest;

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
            && let Some(word) = only.to_str().filter(|word| is_like_a_code(word))
        {
            return explain_code(word);
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

/// Whether a word is written as codes are: a letter, and digits behind it.
fn is_like_a_code(word: &str) -> bool {
    let digits = word.strip_prefix(['E', 'e', 'W', 'w']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn explain_code(word: &str) -> Done {
    let Some(code) = Code::parse(word) else {
        let near = nearest(word, Code::ALL.iter().map(|code| code.as_str()));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        eprintln!("tidegate: no message has the code {word}{near}; docs/errors.md lists them all");
        return Done::Wrong;
    };
    term::print(&format!("{code}: {}\n\n{}\n", code.title(), code.more()));
    Done::Well
}
