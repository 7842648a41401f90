//! `tidegate test`: the unit tests of the pipeline file.

use tidegate_components::contract::Depth;
use tidegate_config::cases::{CaseResult, Failure, run_cases};
use tidegate_config::files::Files;

use super::plans::{self, FileArgs};
use super::{Done, term};

/// Run the unit tests in pipeline files.
///
/// A test (under `tests:`) puts records into transforms and says what must come out of them. Sources and sinks are not
/// started, and time passes at once for transforms that wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate test pipeline.yaml
  tidegate test pipeline.yaml --json

A test in the file:
  tests:
    - name: errors are kept
      inputs:
        - { insert_at: parse, type: raw, value: '{\"level\":\"error\"}' }
      outputs:
        - extract_from: keep_errors
          conditions: [{ type: vrl, source: '.level == \"error\"' }]")]
pub(super) struct Test {
    #[command(flatten)]
    files: FileArgs,
    /// One JSON object for each test.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(self) -> Done {
        let planned = self.files.plan(Depth::Values);
        let Some(plan) = &planned.plan else { return Done::Wrong };
        if plan.cases.is_empty() {
            eprintln!("tidegate: the files hold no tests; `tidegate test --help` shows one");
            return Done::Wrong;
        }
        let results = run_cases(plan, &plans::context());
        let failed = results.iter().filter(|result| !result.failures.is_empty()).count();
        for result in &results {
            term::print(&if self.json { json(result, &planned.files) } else { text(result, &planned.files) });
        }
        if !self.json {
            term::print(&format!("{} passed, {failed} failed\n", results.len() - failed));
        }
        if failed == 0 { Done::Well } else { Done::Failed }
    }
}

fn text(result: &CaseResult, files: &Files) -> String {
    let mark = if result.failures.is_empty() { "ok    " } else { "FAILED" };
    let why: String =
        result.failures.iter().map(|failure| format!("         {}\n", indented(&said(failure, files)))).collect();
    format!("{mark} {}\n{why}", result.name)
}

/// The place of a failure, and what was found there.
fn said(failure: &Failure, files: &Files) -> String {
    format!("{}:{}: {}", files.get(failure.place.file).name, files.position(failure.place), failure.text)
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n         ")
}

fn json(result: &CaseResult, files: &Files) -> String {
    let failures: Vec<String> = result.failures.iter().map(|failure| said(failure, files)).collect();
    let object = serde_json::json!({ "name": result.name, "passed": failures.is_empty(), "failures": failures });
    format!("{object}\n")
}
