//! Rule `links`: a relative link in a document leads to a file of the repository.

use super::{Report, Rule, Tree, markdown};

pub(super) const RULE: Rule = Rule { name: "links", refuses: "a relative link in a document that leads nowhere", run };

fn run(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in markdown::links(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let wanted = resolve(&file.path, path);
            let folder = format!("{}/", wanted.trim_end_matches('/'));
            if !tree.files.iter().any(|other| other.path == wanted || other.path.starts_with(&folder)) {
                report.error(&file.path, line, format!("the link to `{target}` leads nowhere"));
            }
        }
    }
}

/// `path` as seen from the folder of the document `from`.
fn resolve(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](../README.md#x) [b](adr/) [c](https://example.com/x) [d](gone.md)\n";
        let found = findings_of(&RULE, &[("docs/a.md", text), ("README.md", ""), ("docs/adr/README.md", "")]);
        assert_eq!(found, ["docs/a.md:1: the link to `gone.md` leads nowhere"]);
    }
}
