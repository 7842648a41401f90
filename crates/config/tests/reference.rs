//! The reference of the components in the documents is that of the code. `UPDATE=1` writes it anew.

#![allow(clippy::expect_used)]

use tidegate_config::reference::{entries, reference_page};

const COMMITTED: &str = "../../docs/components.md";

#[test]
fn the_committed_reference_is_current() {
    let page = reference_page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(COMMITTED, &page).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(committed == page, "docs/components.md is not that of the code; set UPDATE=1 and run this test");
}

#[test]
fn each_component_has_its_section_with_behaviour_and_each_key_says_what_it_is_for() {
    let page = reference_page();
    for entry in entries() {
        let title = format!("\n### {} {}\n", entry.kind, entry.name);
        let section = page.split_once(&title).map(|(_, rest)| rest.split("\n## ").next().unwrap_or(rest));
        let section = section.and_then(|rest| rest.split("\n### ").next()).expect("it has a section");
        for word in [if entry.kind == "sink" { "Accepted" } else { "Emits" }, "Blocks", "Sheds", "Settles"] {
            assert!(section.contains(&format!("- **{word}** ")), "{title}: {word}");
        }
        for key in entry.keys {
            assert!(!key.in_words().is_empty(), "{title}: `{}` says nothing", key.path);
        }
    }
}
