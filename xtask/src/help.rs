//! The help texts. A verb whose crate is not in the tree yet is listed as such, never as working.

use crate::shell::{Fail, bold, dim};
use crate::workspace::Workspace;
use crate::{bench, fuzz};

/// What the tool can say about one verb.
struct Verb {
    name: &'static str,
    line: &'static str,
    /// Usage, options and examples.
    page: &'static str,
    /// Why the verb cannot work in this tree, if it cannot.
    missing: fn(&Workspace) -> Option<&'static str>,
}

const fn always(_: &Workspace) -> Option<&'static str> {
    None
}

const VERBS: &[Verb] = &[
    Verb {
        name: "check",
        line: "everything a change must pass: fmt, tidy, clippy, docs, tests",
        missing: always,
        page: "\
cargo xtask check [--fast] [--skip STEP[,STEP]] [--keep-going]

Runs fmt, tidy, clippy (warnings denied, all targets), docs (broken links denied) and tests, in this order,
prints the time of each, and ends with a table. Stops at the first red step.

  --fast          only fmt, tidy and clippy
  --skip STEPS    leave these steps out (the table says so)
  --keep-going    run the later steps though an earlier one is red

Examples
  cargo xtask check                 before a push
  cargo xtask check --fast          while working
  cargo xtask check --skip test     when the tests run elsewhere
",
    },
    Verb {
        name: "tidy",
        line: "the rules of the code that compilers do not check",
        missing: always,
        page: "\
cargo xtask tidy [--fix] [--list]

Checks dependency arrows, sizes of files and functions, module docs, banned calls, words, records, manifests.
Each finding names file, line, rule and what to do. `cargo test -p xtask` runs the same rules.

  --fix     rewrite what can be generated (the index of docs/adr)
  --list    print the rules and what each one refuses

One line can be exempted, with a reason of at least ten letters, by a comment on it or right above it:
  // tidy: allow(banned-calls): <reason>

Examples
  cargo xtask tidy
  cargo xtask tidy --list
",
    },
    Verb {
        name: "test",
        line: "all tests: unit, integration, doc; with --loom the model checks",
        missing: always,
        page: "\
cargo xtask test [--loom] [-- ARGS]

Runs the tests of all crates with cargo-nextest where it is installed, else with cargo test, and then the doc tests.

  --loom     run the model checks instead: library tests whose path contains `loom` and files tests/loom_*.rs, built
             with RUSTFLAGS=--cfg tidegate_loom into a target folder of their own. LOOM_MAX_PREEMPTIONS is 2 unless set
  -- ARGS    passed to the test runner (and the doc tests are left out)

Examples
  cargo xtask test
  cargo xtask test -- -p tidegate-flow settle
  cargo xtask test --loom
  LOOM_MAX_PREEMPTIONS=3 cargo xtask test --loom -- parking
",
    },
    Verb {
        name: "bench",
        line: "the benchmarks, beside their baselines",
        missing: bench::missing,
        page: "\
cargo xtask bench core|program [--json] [--smoke]

core: runs `cargo bench -p tidegate --bench core` and passes the arguments on.
program: builds a release of the program and runs it between a sender and a receiver, beside a bare program that only
reads and writes, and beside rsyslog and syslog-ng where these are installed; CPU time by the operating system's
accounting (Linux).

  --json        one object a line: name, value, unit, baseline
  --smoke       a few iterations, to see that everything runs; the figures mean nothing
  --only NAME   the rows whose name begins so
  --records N   program: how many records (256 bytes each) a row carries; 4 million
  --turns N     program: how often each row is run; the median counts; 5

Examples
  cargo xtask bench core
  cargo xtask bench core --json > figures.ndjson
  cargo xtask bench program
",
    },
    Verb {
        name: "pressure",
        line: "slow, dying and greedy peers around the program, against what it promises",
        missing: always,
        page: "\
cargo xtask pressure [--only NAME[,NAME]] [--json] [--seconds N] [--smoke] [--program PATH] [--list]

Builds a release of the program and plays scenarios around it: peers that are slow, that die or that offer too much,
as processes of their own, which count every record by its number. Prints a line for each scenario and one for each
law that it states; red, and exit code 1, where a law is broken. Needs Linux. docs/pressure.md says what was seen.

  --only NAMES      these scenarios alone
  --seconds N       the length of the long phase of each; 30 unless set
  --smoke           2 seconds each, to see that the laws hold; the rates mean nothing
  --json            one object a line
  --program PATH    this program, and nothing is built
  --list            the names, and a line about each

Examples
  cargo xtask pressure --smoke
  cargo xtask pressure --only slow_sink --seconds 60
  cargo xtask pressure --only footprint
",
    },
    Verb {
        name: "crash",
        line: "the program is killed under load; what it acknowledged is held against what came out",
        missing: fuzz::missing,
        page: "\
cargo xtask crash [--rounds N] [--seed N] [--base N] [--only NAME[,NAME]] [--json] [--list] [--program PATH]

Builds a release of the program and plays rounds with it: a pipeline (file, HTTP or TCP in and out, with a buffer on disk
or in memory) runs as a process between a source and a sink that know every record by its number; with 10,000 of them
unsettled it is killed with SIGKILL, at random or at a named point of its log, while its sink is frozen, broken or slow,
its disk is full, its clock is set or the end of its log is torn; it is started again, often twice. Red, and exit code 1,
where what was acknowledged is lost, what comes twice is older than it may be, order is not kept, no fresh record comes
within 15 s of a start, more memory is taken than `explain` says, or no round of a named point comes to it. Needs Linux;
a full disk needs user namespaces.

  --rounds N       how many; 20. All pipelines and faults come as soon as can be
  --seed N         one round again: what its line ends with
  --base N         other rounds than those of 1
  --only NAMES     these pipelines and faults alone
  --json           one object a line
  --list           the pipelines, and the faults that can befall each
  --program PATH   this program, and none is built

Examples
  cargo xtask crash --rounds 20
  cargo xtask crash --rounds 300 --base 7 --json > rounds.ndjson
  cargo xtask crash --only http_http_disk,sync --rounds 5
  cargo xtask crash --seed 66405
",
    },
    Verb {
        name: "fuzz",
        line: "random graphs on paused time; with --target, random bytes",
        missing: fuzz::missing,
        page: "\
cargo xtask fuzz [--seeds N] [--seed S]
cargo xtask fuzz --target framing|splice|segment|cursor|config|http_body|remap [--seconds N]

Runs the graph fuzzer of crates/sim in a release build and passes the arguments on.

  --seeds N    this many seeds, one after the other
  --seed S     this seed alone: what a failure prints for its replay

With --target, builds that target of fuzz/ (a workspace of its own; libFuzzer needs a C++ compiler) and searches from
its corpus on. `cargo xtask test` runs the same checks on inputs that are always the same.

  --target NAME    what to search
  --seconds N      for how long; 60 unless set

Examples
  cargo xtask fuzz --seeds 300
  cargo xtask fuzz --seed 4711
  cargo xtask fuzz --target splice --seconds 600
",
    },
    Verb {
        name: "overload",
        line: "controllers of concurrency compared in virtual time",
        missing: fuzz::missing,
        page: "\
cargo xtask overload [--json|--csv] [--seeds N] [--controller X] [--scenario Y]

Runs the suite A to Q of crates/sim in a release build: all controllers on the same chances. Cells are goodput in percent
of the best / median latency in ms / sends that came to nothing in percent.

  --json           one object a line: scenario, controller, name, value
  --csv            one figure a line: scenario, controller, name, median, least, most
  --seeds N        this many seeds each (20)
  --controller X   this one alone, and the oracle
  --scenario Y     this one alone

Examples
  cargo xtask overload
  cargo xtask overload --seeds 5 --controller tide
",
    },
    Verb {
        name: "mutants",
        line: "planted bugs: each must be caught by the test that it names",
        missing: always,
        page: "\
cargo xtask mutants [--only NAME] [--without PACKAGES] [--minutes N] [--list]

Copies the sources to a scratch folder under the target folder. For each entry of xtask/mutants.toml: the named test
must pass on the sound code, the planted bug must compile, and the same test must then fail.

  --only NAME           this mutant alone
  --without PACKAGES    none of these packages, with commas between
  --minutes N           begin none after so many minutes, and say which were left; each commit begins with another
  --list                print the table and run nothing

Examples
  cargo xtask mutants
  cargo xtask mutants --without tidegate-config,tidegate-remap
  cargo xtask mutants --only outcome-returned-is-acked
",
    },
    Verb {
        name: "deny",
        line: "licences, bans and sources of the dependencies (needs cargo-deny)",
        missing: always,
        page: "\
cargo xtask deny [--if-installed]

Runs `cargo deny check bans licenses sources`. Advisories are left out: they need a download.

  --if-installed    say so and succeed where cargo-deny is missing

Examples
  cargo xtask deny
",
    },
];

/// The list of verbs.
pub(crate) fn overview(workspace: &Workspace) -> String {
    let mut text = format!("{}\n\ncargo xtask <verb> [options]\n\n", bold("The tool of this repository."));
    for verb in VERBS {
        text.push_str(&format!("  {:<9}{}\n", verb.name, verb.line));
        if let Some(why) = (verb.missing)(workspace) {
            text.push_str(&format!("  {:<9}{}\n", "", dim(format!("not in this tree yet: {why}"))));
        }
    }
    text.push_str("\n  cargo xtask <verb> --help says more, with examples.\n");
    text
}

/// The page of one verb.
pub(crate) fn page(workspace: &Workspace, name: &str) -> Result<String, Fail> {
    let verb = VERBS.iter().find(|verb| verb.name == name).ok_or_else(|| unknown(name))?;
    let note = (verb.missing)(workspace).map_or_else(String::new, |why| format!("Not in this tree yet: {why}\n\n"));
    Ok(format!("{}: {}\n\n{note}{}", bold(verb.name), verb.line, verb.page))
}

/// A verb that does not exist; names those that do.
pub(crate) fn unknown(name: &str) -> Fail {
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    Fail::usage(format!("there is no verb `{name}`; the verbs are {}", names.join(", ")))
}

/// An option that the verb does not know.
pub(crate) fn unknown_option(verb: &str, option: &str) -> Fail {
    Fail::usage(format!("`{verb}` has no option `{option}`; see `cargo xtask {verb} --help`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_usage_and_examples() {
        for verb in VERBS {
            assert!(verb.page.starts_with(&format!("cargo xtask {}", verb.name)), "{}", verb.name);
            assert!(verb.page.contains("\nExamples\n"), "{}", verb.name);
        }
    }

    #[test]
    fn a_verb_without_its_crate_is_not_offered_as_working() {
        let bare = Workspace { root: "x".into(), target: "x".into(), members: Vec::new() };
        assert_eq!(overview(&bare).matches("not in this tree yet").count(), 4);
        assert!(page(&bare, "fuzz").unwrap().contains("Not in this tree yet"));
    }

    #[test]
    fn an_unknown_verb_is_a_usage_error_that_names_the_verbs() {
        assert!(matches!(unknown("chekc"), Fail::Usage(text) if text.contains("check, tidy")));
    }
}
