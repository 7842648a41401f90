//! The page about the codes of messages is that of the code, and every code is on it. `UPDATE=1` writes it anew.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use tidegate_config::Code;
use tidegate_config::problem::errors_page;

const COMMITTED: &str = "../../docs/errors.md";

#[test]
fn the_committed_page_is_current() {
    let page = errors_page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(COMMITTED, &page).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(committed == page, "docs/errors.md is not that of the code; set UPDATE=1 and run this test");
}

#[test]
fn every_code_has_a_place_on_it_once() {
    let page = errors_page();
    for code in Code::ALL {
        assert_eq!(page.matches(&format!("\n### {code}\n")).count(), 1, "{code}");
        assert!(code.more().len() > 20 && code.more().ends_with('.'), "{code}: {}", code.more());
        assert_eq!(Code::parse(&code.as_str().to_lowercase()), Some(*code));
    }
    assert_eq!(Code::parse("E9999"), None);
}

/// Messages that nobody can look up are worth half.
#[test]
fn every_message_of_a_broken_file_has_a_code_of_the_page() {
    let page = errors_page();
    let entries = std::fs::read_dir("tests/broken").expect("the directory is there");
    let texts = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "txt"));
    let mut seen = 0;
    for path in texts {
        let text = std::fs::read_to_string(&path).unwrap();
        let heads = text.lines().filter(|line| line.starts_with("error") || line.starts_with("warning"));
        for head in heads {
            let code = head.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(code, _)| code);
            let code = code.unwrap_or_else(|| panic!("{}: no code in \"{head}\"", path.display()));
            assert!(page.contains(&format!("### {code}\n")), "{code}");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}
