//! Texts that are made to hurt: they are refused with a message, in bounded time and memory, and nothing panics.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::diff::{Change, diff};
use tidegate_config::load::{Given, load_texts};
use tidegate_config::problem::{Look, problems_to_json, render};
use tidegate_config::tree::Format;
use tidegate_config::{Code, Planned, plan};

fn planned(text: &str, format: Format) -> Planned {
    let loaded = load_texts(&[Given { name: "a", format, text }], &|_| None);
    plan(loaded, &BuildContext::new("data"), Depth::Values)
}

fn codes(text: &str, format: Format) -> Vec<Code> {
    planned(text, format).problems.sorted().iter().map(|problem| problem.code).collect()
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 9].join(", "));
    }
    assert_eq!(codes(&text, Format::Yaml), [Code::TooDeep]);
    assert_eq!(codes("a: &a [*a]\n", Format::Yaml), [Code::UnsupportedYaml]);
}

#[test]
fn deep_nesting_is_refused() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(5_000), close.repeat(5_000));
    assert_eq!(codes(&deep("[", "]"), Format::Yaml), [Code::TooDeep]);
    assert_eq!(codes(&deep("[", "]"), Format::Json), [Code::TooDeep]);
    assert!(!codes(&format!("a = {}", deep("[", "]")), Format::Toml).is_empty());
    assert!(codes(&"- ".repeat(5_000), Format::Yaml).contains(&Code::TooDeep));
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    let text = "sources:\n  a: &demo { type: demo_logs, format: json }\n  b: { <<: *demo, format: syslog }\n\
                sinks:\n  out: { type: blackhole, inputs: ['*'] }\n";
    let plan = planned(text, Format::Yaml).plan.expect("it is sound");
    assert_eq!(plan.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "b", "out"]);
}

/// Every good file, with bytes replaced, doubled and cut out at random: always the same ones.
#[test]
fn mutilated_files_give_messages_and_never_panic() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (below.max(1) as u64)).unwrap()
    };
    let pool = b"{}[]\"':,#&*!|>%@`\n\t -=$\\0a\xc3\xa4";
    for (name, format) in
        [("design.yaml", Format::Yaml), ("vector.toml", Format::Toml), ("wildcards.json", Format::Json)]
    {
        let good = std::fs::read(format!("tests/good/{name}")).unwrap();
        for _ in 0..150 {
            let mut bytes = good.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = pool[random(pool.len())],
                    1 => drop(bytes.drain(at..(at + random(20)).min(bytes.len()))),
                    _ => bytes.insert(at, pool[random(pool.len())]),
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            let planned = planned(&text, format);
            let messages = render(&planned.files, &planned.problems, Look { colour: true, width: 100 });
            assert_eq!(planned.problems.is_empty(), messages.is_empty());
            assert!(planned.plan.is_some() || planned.problems.has_errors(), "no plan and no error:\n{text}");
            assert!(problems_to_json(&planned.files, &planned.problems).is_array());
        }
    }
}

#[test]
fn a_diff_says_what_a_reload_would_restart() {
    let base = "sources:\n  a: { type: demo_logs, format: json }\n  b: { type: demo_logs, format: json }\n\
                sinks:\n  one: { type: blackhole, inputs: [a] }\n  two: { type: blackhole, inputs: [b], rate: 5/s }\n";
    let old = planned(base, Format::Yaml).plan.expect("sound");
    let text = base
        .replace("a: { type: demo_logs, format: json }", "a: { format: json, type: demo_logs } # the same")
        .replace("inputs: [a]", "inputs: [a, b]")
        .replace("5/s", "6/s")
        .replace("sinks:", "sinks:\n  three: { type: blackhole, inputs: [a] }");
    let new = planned(&text, Format::Yaml).plan.expect("sound");
    let found = diff(&old, &new);
    let expected = [
        ("a", Change::Unchanged),
        ("b", Change::Unchanged),
        ("three", Change::Added),
        ("one", Change::Rewired),
        ("two", Change::Changed),
    ];
    assert_eq!(found.components, expected.map(|(name, change)| (name.to_string(), change)));
    assert!(!found.is_empty());
    let back = diff(&new, &old);
    assert_eq!(back.with(Change::Removed).collect::<Vec<_>>(), ["three"]);
}
