//! What remap costs for each record of 256 bytes: VRL itself against the lowered way, single-threaded.
//!
//! ```sh
//! cargo run --release -p tidegate-remap --example cost
//! ```

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidegate_record::Rows;
use tidegate_remap::{Condition, Options, Program, Verdicts};

const ROWS: usize = 1_000;
const ROUNDS: usize = 200;

fn record(number: usize) -> String {
    let level = if number.is_multiple_of(4) { "debug" } else { "info" };
    let mut text = format!(
        r#"{{"ts":"2024-05-06T07:08:09.{:06}Z","level":"{level}","service":"checkout","host":"node-{:02}","status":{},"duration_ms":{}.{},"path":"/api/v1/orders/{number:06}","msg":"request finished","trace":"{number:032x}","pad":""#,
        number % 1_000_000,
        number % 32,
        200 + number % 4,
        number % 900,
        number % 10,
    );
    while text.len() < 254 {
        text.push('x');
    }
    text.push_str("\"}");
    text
}

/// The shortest time of several, for one record.
fn nanos(mut round: impl FnMut() -> Duration) -> f64 {
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    best.as_secs_f64() * 1e9 / ROWS as f64
}

fn program(source: &str, texts: &[String]) -> Result<(), String> {
    let mut program = Program::compile(source, &Options::default()).map_err(|errors| format!("{errors:?}"))?.program;
    let mut verdicts = Verdicts::default();
    let mut time = |in_vrl: bool| {
        nanos(|| {
            let mut rows = Rows::from_texts(texts);
            let start = Instant::now();
            if in_vrl {
                program.run_in_vrl(&mut rows, &mut verdicts);
            } else {
                program.run(&mut rows, &mut verdicts);
            }
            let took = start.elapsed();
            black_box(&rows);
            took
        })
    };
    let (vrl, lowered) = (time(true), time(false));
    println!("{:<60} {:>8.3} us {:>8.3} us", source.replace('\n', "; "), vrl / 1e3, lowered / 1e3);
    Ok(())
}

fn condition(source: &str, texts: &[String]) -> Result<(), String> {
    let mut condition = Condition::compile(source, &Options::default()).map_err(|errors| format!("{errors:?}"))?;
    let mut parse = Program::compile(". = parse_json!(.message)", &Options::default()).map_err(|_| "")?.program;
    let mut rows = Rows::from_texts(texts);
    parse.run(&mut rows, &mut Verdicts::default());
    let mut time = |in_vrl: bool| {
        nanos(|| {
            let start = Instant::now();
            for row in rows.iter() {
                let _ = black_box(if in_vrl { condition.check_in_vrl(row) } else { condition.check(row) });
            }
            start.elapsed()
        })
    };
    let (vrl, lowered) = (time(true), time(false));
    println!("{source:<60} {:>8.3} us {:>8.3} us", vrl / 1e3, lowered / 1e3);
    Ok(())
}

fn main() -> Result<(), String> {
    let texts: Vec<String> = (0..ROWS).map(record).collect();
    let bytes = texts.iter().map(String::len).sum::<usize>() / ROWS;
    println!("{:<60} {:>11} {:>11}", format!("for each record of {bytes} bytes"), "in VRL", "lowered");
    program(". = parse_json!(.message)", &texts)?;
    program(". = parse_json!(.message)\n.pipeline = \"edge\"", &texts)?;
    program(". = parse_json!(.message)\n.svc = del(.service)", &texts)?;
    program(". = parse_json!(.message)\nif .level == \"debug\" { abort }", &texts)?;
    program(". = parse_json!(.message)\n.level = upcase!(.level)", &texts)?;
    program(".pipeline = \"edge\"", &texts)?;
    condition(".level != \"debug\"", &texts)?;
    condition("int!(.status) >= 500", &texts)?;
    condition("contains(string!(.path), \"orders\")", &texts)?;
    condition("upcase!(.level) != \"DEBUG\"", &texts)
}
