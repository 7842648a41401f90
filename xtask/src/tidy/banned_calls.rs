//! Rule `banned-calls`: calls that break a promise of this project, each with what to use instead.
//!
//! The bans are a table: which tokens, where they are refused, and the replacement that the message names.

use super::{Place, Report, Rule, Source, Tree, arrows};

pub(super) const RULE: Rule = Rule {
    name: "banned-calls",
    refuses: "the wall clock, sleeps, unbounded channels, prints, unwraps, unsafe code, I/O in a pure crate, stray spawns",
    run,
};

/// Where a piece of code stands.
struct Scope<'a> {
    source: &'a Source,
    is_pure: bool,
    is_unsafe_crate: bool,
    is_test: bool,
}

impl Scope<'_> {
    fn is_tool(&self) -> bool {
        self.source.krate == "xtask"
    }

    fn is_library(&self) -> bool {
        self.source.place == Place::Library && !self.is_test
    }

    fn is_shipped(&self) -> bool {
        matches!(self.source.place, Place::Library | Place::Binary) && !self.is_test
    }
}

/// One line of the table.
struct Ban {
    /// Alternatives; each a sequence of tokens separated by blanks.
    calls: &'static [&'static str],
    applies: fn(&Scope<'_>) -> bool,
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        calls: &["Instant :: now", "SystemTime :: now"],
        applies: reads_the_wall_clock,
        instead: "take `now` as an argument (rules), from the stage clock (stages), or from tokio's clock, which tests can pause",
    },
    Ban {
        calls: &["thread :: sleep"],
        // The tool plays slow peers; clippy asks it for a reason at each place.
        applies: |scope| !scope.is_tool(),
        instead: "wait for the condition itself, or use tokio's time under a paused clock; a real sleep is a slow guess",
    },
    Ban {
        calls: &["unbounded_channel", "unbounded ( )", "channel ( )"],
        applies: |_| true,
        instead: "give the queue a capacity and say what happens at it: an edge, or a bounded channel for control",
    },
    Ban {
        calls: &["println !", "print !", "eprintln !", "eprint !"],
        applies: |scope| scope.is_library(),
        instead: "return it, count it, or report it as an event; only programs, examples and benches print",
    },
    Ban { calls: &["dbg !"], applies: |_| true, instead: "remove it" },
    Ban {
        calls: &[". unwrap ( )", ". expect (", ". unwrap_err ( )", ". expect_err ("],
        applies: |scope| scope.is_shipped(),
        instead: "return an error that says what to do, or write a match whose other arm upholds the invariant",
    },
    Ban {
        calls: &["unsafe"],
        applies: |scope| !scope.is_unsafe_crate,
        instead: "safe code; at most one crate may hold unsafe code, and it is marked so in ARCHITECTURE.md",
    },
    Ban {
        calls: &[
            "async",
            ". await",
            "std :: fs",
            "std :: net",
            "std :: io",
            "std :: process",
            "thread :: spawn",
            "rand ::",
        ],
        applies: |scope| scope.is_pure && scope.is_library(),
        instead: "this crate is pure: no I/O, no async, no threads, no randomness; take it as an argument or move it to runtime",
    },
    Ban {
        calls: &["tokio :: spawn", "spawn_local", "spawn_blocking", "thread :: spawn"],
        applies: |scope| scope.is_library() && !matches!(scope.source.krate.as_str(), "runtime" | "tck" | "sim"),
        instead: "only `runtime` spawns; hand it a stage",
    },
];

fn run(tree: &Tree, report: &mut Report) {
    let rows = arrows::rows(tree);
    for source in &tree.sources {
        let row = rows.iter().find(|row| row.name == source.krate);
        let is_pure = row.is_some_and(arrows::Row::is_pure);
        let is_unsafe_crate = row.is_some_and(arrows::Row::is_unsafe);
        for ban in BANS {
            for call in ban.calls {
                for at in calls(source, call) {
                    let token = &source.tokens[at];
                    let scope = Scope { source, is_pure, is_unsafe_crate, is_test: token.is_test };
                    if (ban.applies)(&scope) && !is_virtual_time(source, at) {
                        let name = call.replace(' ', "");
                        report.error(&source.path, token.line, format!("`{name}` is banned here: {}", ban.instead));
                    }
                }
            }
        }
    }
}

/// Benches and examples measure; the tool measures; everything else must be able to run under virtual time.
fn reads_the_wall_clock(scope: &Scope<'_>) -> bool {
    !scope.is_tool() && !matches!(scope.source.place, Place::Bench | Place::Example)
}

/// The positions of a call, also with a turbofish; not where it is a definition or, for a bare name, a method.
fn calls<'a>(source: &'a Source, call: &'a str) -> impl Iterator<Item = usize> + 'a {
    let pattern: Vec<&str> = call.split(' ').collect();
    let is_bare_call = pattern.last() == Some(&")") && pattern[0] != ".";
    (0..source.tokens.len()).filter(move |at| {
        let before = at.checked_sub(1).map(|before| source.tokens[before].text.as_str());
        let excluded = before == Some("fn") || (is_bare_call && before == Some("."));
        !excluded && matches_at(source, *at, &pattern)
    })
}

fn matches_at(source: &Source, start: usize, pattern: &[&str]) -> bool {
    let mut at = start;
    for (nth, want) in pattern.iter().enumerate() {
        if nth > 0 && *want == "(" {
            at = after_turbofish(source, at);
        }
        if source.tokens.get(at).is_none_or(|token| token.text != *want) {
            return false;
        }
        at += 1;
    }
    true
}

/// The position after `::<...>`, or `at` itself where there is none.
fn after_turbofish(source: &Source, at: usize) -> usize {
    let text = |at: usize| source.tokens.get(at).map(|token| token.text.as_str());
    if text(at) != Some("::") || text(at + 1) != Some("<") {
        return at;
    }
    let mut depth = 0;
    for (offset, token) in source.tokens[at + 1..].iter().enumerate() {
        match token.text.as_str() {
            "<" => depth += 1,
            ">" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 2 + offset;
        }
    }
    at
}

/// `Instant::now` is tokio's, which tests can pause: by its path, or by the import of the file.
fn is_virtual_time(source: &Source, at: usize) -> bool {
    if source.tokens[at].text != "Instant" {
        return false;
    }
    let before: Vec<&str> = source.tokens[at.saturating_sub(2)..at].iter().map(|token| token.text.as_str()).collect();
    match before[..] {
        ["time", "::"] => at >= 4 && source.tokens[at - 4].text == "tokio",
        [_, "::"] => false,
        _ => imports_tokio_instant(source),
    }
}

fn imports_tokio_instant(source: &Source) -> bool {
    source.finds(&["use", "tokio", "::"]).any(|start| {
        let import = source.tokens[start..].iter().take_while(|token| token.text != ";");
        let words: Vec<&str> = import.map(|token| token.text.as_str()).collect();
        words.contains(&"time") && words.contains(&"Instant")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_of;

    const TABLE: &str = "\
| crate | may use | its tests may also use | kind |
|---|---|---|---|
| `flow` | - | - | pure |
| `runtime` | `flow` | - | async |
| `probe` | - | - | unsafe: a counting allocator |
";

    fn check(path: &str, code: &str) -> usize {
        let text = format!("//! Docs.\n{code}\n");
        findings_of(&RULE, &[("ARCHITECTURE.md", TABLE), (path, text.as_str())]).len()
    }

    #[test]
    fn the_wall_clock_is_banned_but_not_tokios() {
        for path in ["crates/flow/src/a.rs", "crates/runtime/src/a.rs", "crates/runtime/tests/a.rs"] {
            assert_eq!(check(path, "fn f() { let t = Instant::now(); }"), 1, "{path}");
            assert_eq!(check(path, "fn f() { let t = std::time::SystemTime::now(); }"), 1, "{path}");
        }
        let path = "crates/runtime/src/a.rs";
        assert_eq!(check(path, "fn f() { let t = tokio::time::Instant::now(); }"), 0);
        assert_eq!(check(path, "use tokio::time::{self, Instant};\nfn f() { let t = Instant::now(); }"), 0);
        assert_eq!(check(path, "use tokio::time::Instant as T;\nfn f() { let t = std::time::Instant::now(); }"), 1);
        assert_eq!(check("crates/tidegate/benches/core.rs", "fn f() { let t = Instant::now(); }"), 0);
        assert_eq!(check("xtask/src/a.rs", "fn f() { let t = Instant::now(); }"), 0);
    }

    #[test]
    fn real_sleeps_are_banned_even_in_tests_but_not_in_the_tool() {
        assert_eq!(check("crates/flow/tests/a.rs", "fn f() { std::thread::sleep(d); }"), 1);
        assert_eq!(check("xtask/src/a.rs", "fn f() { thread::sleep(d); }"), 0);
    }

    #[test]
    fn unbounded_queues_are_banned_and_bounded_ones_are_not() {
        let path = "crates/runtime/src/a.rs";
        for call in ["mpsc::unbounded_channel()", "mpsc::channel::<Vec<u8>>()", "channel()", "flume::unbounded::<u8>()"]
        {
            assert_eq!(check(path, &format!("fn f() {{ let x = {call}; }}")), 1, "{call}");
        }
        for call in [
            "mpsc::channel(8)",
            "mpsc::channel::<Vec<u8>>(8)",
            "sync_channel(0)",
            "self.channel()",
            "watch::channel(x)",
        ] {
            assert_eq!(check(path, &format!("fn f() {{ let x = {call}; }}")), 0, "{call}");
        }
        assert_eq!(check(path, "fn channel() {}"), 0);
    }

    #[test]
    fn libraries_do_not_print() {
        for call in ["println!(\"x\")", "eprint!(\"x\")"] {
            let code = format!("fn f() {{ {call}; }}");
            assert_eq!(check("crates/runtime/src/a.rs", &code), 1);
            for path in [
                "crates/tidegate/src/main.rs",
                "crates/tidegate/examples/a.rs",
                "xtask/src/a.rs",
                "crates/flow/tests/a.rs",
            ] {
                assert_eq!(check(path, &code), 0, "{path}");
            }
        }
        assert_eq!(check("crates/tidegate/examples/a.rs", "fn f() { dbg!(x); }"), 1);
    }

    #[test]
    fn unwrap_is_banned_outside_of_tests_also_in_macros_and_programs() {
        for call in ["x.unwrap()", "x.expect(\"y\")", "assert_eq!(x.unwrap(), 1)", "x\n    .unwrap()"] {
            assert_eq!(check("crates/flow/src/a.rs", &format!("fn f() {{ {call}; }}")), 1, "{call}");
            assert_eq!(check("crates/tidegate/src/main.rs", &format!("fn f() {{ {call}; }}")), 1, "{call}");
            assert_eq!(check("crates/flow/src/a.rs", &format!("#[test]\nfn f() {{ {call}; }}")), 0, "{call}");
        }
        assert_eq!(check("crates/flow/src/a.rs", "/// x.unwrap()\nfn f() { x.unwrap_or(1); }"), 0);
    }

    #[test]
    fn unsafe_code_is_banned_but_in_the_one_crate() {
        assert_eq!(check("crates/flow/tests/a.rs", "unsafe impl A for B {}"), 1);
        assert_eq!(check("crates/probe/src/lib.rs", "unsafe impl A for B {}"), 0);
    }

    #[test]
    fn a_pure_crate_does_no_io_and_only_the_runtime_spawns() {
        for code in ["async fn f() {}", "use std::fs::File;", "fn f() { rand::random(); }"] {
            assert_eq!(check("crates/flow/src/a.rs", code), 1, "{code}");
            assert_eq!(check("crates/runtime/src/a.rs", code), 0, "{code}");
        }
        assert_eq!(check("crates/tidegate/src/lib.rs", "fn f() { tokio::spawn(x); }"), 1);
        assert_eq!(check("crates/runtime/src/a.rs", "fn f() { tokio::spawn(x); }"), 0);
    }

    #[test]
    fn every_message_names_the_replacement() {
        let found = findings_of(&RULE, &[("crates/runtime/src/a.rs", "fn f() { thread::sleep(d); }\n")]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("crates/runtime/src/a.rs:1: `thread::sleep` is banned here: wait for the condition"),
            "{found:?}"
        );
    }
}
