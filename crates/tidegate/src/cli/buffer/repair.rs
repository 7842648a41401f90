//! `tidegate buffer repair`.

use std::io::ErrorKind;
use std::path::PathBuf;

use tidegate_components::buffers;
use tidegate_config::words::grouped;

use crate::cli::{Done, term};

/// Which buffer.
#[derive(Debug, clap::Args)]
pub(super) struct Repair {
    /// The component whose buffer is meant.
    #[arg(value_name = "COMPONENT")]
    name: String,
    /// The `data_dir` of the pipeline.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tidegate")]
    data_dir: PathBuf,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Repair {
    pub(super) fn run(&self) -> Done {
        let known = buffers::names(&self.data_dir).unwrap_or_default();
        if !known.contains(&self.name) {
            super::no_such_buffer(&self.name, &known, &self.data_dir);
            return Done::Wrong;
        }
        let repaired = match buffers::repair(&self.data_dir, &self.name, self.dry_run) {
            Ok(repaired) => repaired,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                eprintln!("tidegate: a pipeline has the buffer of {} open; stop it first", self.name);
                return Done::Failed;
            }
            Err(error) => {
                eprintln!("tidegate: the buffer of {}: {error}", self.name);
                return Done::Failed;
            }
        };
        let mut text = String::new();
        for mend in &repaired.mends {
            text.push_str(&format!("{}: {mend}\n", self.name));
        }
        let state = match (repaired.mends.is_empty(), self.dry_run) {
            (true, _) => "nothing to repair",
            (false, true) => "would be repaired so; nothing was changed",
            (false, false) => "repaired",
        };
        let (gone, waiting) = (grouped(repaired.gone), grouped(repaired.waiting));
        text.push_str(&format!("{}: {state}; {gone} records are gone, {waiting} wait\n", self.name));
        term::print(&text);
        Done::Well
    }
}
