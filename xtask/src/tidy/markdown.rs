//! Reading Markdown, as far as the rules need it: tables, links, headings, commands.

/// A table: its header cells in lower case, its rows, and the line on which each row stands.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<(usize, Vec<String>)>,
}

/// The tables of a document, in order. Fenced blocks are left out.
pub(super) fn tables(text: &str) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut current: Option<Table> = None;
    for (line, row) in prose(text) {
        let Some(cells) = cells(row) else {
            tables.extend(current.take());
            continue;
        };
        match &mut current {
            None => current = Some(Table { header: lowered(&cells), rows: Vec::new() }),
            Some(_) if cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':'))) => {}
            Some(table) => table.rows.push((line, cells)),
        }
    }
    tables.extend(current);
    tables
}

/// The first table whose header starts with these cells.
pub(super) fn table(text: &str, header: &[&str]) -> Option<Table> {
    tables(text).into_iter().find(|table| {
        table.header.len() >= header.len() && table.header.iter().zip(header).all(|(have, want)| have == want)
    })
}

fn lowered(cells: &[String]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_lowercase()).collect()
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.trim_end().strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// The lines outside of fenced blocks, with their numbers from 1.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((at + 1, line))
    })
}

/// The words of a cell that stand in backticks.
pub(super) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The targets of `[text](target)` outside of fenced blocks and code spans, with their lines.
pub(super) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (line, row) in prose(text) {
        let outside_code: String = row.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for part in outside_code.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                links.push((line, target.to_owned()));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Title

| crate | may use |
|---|:---|
| `a` | - |
| `b` | `a` `c` |

```text
| not | a table |
[no](link)
```
See [the other](docs/other.md#part) and `[code](span)`.
";

    #[test]
    fn tables_are_found_with_their_lines() {
        let table = table(TEXT, &["crate", "may use"]).unwrap();
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[1].0, 6);
        assert_eq!(quoted(&table.rows[1].1[1]), ["a", "c"]);
        assert_eq!(tables(TEXT).len(), 1);
    }

    #[test]
    fn links_leave_out_code() {
        assert_eq!(links(TEXT), [(12, "docs/other.md#part".to_owned())]);
    }
}
