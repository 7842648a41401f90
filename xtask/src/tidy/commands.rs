//! Rule `commands`: the commands that the README gives are the ones that CI runs, and they name what exists.

use super::{Report, Rule, Tree};

pub(super) const RULE: Rule = Rule {
    name: "commands",
    refuses: "a README without the test command, or a `.ci/run` that runs other tests than the README says",
    run,
};

const README: &str = "README.md";
const CI: &str = ".ci/run";
const TEST: &str = "cargo xtask test";

fn run(tree: &Tree, report: &mut Report) {
    for path in [README, CI] {
        match tree.text(path) {
            None => report.error(path, 0, "the file is missing"),
            Some(text) if !has_command(text, TEST) => {
                report.error(
                    path,
                    0,
                    format!("has no line with the command `{TEST}`: README and CI run the same tests"),
                );
            }
            Some(_) => {}
        }
    }
}

/// A line that is this command, alone or as the end of a line of a script.
fn has_command(text: &str, command: &str) -> bool {
    text.lines().any(|line| line.split('#').next().unwrap_or_default().trim_end().ends_with(command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    #[test]
    fn readme_and_ci_run_the_same_tests() {
        let readme = "```sh\ncargo xtask test    # all tests\n```\n";
        assert_eq!(findings_of(&RULE, &[(README, readme), (CI, "step tests cargo xtask test\n")]), [""; 0]);
        let found = findings_of(&RULE, &[(README, readme), (CI, "cargo test --lib\n")]);
        assert!(found[0].starts_with(".ci/run:0: has no line"), "{found:?}");
        assert_eq!(findings_of(&RULE, &[]).len(), 2);
    }
}
