//! `tidegate buffer replay`: what was left in a buffer, through the rest of a pipeline.

use std::io::ErrorKind;
use std::path::PathBuf;

use tidegate_components::buffers;
use tidegate_components::contract::Depth;
use tidegate_components::letters::Stock;
use tidegate_config::Planned;

use crate::cli::Done;
use crate::cli::dlq::{Goods, Passing};
use crate::cli::plans::FileArgs;

/// Which buffer, and where its records go.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// The component whose buffer it was.
    #[arg(value_name = "COMPONENT")]
    name: String,
    /// The pipeline file (YAML, TOML, JSON), or a directory of them.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    passing: Passing,
}

impl Replay {
    pub(super) fn run(self) -> Done {
        let Planned { plan: Some(plan), files, .. } = FileArgs { files: vec![self.file] }.plan(Depth::Values) else {
            return Done::Wrong;
        };
        let data_dir = &plan.settings.data_dir;
        let stock = match Stock::of_buffer(data_dir, &self.name) {
            Ok(stock) => stock,
            Err(_) => {
                super::no_such_buffer(&self.name, &buffers::names(data_dir).unwrap_or_default(), data_dir);
                return Done::Wrong;
            }
        };
        let lock = match stock.lock() {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                eprintln!("tidegate: a pipeline has the buffer of {} open, and delivers it itself", self.name);
                return Done::Failed;
            }
            Err(error) => {
                eprintln!("tidegate: the buffer of {}: {error}", self.name);
                return Done::Failed;
            }
        };
        self.passing.run(&plan, &files, Goods { stock, name: self.name, what: "records", lock: Some(lock) })
    }
}
