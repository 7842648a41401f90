//! `cargo xtask deny`: licences, bans and sources of the dependencies, by cargo-deny and `deny.toml`.

use crate::help;
use crate::shell::{self, Fail, yellow};
use crate::workspace::Workspace;

const INSTALL: &str = "install it with `cargo install --locked cargo-deny`";

/// Runs cargo-deny; without it fails with how to install it, or with `--if-installed` says so and succeeds.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    let mut optional = false;
    for arg in args {
        match arg.as_str() {
            "--if-installed" => optional = true,
            other => return Err(help::unknown_option("deny", other)),
        }
    }
    if !shell::has_cargo_tool("deny") {
        if optional {
            println!(
                "{}: cargo-deny is not installed, so licences, bans and sources were NOT checked; {INSTALL}",
                yellow("skipped")
            );
            return Ok(());
        }
        return Err(Fail::red(format!("cargo-deny is not installed; {INSTALL}")));
    }
    let mut command = shell::cargo();
    shell::run(command.current_dir(&workspace.root).args(["deny", "check", "bans", "licenses", "sources"]))
}
