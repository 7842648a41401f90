//! Pipeline files: whatever the text, it becomes a plan or errors that say where they are, and nothing panics.

use tidegate_components::contract::{BuildContext, Depth};
use tidegate_config::load::{Given, load_texts};
use tidegate_config::problem::{Look, problems_to_json, render};
use tidegate_config::tree::Format;
use tidegate_config::{Code, plan};

/// The first byte chooses the format; the rest is the text of the file.
pub(crate) fn check(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = [Format::Yaml, Format::Toml, Format::Json][usize::from(*first) % 3];
    let variable = |name: &str| (name == "HOME").then(|| "/home".to_owned());
    let planned =
        plan(load_texts(&[Given { name: "a", format, text }], &variable), &BuildContext::new("data"), Depth::Values);
    let problems = &planned.problems;
    assert!(planned.plan.is_some() || problems.has_errors(), "no plan and no error:\n{text}");
    for problem in problems.sorted() {
        // What is missing from the file as a whole stands nowhere in it.
        let Some(place) = problem.place() else {
            assert_eq!(problem.code, Code::NothingToRun, "nowhere: {}\n{text}", problem.title);
            continue;
        };
        assert!(place.start <= place.end && place.end <= text.len(), "{place:?} is not in the file: {}", problem.title);
        assert!(planned.files.position(place).line >= 1);
    }
    let messages = render(&planned.files, problems, Look { colour: false, width: 100 });
    assert_eq!(problems.is_empty(), messages.is_empty());
    assert!(problems_to_json(&planned.files, problems).is_array());
}
