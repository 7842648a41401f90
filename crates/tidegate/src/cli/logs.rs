//! Logs of the program itself, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How the program's own logs look.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// A line of words.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Which logs, and how they look.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// What is logged: a level, or levels by module as in `warn,tidegate_components=debug`.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    log: String,
    /// How the logs look.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl LogArgs {
    /// Logs from now on. With `quiet`, warnings and errors alone.
    pub(super) fn start(&self, quiet: bool) -> Result<(), String> {
        let filter = if quiet { "warn" } else { &self.log };
        let filter: Targets = filter.parse().map_err(|error| format!("--log {filter}: {error}"))?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_timer(SystemTime)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal() && super::term::has_colour());
        let logs = tracing_subscriber::registry().with(filter);
        let started = match self.log_format {
            LogFormat::Text => logs.with(lines).try_init(),
            LogFormat::Json => logs.with(lines.json()).try_init(),
        };
        started.map_err(|error| error.to_string())
    }
}
