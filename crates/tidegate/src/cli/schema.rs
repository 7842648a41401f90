//! `tidegate schema`: the JSON Schema of pipeline files.

use super::{Done, term};

/// Print the JSON Schema of pipeline files, for editors.
///
/// With it they complete keys, show what each is for, and mark mistakes while you type.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate schema > tidegate.schema.json
  # first line of a YAML file, for editors with the YAML language server:
  # yaml-language-server: $schema=tidegate.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Done {
        term::print(&format!("{:#}\n", tidegate_config::schema::schema()));
        Done::Well
    }
}
