//! Rule `real-time`: an async test that lets time pass runs on tokio's paused clock.

use super::source::Function;
use super::{Report, Rule, Source, Tree};

pub(super) const RULE: Rule =
    Rule { name: "real-time", refuses: "a `#[tokio::test]` that sleeps without `start_paused = true`", run };

const WAITS: [&str; 3] = ["sleep", "sleep_until", "interval"];

fn run(tree: &Tree, report: &mut Report) {
    for source in &tree.sources {
        for function in source.functions.iter().filter(|function| is_unpaused(function)) {
            if let Some(line) = waits(source, function) {
                let message = format!(
                    "test `{}` lets real time pass: write `#[tokio::test(start_paused = true)]`",
                    function.name
                );
                report.error(&source.path, line, message);
            }
        }
    }
}

fn is_unpaused(function: &Function) -> bool {
    let is_test = function.attributes.iter().any(|text| text.starts_with("tokio::test"));
    is_test && !function.attributes.iter().any(|text| text.contains("start_paused=true"))
}

/// The line of the first wait in a function that does not pause the clock itself.
fn waits(source: &Source, function: &Function) -> Option<usize> {
    let has =
        |name: &str| source.finds(&[name, "("]).find(|at| function.lines.contains(&source.tokens[*at].line)).is_some();
    if has("pause") {
        return None;
    }
    WAITS.iter().filter(|name| has(name)).find_map(|name| {
        let pattern = [*name, "("];
        let mut lines = source.finds(&pattern).map(|at| source.tokens[at].line);
        lines.find(|line| function.lines.contains(line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    fn check(attribute: &str, body: &str) -> usize {
        let text = format!("//! Docs.\n#[{attribute}]\nasync fn f() {{ {body} }}\nfn sleep(d: u8) {{}}\n");
        findings_of(&RULE, &[("crates/runtime/tests/a.rs", text.as_str())]).len()
    }

    #[test]
    fn a_test_that_sleeps_in_real_time_is_found() {
        assert_eq!(check("tokio::test", "tokio::time::sleep(d).await;"), 1);
        assert_eq!(check("tokio::test(flavor = \"current_thread\")", "interval(d);"), 1);
        assert_eq!(check("tokio::test", "tokio::time::pause(); sleep(d).await;"), 0);
        assert_eq!(check("tokio::test(start_paused = true)", "sleep(d).await;"), 0);
        assert_eq!(check("tokio::test", "work().await;"), 0);
    }
}
