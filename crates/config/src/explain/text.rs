//! The facts as a page of text.

use std::fmt::Write;

use tidegate_flow::Bytes;

use super::{EdgeFacts, Explanation, KernelFacts, LogFacts, MemoryFacts, QueueFacts, RefusedFacts, ShedFacts};
use crate::words::{bytes, counted, grouped};

pub(super) fn text(facts: &Explanation) -> String {
    let mut out = String::new();
    stages(&mut out, facts);
    edges(&mut out, &facts.edges);
    logs(&mut out, &facts.logs);
    sorted(&mut out, facts);
    waits(&mut out, facts);
    sheds(&mut out, facts);
    pairs(&mut out, facts);
    refused(&mut out, &facts.refused);
    kernel(&mut out, &facts.kernel);
    memory(&mut out, &facts.memory);
    out
}

fn heading(out: &mut String, title: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(title);
    out.push('\n');
}

/// A row: cells padded to the widths of their columns.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str("  ");
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
}

fn stages(out: &mut String, facts: &Explanation) {
    heading(out, &format!("RUNS AS {}", counted(facts.stages.len(), "stage").to_uppercase()));
    let row = |stage: &super::StageFacts| {
        let components = stage.components.join(" -> ");
        let holds = match stage.holds_bytes {
            0 => "holds nothing".to_string(),
            most => format!("holds up to {}", bytes(Bytes::new(most))),
        };
        vec![stage.name.clone(), stage.kind.clone(), holds, components]
    };
    table(out, &facts.stages.iter().map(row).collect::<Vec<_>>());
    if !facts.left_out.is_empty() {
        let _ = writeln!(out, "  left out, because nobody reads them: {}", facts.left_out.join(", "));
    }
}

fn edges(out: &mut String, edges: &[EdgeFacts]) {
    heading(out, &format!("WAITS IN {}", counted(edges.len(), "edge").to_uppercase()));
    let row = |edge: &EdgeFacts| {
        let window = format!("{} records or {}", grouped(edge.records), bytes(Bytes::new(edge.bytes)));
        let memory = if edge.reserved { "reserved" } else { "shared memory" };
        let from = format!("from {}", edge.from.join(", "));
        vec![format!("before {}", edge.name), window, memory.to_string(), format!("full: {}", edge.when_full), from]
    };
    table(out, &edges.iter().map(row).collect::<Vec<_>>());
}

fn logs(out: &mut String, logs: &[LogFacts]) {
    if logs.is_empty() {
        return;
    }
    heading(out, &format!("WAITS ON DISK IN {}", counted(logs.len(), "buffer").to_uppercase()));
    let row = |log: &LogFacts| {
        let age = log.max_age.as_ref().map_or("at any age".to_string(), |age| format!("until it is {age} old"));
        let cells = [
            format!("before {}", log.name),
            format!("at most {}", bytes(Bytes::new(log.max_size_bytes))),
            age,
            format!("full: {}", log.when_full),
            format!("synced {}", if log.fsync == "always" { "at once" } else { &log.fsync }),
            if log.write == "always" { "all written" } else { "written under pressure" }.to_owned(),
            format!("in {}", log.folder),
        ];
        cells.to_vec()
    };
    table(out, &logs.iter().map(row).collect::<Vec<_>>());
}

/// How edges hand out what is in them, where a source says so.
fn sorted(out: &mut String, facts: &Explanation) {
    if facts.sources.iter().all(|source| source.sorted.is_empty()) {
        return;
    }
    heading(out, "SORTED BY");
    for source in &facts.sources {
        for line in &source.sorted {
            let _ = writeln!(out, "  records of `{}`: {line}", source.name);
        }
    }
}

fn waits(out: &mut String, facts: &Explanation) {
    heading(out, "UNDER PRESSURE");
    for edge in facts.edges.iter().filter(|edge| edge.waits) {
        let _ = writeln!(out, "  when `{}` falls behind, {} waits", edge.name, names(&edge.from));
    }
    for source in &facts.sources {
        let _ = writeln!(out, "  while `{}` ({}) is not read: {}", source.name, source.type_name, source.blocked);
    }
}

fn names(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" or ")
}

fn sheds(out: &mut String, facts: &Explanation) {
    heading(out, "MAY SHED");
    for edge in facts.edges.iter().filter(|edge| edge.sheds) {
        let _ = writeln!(
            out,
            "  at `{}`: {} beyond {} records or {}, counted",
            edge.name,
            edge.when_full,
            grouped(edge.records),
            bytes(Bytes::new(edge.bytes))
        );
    }
    let line = |out: &mut String, shed: &ShedFacts| {
        let _ =
            writeln!(out, "  at `{}` ({}): {}, counted as `{}`", shed.name, shed.type_name, shed.what, shed.counted);
    };
    facts.sheds.iter().filter(|shed| shed.any).for_each(|shed| line(out, shed));
    if !facts.edges.iter().any(|edge| edge.sheds) && !facts.sheds.iter().any(|shed| shed.any) {
        out.push_str("  nothing for want of room: every edge blocks, and every component waits\n");
    }
    facts.sheds.iter().filter(|shed| !shed.any).for_each(|shed| line(out, shed));
}

fn pairs(out: &mut String, facts: &Explanation) {
    heading(out, "GUARANTEES");
    for pair in &facts.pairs {
        let _ = writeln!(out, "  {} -> {}: {}", pair.source, pair.sink, pair.words);
        let acked = facts.sources.iter().find(|source| source.name == pair.source).map_or("", |source| &source.acked);
        let _ = writeln!(out, "    acked: {acked}; accepted: {}", pair.accepted);
    }
}

fn refused(out: &mut String, sinks: &[RefusedFacts]) {
    if sinks.is_empty() {
        return;
    }
    heading(out, "REFUSED FOR GOOD");
    for RefusedFacts { sink, to, path, queue } in sinks {
        let _ = match (to, path) {
            (_, Some(path)) => {
                let _ = writeln!(out, "  what `{sink}` refuses: kept in {path}, with the reason, and acknowledged");
                queue.as_ref().map_or(Ok(()), |queue| writeln!(out, "    {}", bounds(queue)))
            }
            (Some(to), None) => writeln!(out, "  what `{sink}` refuses: goes to `{to}`, and is acknowledged"),
            (None, None) => {
                writeln!(out, "  what `{sink}` refuses: back to its source; the run fails if that tells nobody")
            }
        };
    }
}

fn bounds(QueueFacts { max_size_bytes, when_full, max_age }: &QueueFacts) -> String {
    let full = match when_full.as_str() {
        "drop_oldest" => "the oldest are given up",
        "drop_newest" => "what comes is shed",
        _ => "whoever refuses records waits",
    };
    let age = max_age.as_ref().map(|age| format!("; each until it is {age} old")).unwrap_or_default();
    let size = bytes(Bytes::new(*max_size_bytes));
    format!("at most {size}, then {full}{age}; `tidegate dlq` shows, replays and purges them")
}

fn kernel(out: &mut String, buffers: &[KernelFacts]) {
    if buffers.is_empty() {
        return;
    }
    heading(out, "HELD BY THE KERNEL, BESIDE THE BUDGET");
    for KernelFacts { name, kind, holds_bytes, each, .. } in buffers {
        let _ = write!(out, "  {kind} `{name}`: at most {} {each}", bytes(Bytes::new(*holds_bytes)));
        let cost = "; lost when its peer dies, with what the peer's own kernel held";
        let _ = writeln!(out, "{}", if kind == "sink" { cost } else { "" });
    }
}

fn memory(out: &mut String, memory: &MemoryFacts) {
    heading(out, &format!("MEMORY: A BUDGET OF {}", bytes(Bytes::new(memory.budget_bytes))));
    let row = |name: &str, amount: u64, what: &str| vec![name.to_string(), bytes(Bytes::new(amount)), what.to_string()];
    let mut rows: Vec<_> = memory.parts.iter().map(|part| row(&part.name, part.bytes, &part.what)).collect();
    rows.push(row("reserved", memory.reserved_bytes, "the sum of these"));
    rows.push(row("floating", memory.floating_bytes, "for whoever needs it"));
    for beyond in &memory.beyond {
        rows.push(row("beyond", beyond.bytes, &beyond.what));
    }
    rows.push(row("resident", memory.resident_bytes, "the most that the process should occupy"));
    table(out, &rows);
}
