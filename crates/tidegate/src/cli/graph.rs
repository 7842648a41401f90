//! `tidegate graph`: the plan as a picture.

use tidegate_components::contract::Depth;
use tidegate_config::picture::{graph_json, graph_mermaid, graph_text};

use super::plans::FileArgs;
use super::{Done, term};

/// How the picture is drawn.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Boxes and arrows in text.
    #[default]
    Text,
    /// A Mermaid flowchart, for Markdown.
    Mermaid,
    /// Nodes and edges as one JSON object.
    Json,
}

/// Draw the plan: who sends to whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate graph pipeline.yaml
  tidegate graph pipeline.yaml --json | jq .nodes
  tidegate graph pipeline.yaml --format mermaid >> README.md")]
pub(super) struct Graph {
    #[command(flatten)]
    files: FileArgs,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// One JSON object: `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Graph {
    pub(super) fn run(self) -> Done {
        let planned = self.files.plan(Depth::Values);
        let Some(plan) = &planned.plan else { return Done::Wrong };
        let text = match if self.json { Format::Json } else { self.format } {
            Format::Text => graph_text(plan),
            Format::Mermaid => graph_mermaid(plan),
            Format::Json => format!("{:#}\n", graph_json(plan)),
        };
        term::print(&text);
        Done::Well
    }
}
