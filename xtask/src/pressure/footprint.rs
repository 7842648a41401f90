//! What the process takes beside its budget, part by part: `footprint`. Each part is measured as the difference between
//! two plans that differ in the number of that part alone, so that what both have in common falls out.

use std::net::TcpStream;
use std::time::Duration;

use super::ground::{Ground, free_address};
use super::outcome::Outcome;
use crate::process::pass;
use crate::shell::Fail;

/// A part, and plans with few and with many of it.
struct Part {
    what: &'static str,
    few: u32,
    many: u32,
    rss_mib: fn(&Ground, u32) -> Result<f64, Fail>,
}

const PARTS: &[Part] = &[
    Part {
        what: "a worker thread",
        few: 1,
        many: 17,
        rss_mib: |ground, count| idle(ground, &["--threads", &count.to_string()]),
    },
    Part { what: "a program in VRL", few: 1, many: 33, rss_mib: languages },
    Part { what: "a TCP connection that waits", few: 0, many: 400, rss_mib: connections },
    Part { what: "a TLS client", few: 1, many: 9, rss_mib: tls },
    Part { what: "a compressor (zstd)", few: 1, many: 17, rss_mib: |ground, count| compressors(ground, count, "zstd") },
    Part { what: "a compressor (gzip)", few: 1, many: 17, rss_mib: |ground, count| compressors(ground, count, "gzip") },
];

/// Measures every part. States no law: the figures are for the constants that `tidegate explain` adds up.
pub(super) fn run(ground: &Ground) -> Result<Outcome, Fail> {
    let mut outcome = Outcome { peak_rss_mib: idle(ground, &[])?, ..Outcome::default() };
    outcome.note(format!("the program alone: {:.1} MiB", outcome.peak_rss_mib));
    for part in PARTS {
        let (few, many) = ((part.rss_mib)(ground, part.few)?, (part.rss_mib)(ground, part.many)?);
        let each = (many - few) / f64::from(part.many - part.few) * 1024.0;
        outcome.note(format!(
            "{}: {each:.0} KiB ({few:.1} MiB with {}, {many:.1} MiB with {})",
            part.what, part.few, part.many
        ));
    }
    Ok(outcome)
}

/// How long a plan runs before it is looked at.
const SETTLED: Duration = Duration::from_millis(1_500);

/// The most that was resident of a plan with these options.
fn measure(ground: &Ground, text: &str, options: &[&str]) -> Result<f64, Fail> {
    let mut program = ground.program_with("footprint", text, options)?;
    pass(SETTLED);
    let peak = program.peak_rss_mib()?;
    program.stop();
    Ok(peak)
}

/// A source that makes a little.
const LITTLE: &str = "memory: 64MiB\nsources:\n  in: { type: demo_logs, format: json, interval: 0.01 }\n";

fn idle(ground: &Ground, options: &[&str]) -> Result<f64, Fail> {
    measure(ground, &format!("{LITTLE}sinks:\n  out: {{ type: blackhole, inputs: [in] }}\n"), options)
}

fn languages(ground: &Ground, count: u32) -> Result<f64, Fail> {
    let mut text = format!("{LITTLE}transforms:\n");
    let mut last = "in".to_owned();
    for number in 0..count {
        text.push_str(&format!(
            "  t{number}: {{ type: remap, inputs: [{last}], source: \".f{number} = upcase(string(.message) ?? \\\"x\\\")\" }}\n"
        ));
        last = format!("t{number}");
    }
    measure(ground, &format!("{text}sinks:\n  out: {{ type: blackhole, inputs: [{last}] }}\n"), &[])
}

fn connections(ground: &Ground, count: u32) -> Result<f64, Fail> {
    let at = free_address()?;
    let text = format!(
        "memory: 64MiB\nsources:\n  in: {{ type: socket, mode: tcp, address: \"{at}\" }}\nsinks:\n  out: {{ type: blackhole, \
         inputs: [in] }}\n"
    );
    let mut program = ground.program_with("footprint", &text, &[])?;
    let open: Vec<_> = (0..count).filter_map(|_| TcpStream::connect(&at).ok()).collect();
    pass(SETTLED);
    let peak = program.peak_rss_mib()?;
    drop(open);
    program.stop();
    Ok(peak)
}

/// Nobody answers: what is measured is the client with whom it trusts, not a session.
fn tls(ground: &Ground, count: u32) -> Result<f64, Fail> {
    let sinks = (0..count).map(|number| {
        format!(
            "  s{number}: {{ type: http, inputs: [in], uri: \"https://127.0.0.1:9/\", encoding: {{ codec: json }}, \
             acknowledgements: false, buffer: {{ when_full: drop_newest }} }}\n"
        )
    });
    measure(ground, &format!("{LITTLE}sinks:\n{}", sinks.collect::<String>()), &[])
}

fn compressors(ground: &Ground, count: u32, how: &str) -> Result<f64, Fail> {
    let folder = ground.fresh("footprint.files");
    std::fs::create_dir_all(&folder).map_err(|error| Fail::red(format!("{}: {error}", folder.display())))?;
    let sinks = (0..count).map(|number| {
        format!(
            "  s{number}: {{ type: file, inputs: [in], path: \"{}/{number}.out\", encoding: {{ codec: json }}, compression: \
             {how} }}\n",
            folder.display()
        )
    });
    measure(ground, &format!("{LITTLE}sinks:\n{}", sinks.collect::<String>()), &[])
}
