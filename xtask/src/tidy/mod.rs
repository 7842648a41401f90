//! `cargo xtask tidy`: the rules of this repository that compilers do not check.
//!
//! Each rule is a small module with tests that plant a violation. A rule reads the [`Tree`] and reports
//! [`Finding`]s; exemptions (`// tidy: allow(rule): reason`) are applied here, once for all rules.

mod adr;
mod architecture;
mod arrows;
mod banned_calls;
mod commands;
mod dependencies;
mod exempt;
mod file_size;
mod functions;
mod links;
mod lints;
mod machine_paths;
mod markdown;
mod markers;
mod module_docs;
mod mutant_table;
mod real_time;
mod source;
mod tree;
mod words;

use std::fmt;

pub(crate) use source::{Place, Source};
pub(crate) use tree::{Tree, paths};

use crate::help;
use crate::shell::{Fail, bold, dim, green, red, yellow};
use crate::workspace::Workspace;

/// How serious a finding is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Level {
    /// Makes tidy red.
    Error,
    /// Is printed, no more.
    Warning,
}

/// One violation of one rule, with what to do about it.
#[derive(Clone, Debug)]
struct Finding {
    rule: &'static str,
    path: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    level: Level,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => red("error"),
            Level::Warning => yellow("warning"),
        };
        let place = if self.line == 0 { self.path.clone() } else { format!("{}:{}", self.path, self.line) };
        write!(f, "{level} {}: {} {}", bold(place), self.message, dim(format!("[{}]", self.rule)))
    }
}

/// Where a rule puts its findings.
struct Report {
    rule: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    fn error(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.push(path, line, Level::Error, message.into());
    }

    fn warning(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.push(path, line, Level::Warning, message.into());
    }

    fn push(&mut self, path: &str, line: usize, level: Level, message: String) {
        self.findings.push(Finding { rule: self.rule, path: path.to_owned(), line, level, message });
    }
}

/// A rule: its name, what it refuses, and the check.
struct Rule {
    name: &'static str,
    refuses: &'static str,
    run: fn(&Tree, &mut Report),
}

const RULES: &[Rule] = &[
    arrows::RULE,
    architecture::RULE,
    lints::RULE,
    dependencies::RULE,
    file_size::RULE,
    functions::RULE,
    module_docs::RULE,
    banned_calls::RULE,
    real_time::RULE,
    markers::RULE,
    words::RULE,
    machine_paths::RULE,
    adr::RULE,
    links::RULE,
    commands::RULE,
    mutant_table::RULE,
];

/// Runs all rules, prints the findings, fails when one of them is an error.
pub(crate) fn run(workspace: &Workspace, args: &[String]) -> Result<(), Fail> {
    for arg in args {
        match arg.as_str() {
            "--list" => {
                list();
                return Ok(());
            }
            "--fix" => adr::write_index(&workspace.root)?,
            other => return Err(help::unknown_option("tidy", other)),
        }
    }
    let tree = Tree::read(&workspace.root)?.with_members(workspace.members.clone());
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    if errors == 0 {
        let warned = findings.len();
        println!("{}: {} rules, {} files, {warned} warnings", green("tidy"), RULES.len(), tree.files.len());
        return Ok(());
    }
    Err(Fail::red(format!("tidy found {errors} errors")))
}

fn list() {
    for rule in RULES {
        println!("{:<16}{}", rule.name, rule.refuses);
    }
}

/// The findings of all rules that no exemption covers, in order of place.
fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        let mut report = Report { rule: rule.name, findings: Vec::new() };
        (rule.run)(tree, &mut report);
        findings.append(&mut report.findings);
    }
    let mut findings = exempt::apply(tree, findings);
    findings.sort_by(|left, right| (&left.path, left.line).cmp(&(&right.path, right.line)));
    findings
}

/// The messages of one rule on a tree made of these files; for the tests of the rules.
#[cfg(test)]
fn findings_of(rule: &Rule, files: &[(&str, &str)]) -> Vec<String> {
    findings_in(rule, &Tree::fake(files))
}

/// The messages of one rule on this tree, as `path:line: message`; for the tests of the rules.
#[cfg(test)]
fn findings_in(rule: &Rule, tree: &Tree) -> Vec<String> {
    let mut report = Report { rule: rule.name, findings: Vec::new() };
    (rule.run)(tree, &mut report);
    report.findings.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules hold for this repository: `cargo test` is enough to find out.
    #[test]
    fn the_repository_is_tidy() {
        let workspace = Workspace::load().unwrap();
        let tree = Tree::read(&workspace.root).unwrap().with_members(workspace.members);
        let errors: Vec<String> =
            check(&tree).iter().filter(|f| f.level == Level::Error).map(Finding::to_string).collect();
        assert!(errors.is_empty(), "\n{}", errors.join("\n"));
    }

    #[test]
    fn names_of_rules_are_distinct() {
        let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
