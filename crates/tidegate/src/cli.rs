//! The command line: one file for each verb.
//!
//! Exit codes: 0 all is well; 1 the pipeline or a test failed; 2 the command line or a pipeline file is wrong.

mod audit;
mod buffer;
mod buffers;
mod check;
mod control;
mod demo;
mod dlq;
mod draining;
mod explain;
mod graph;
mod ledger;
mod list;
mod logs;
mod plans;
mod refused;
mod reload;
mod report;
mod run;
mod schema;
mod signals;
mod status;
mod term;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Data streams that hold under pressure: a slow sink slows its sources instead of overflowing, all memory comes from
/// one budget, and every record is accounted for.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Examples:
  tidegate demo                         a generator and a slow sink: watch the pressure
  tidegate check pipeline.yaml          find every mistake; nothing is started
  tidegate run pipeline.yaml            run it until Ctrl-C, then drain and print the ledger
  tidegate explain pipeline.yaml        what it holds, where it waits, what it may lose")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Check(check::Check),
    Graph(graph::Graph),
    Explain(explain::Explain),
    Test(test::Test),
    Schema(schema::Schema),
    List(list::List),
    Demo(demo::Demo),
    Audit(audit::AuditArgs),
    Buffer(buffer::Buffer),
    Dlq(dlq::Dlq),
}

/// How a verb ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Done {
    /// All is well.
    Well,
    /// The pipeline failed, lost records that no policy gave up, or a test failed.
    Failed,
    /// The command line or a pipeline file is wrong.
    Wrong,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        match done {
            Done::Well => Self::SUCCESS,
            Done::Failed => Self::from(1),
            Done::Wrong => Self::from(2),
        }
    }
}

/// Reads the command line and runs its verb.
pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(run) => run.run(),
        Verb::Check(check) => check.run(),
        Verb::Graph(graph) => graph.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::Test(test) => test.run(),
        Verb::Schema(schema) => schema.run(),
        Verb::List(list) => list.run(),
        Verb::Demo(demo) => demo.run(),
        Verb::Audit(audit) => audit.run(),
        Verb::Buffer(buffer) => buffer.run(),
        Verb::Dlq(dlq) => dlq.run(),
    };
    done.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_verb_has_an_example() {
        use clap::CommandFactory as _;
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let help = verb.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{} has no example:\n{help}", verb.get_name());
        }
    }
}
