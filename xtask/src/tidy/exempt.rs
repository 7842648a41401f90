//! Exemptions: `// tidy: allow(rule): reason` on the line of a finding or on the line above it.
//!
//! An exemption without a reason, for a rule that does not exist, or that exempts nothing is itself a finding: the
//! list of exemptions is then always the list of exceptions that are still needed.

use super::{Finding, Level, RULES, Tree};

const MARK: &str = "// tidy: allow(";
const MIN_REASON: usize = 10;

struct Exemption<'a> {
    path: &'a str,
    line: usize,
    rule: &'a str,
    reason: &'a str,
    used: bool,
}

/// The findings that no exemption covers, and what is wrong with the exemptions.
pub(super) fn apply(tree: &Tree, findings: Vec<Finding>) -> Vec<Finding> {
    let mut exemptions = collect(tree);
    let mut left = Vec::new();
    for finding in findings {
        let covering = exemptions.iter_mut().find(|exemption| exemption.covers(&finding));
        match covering {
            Some(exemption) => exemption.used = true,
            None => left.push(finding),
        }
    }
    left.extend(exemptions.iter().filter_map(Exemption::fault));
    left
}

fn collect(tree: &Tree) -> Vec<Exemption<'_>> {
    let mut exemptions = Vec::new();
    // The tool's own sources speak of exemptions; they have none.
    let files = tree.files.iter().filter(|file| file.path.ends_with(".rs") && !file.path.starts_with("xtask/"));
    for file in files {
        for (at, line) in file.text.lines().enumerate() {
            let Some((_, rest)) = line.split_once(MARK) else { continue };
            let (rule, rest) = rest.split_once(')').unwrap_or((rest, ""));
            let reason = rest.trim_start_matches(':').trim();
            exemptions.push(Exemption { path: &file.path, line: at + 1, rule, reason, used: false });
        }
    }
    exemptions
}

impl Exemption<'_> {
    fn covers(&self, finding: &Finding) -> bool {
        self.reason.len() >= MIN_REASON
            && finding.rule == self.rule
            && finding.path == self.path
            && (finding.line == self.line || finding.line == self.line + 1)
    }

    fn fault(&self) -> Option<Finding> {
        let message = if RULES.iter().all(|rule| rule.name != self.rule) {
            format!("there is no rule `{}` to be exempt from; see `cargo xtask tidy --list`", self.rule)
        } else if self.reason.len() < MIN_REASON {
            format!("an exemption needs its reason: {MARK}{}): why this line is right", self.rule)
        } else if !self.used {
            "this exemption exempts nothing any more: remove it".to_owned()
        } else {
            return None;
        };
        Some(Finding { rule: "exempt", path: self.path.to_owned(), line: self.line, level: Level::Error, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "    thread::sleep(SHORT);\n";

    fn check(comment: &str) -> Vec<String> {
        let text = format!("//! Docs.\nfn f() {{\n    {comment}\n{BAD}}}\n");
        let tree = Tree::fake(&[("crates/runtime/src/a.rs", text.as_str())]);
        let found = super::super::check(&tree);
        let about_this = found.into_iter().filter(|f| matches!(f.rule, "exempt" | "banned-calls"));
        about_this.map(|f| f.message).collect()
    }

    #[test]
    fn a_reason_exempts_the_next_line() {
        assert_eq!(check("// tidy: allow(banned-calls): the device needs 1 us to settle"), [""; 0]);
    }

    #[test]
    fn without_a_reason_nothing_is_exempt() {
        let found = check("// tidy: allow(banned-calls)");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("needs its reason"));
    }

    #[test]
    fn an_unknown_rule_and_an_idle_exemption_are_findings() {
        assert!(check("// tidy: allow(baned-calls): a long enough reason")[0].contains("no rule `baned-calls`"));
        let found = check("// tidy: allow(functions): a long enough reason");
        assert!(found.iter().any(|message| message.contains("exempts nothing")), "{found:?}");
    }
}
