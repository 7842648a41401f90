//! From the key that a component names in a problem to its place in the file.

use crate::files::Place;
use crate::interpolate::text_place;
use crate::tree::{Node, Value};

/// The value at a path such as `framing.newline_delimited.max_length` or `include[1]`, or the deepest one on the way; and
/// whether it is the whole path.
pub(crate) fn find<'a>(root: &'a Node, path: &str) -> (Option<&'a Node>, bool) {
    let mut node = root;
    let mut found = None;
    let mut rest = path;
    while !rest.is_empty() {
        let Some((next, behind)) = step(node, rest) else { return (found, false) };
        (node, rest) = (next, behind);
        found = Some(node);
    }
    (found, true)
}

/// One key or index, and what is left of the path. A key may hold dots itself, so the longest one that is there is taken.
fn step<'a, 'p>(node: &'a Node, path: &'p str) -> Option<(&'a Node, &'p str)> {
    match &node.value {
        Value::Table(table) => {
            let fits = |name: &str| {
                let behind = path.strip_prefix(name)?;
                (behind.is_empty() || behind.starts_with(['.', '['])).then(|| behind.trim_start_matches('.'))
            };
            let fitting = table.entries.iter().filter_map(|entry| Some((entry, fits(&entry.key.name)?)));
            fitting.min_by_key(|(_, behind)| behind.len()).map(|(entry, behind)| (&entry.node, behind))
        }
        Value::List(list) => {
            let (index, behind) = path.strip_prefix('[')?.split_once(']')?;
            Some((list.get(index.parse::<usize>().ok()?)?, behind.trim_start_matches('.')))
        }
        _ => None,
    }
}

/// The place of bytes within a value that is a text; of the value where it is none.
pub(crate) fn within(node: &Node, range: std::ops::Range<usize>) -> Place {
    match &node.value {
        Value::Text(text) => text_place(text, node.place, range),
        _ => node.place,
    }
}
