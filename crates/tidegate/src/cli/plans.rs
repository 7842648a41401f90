//! From the paths on the command line to a checked plan, with everything that was found wrong printed.

use std::path::PathBuf;

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::files::Files;
use tidegate_config::interpolate::process_environment;
use tidegate_config::load::{Given, load_texts};
use tidegate_config::problem::{Look, problems_to_json, render};
use tidegate_config::wire::{Wired, try_wire};
use tidegate_config::{Code, Loaded, Plan, Planned, Problem, Problems, Severity, load, plan};

use super::term;

/// Which pipeline files.
#[derive(Debug, clap::Args)]
pub(super) struct FileArgs {
    /// Pipeline files (YAML, TOML, JSON) or directories of them; several are read as one.
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

impl FileArgs {
    /// Reads and checks the files, and prints what is wrong with them to standard error.
    pub(super) fn plan(&self, depth: Depth) -> Planned {
        let planned = plan_of(self.load(), depth);
        show(&planned);
        planned
    }

    /// Reads and checks them, and prints nothing.
    pub(super) fn plan_silently(&self, depth: Depth) -> Planned {
        plan_of(self.load(), depth)
    }

    fn load(&self) -> Loaded {
        load(&self.files, &process_environment)
    }
}

/// The plan of a text that is part of the program.
pub(super) fn plan_of_text(text: Given<'_>) -> Planned {
    plan_of(load_texts(&[text], &process_environment), Depth::Surroundings)
}

fn plan_of(loaded: Loaded, depth: Depth) -> Planned {
    plan(loaded, &context(), depth)
}

/// What components are given before a plan says where their data is.
pub(super) fn context() -> BuildContext {
    let context = BuildContext::new("/var/lib/tidegate");
    match host_name() {
        Some(name) => context.host(name),
        None => context,
    }
}

/// The name of this machine.
fn host_name() -> Option<String> {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    read.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Wires a plan and starts nothing: whether the budget and the settle windows can hold it is known only then.
pub(super) fn try_wiring(planned: &mut Planned) {
    let Some(plan) = &planned.plan else { return };
    match wired(plan, |_| ()) {
        Ok(()) => {}
        Err(problems) => {
            planned.problems.extend(problems);
            planned.plan = None;
        }
    }
}

/// Hands `plan`, wired and not started, to `look`. Its addresses are not taken: it may be running.
pub(super) fn wired<T>(plan: &Plan, look: impl FnOnce(&Wired) -> T) -> Result<T, Problems> {
    // Components make their timers and sockets within a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        let mut problems = Problems::new();
        problems.push(Problem::new(Code::CannotBuild, format!("there is no runtime: {error}")));
        problems
    })?;
    let _within = runtime.enter();
    try_wire(plan, &context(), look)
}

/// Prints errors and warnings.
pub(super) fn show(planned: &Planned) {
    show_problems(&planned.files, &planned.problems);
}

/// Prints what is wrong, with its places in the files.
pub(super) fn show_problems(files: &Files, problems: &Problems) {
    let look = Look { colour: term::has_colour(), width: term::width() };
    eprint!("{}", render(files, problems, look));
    if let Some(first) = problems.sorted().iter().find(|problem| problem.severity() == Severity::Error) {
        eprintln!("`tidegate explain {}` says more", first.code);
    }
}

/// Errors and warnings for machines, as one array.
pub(super) fn show_json(planned: &Planned) {
    term::print(&format!("{:#}\n", problems_to_json(&planned.files, &planned.problems)));
}
