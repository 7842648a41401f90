//! Structs of every shape, read from good and from broken tables.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::files::Files;
use crate::interpolate::{Secrets, interpolate};
use crate::tree::{Format, parse};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    path: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    on: bool,
    #[serde(default)]
    buffer: Buffer,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    ratio: Option<f64>,
    codec: Option<Codec>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Buffer {
    max_size: u64,
    when_full: WhenFull,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhenFull {
    #[default]
    Block,
    DropNewest,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "codec", rename_all = "snake_case", deny_unknown_fields)]
enum Codec {
    Json { pretty: bool },
    Text,
}

const OLD: Ignored = Ignored { key: "old", why: "it is old" };
const ID: Ignored = Ignored { key: "buffer.id", why: "nobody asks" };

/// What was read, and each problem as `code 'text' title`.
fn tried(text: &str) -> (Option<Sample>, Vec<String>) {
    let mut files = Files::new();
    let file = files.add("a.yaml", text);
    let mut problems = Problems::new();
    let mut node = parse(&files, file, Format::Yaml, &mut problems).node.expect("YAML");
    let lookup = |name: &str| (name == "PORT").then(|| "8080".to_string());
    interpolate(&mut node, &lookup, &mut Secrets::default(), &mut problems);
    let start = Place { end: node.place.start, ..node.place };
    let subject = Subject {
        node: &node,
        name_place: start,
        what: "sink `a`",
        skip: &["type"],
        ignored: &[OLD, ID],
        lacking: &[],
        schema: None,
    };
    let erased = |reader: NodeReader<'_, '_>| {
        erased_serde::deserialize::<Sample>(&mut <dyn erased_serde::Deserializer<'_>>::erase(reader))
    };
    let direct = read(subject, &mut problems, |reader| Sample::deserialize(reader));
    let mut again = Problems::new();
    assert_eq!(read(subject, &mut again, erased), direct, "erased deserializers read the same");
    assert_eq!(again.sorted(), problems.sorted(), "erased deserializers find the same");
    let said = problems.sorted().into_iter().map(|problem| {
        let shown = problem.place().map_or("", |place| files.text(place));
        format!("{} '{}' {}", problem.code, shown.lines().next().unwrap_or_default(), problem.title)
    });
    (direct, said.collect())
}

#[test]
fn a_good_table_is_read() {
    let text = "type: x\npath: /a\nport: ${PORT}\non: true\nratio: 1\ninclude: [a, '${PORT}']\n\
                labels: {a: ${PORT}x, b: \"${PORT}\"}\nbuffer: {max_size: 5, when_full: drop_newest}\n\
                codec: {codec: json, pretty: true}\n";
    // `${PORT}` inside of braces is no YAML without quotes.
    let text = text.replace("a: ${PORT}x", "a: \"${PORT}x\"");
    let (sample, problems) = tried(&text);
    assert_eq!(problems, Vec::<String>::new());
    let sample = sample.expect("it is good");
    assert_eq!((sample.port, sample.ratio), (8080, Some(1.0)));
    assert_eq!(sample.include, ["a", "8080"]);
    assert_eq!(sample.labels["a"], "8080x");
    assert_eq!(sample.codec, Some(Codec::Json { pretty: true }));
}

#[test]
fn all_mistakes_of_a_table_are_found() {
    let text = "port: http\non: yes\nbuffer:\n  max_sise: 5\n  when_full: drop_old\n  id: 7\ninclude: /a\n\
                labels: {a: [], b: 2}\nratoi: 2\nold: 1\ncodec: {codec: jsn}\n";
    let (sample, problems) = tried(text);
    assert_eq!(sample, None);
    assert_eq!(
        problems,
        [
            "E0103 '' sink `a` needs the key `path`",
            "E0102 'http' `port` takes a whole number from 0 to 65535, found the text \"http\"",
            "E0102 'yes' `on` takes true or false, found the text \"yes\"",
            "E0101 'max_sise' `buffer` of sink `a` has no key `max_sise`",
            "E0105 'drop_old' `buffer.when_full` cannot be `drop_old`",
            "W0108 'id' `buffer.id` is a key of Vector that has no effect here",
            "E0102 '/a' `include` takes a list, found the text \"/a\"",
            "E0102 '[]' `labels.a` takes text, found a list",
            "E0102 '2' `labels.b` takes text, found the number 2",
            "E0101 'ratoi' sink `a` has no key `ratoi`",
            "W0108 'old' `old` is a key of Vector that has no effect here",
            "E0105 'jsn' `codec.codec` cannot be `jsn`",
        ]
    );
}

#[test]
fn what_follows_from_another_mistake_is_not_reported() {
    let (_, problems) = tried("path: [1]\n");
    assert_eq!(problems, ["E0102 '[1]' `path` takes text, found a list"]);
    let (_, problems) = tried("path: /a\nport: 99999\nbuffer:\n");
    assert_eq!(
        problems,
        [
            "E0102 '99999' `port` takes a whole number from 0 to 65535, found the number 99999",
            "E0102 'buffer' `buffer` takes a table of keys, found nothing",
        ]
    );
}
