//! A sink that is too slow for its source: watch the pressure travel back, and the memory stay where it was put.
//!
//! ```text
//! orders -> parse -> check -> price -> tag -> format -> fork -> warehouse   (slow; nothing may be lost)
//!                                                          \--> dashboard   (best effort)
//! ```
//!
//! The source could give millions of records a second. For the first three seconds the warehouse takes 2 000. Then it
//! recovers. The example checks what it shows, and fails if it is not true.
//!
//! `cargo run --release -p tidegate --example slow_sink`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate::blame::Kind;
use tidegate::{
    Accepted, Branch, Bytes, EdgeSpec, Items, Meta, Nack, OnFull, Outcome, Pipeline, PipelineBuilder, Records, Report,
    Sink, StageTimes, View, Weigh, Weight, kib, mib, sink, source,
};

mod say;
use say::say;

/// Counts what is really allocated, so that the memory bound is not checked by those who promise it.
#[global_allocator]
static HEAP: tidegate_heap::Counting = tidegate_heap::Counting::new();

/// The one memory knob.
const BUDGET: Bytes = mib(8);
/// What a pipeline of this size needs beside the records: tasks, edges, counters, and what this program prints with.
const BESIDE: Bytes = mib(1);
/// What each edge may hold.
const WINDOW: u64 = 512;
/// The largest batch.
const BATCH: u64 = 64;
/// What the slow warehouse needs for a record.
const SLOW: Duration = Duration::from_micros(500);

struct Order {
    id: u64,
    text: String,
}

impl Weigh for Order {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.text.capacity()
    }
}

impl Clone for Order {
    fn clone(&self) -> Self {
        Self { id: self.id, text: self.text.clone() }
    }
}

fn order(id: u64) -> Order {
    Order { id, text: format!("order {id}: {}", "x".repeat(1_000)) }
}

/// A remote that takes its time for every record.
struct Warehouse {
    nanos_per_record: Arc<AtomicU64>,
}

impl Sink<Items<Order>> for Warehouse {
    async fn deliver(&mut self, orders: &mut Items<Order>, _: &Meta) -> Result<Accepted, Nack> {
        let each = Duration::from_nanos(self.nanos_per_record.load(Ordering::Relaxed));
        if !each.is_zero() {
            tokio::time::sleep(each * u32::try_from(orders.len()).unwrap_or(u32::MAX)).await;
        }
        Ok(Accepted::All)
    }
}

/// Puts the pipeline together: five stages, each behind an edge of its own, and a fork.
fn build(warehouse: Warehouse) -> PipelineBuilder {
    let edge = |name: &str| EdgeSpec::new(name).records(WINDOW);
    let builder = Pipeline::builder("orders")
        .budget(BUDGET)
        .batch(Weight::new(BATCH, kib(128).get()))
        .watch_every(Duration::from_millis(100));
    let [to_warehouse, to_dashboard] = builder
        .source("orders", source::iter((0..).map(order)))
        .edge(edge("to-parse"))
        .named("parse")
        .map(|order| order)
        .edge(edge("to-check"))
        .named("check")
        .filter(|order| order.id % 100 != 0)
        .edge(edge("to-price"))
        .named("price")
        .map(|order| order)
        .edge(edge("to-tag"))
        .named("tag")
        .map(|order| order)
        .edge(edge("to-format"))
        .named("format")
        .map(|order| order)
        .fork([
            Branch::required(edge("to-warehouse")),
            Branch::best_effort(edge("to-dashboard").on_full(OnFull::DropOldest)),
        ]);
    to_warehouse.sink("warehouse", warehouse);
    to_dashboard.sink("dashboard", sink::for_each(drop));
    builder
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            eprintln!("NOT TRUE: {broken}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let pace = Arc::new(AtomicU64::new(u64::try_from(SLOW.as_nanos()).unwrap_or(u64::MAX)));
    let pipeline = build(Warehouse { nanos_per_record: Arc::clone(&pace) }).build().map_err(|e| e.to_string())?;
    let heap_before = HEAP.counts().live_bytes;
    HEAP.reset_peak();
    let running = pipeline.start();
    let view = running.view();
    let mut screen = Screen::new(&view);

    say!("== The warehouse takes 2 000 records/s; the source could give a thousand times that.\n");
    screen.show_for(seconds(3.0)).await;
    let slow = screen.rate;
    let verdict = view.bottleneck();
    claim(verdict.kind == Kind::External, "the bottleneck is a stage that waits for a remote")?;
    claim(verdict.culprit.as_ref().is_some_and(|who| who.name == "warehouse"), "and it is the warehouse")?;
    claim(screen.in_flight() <= most_in_flight(&view), "the source has read no more than the windows hold")?;
    claim(view.is_progressing(), "slow is not stalled")?;

    say!("\n== The warehouse recovers: it answers at once.\n");
    pace.store(0, Ordering::Relaxed);
    screen.show_for(seconds(2.0)).await;
    let fast = screen.rate;
    claim(fast > 5.0 * slow, "the whole pipeline is as fast as its sink now")?;

    say!("\n== The intake is shut and the pipeline drains.\n");
    let report = running.drain(Duration::from_secs(10)).await;
    let heap = HEAP.counts();
    say!("{report}\n");
    let used = heap.peak_bytes.saturating_sub(heap_before);
    say!("memory, by the allocator: at most {} (budget {BUDGET}, and {BESIDE} beside the records)", Bytes::new(used));
    say!("rate: {slow:.0} records/s before, {fast:.0} records/s after");
    check_end(&report, used)
}

/// What must be true of every run.
fn check_end(report: &Report, heap_used: u64) -> Result<(), String> {
    let total = report.ledger.total();
    claim(report.ledger.check().is_ok(), "the ledger balances")?;
    claim(total.in_flight.is_zero(), "nothing is in flight after a drain")?;
    let expected = total.accepted - total.ended.get(Outcome::Filtered);
    claim(total.ended.get(Outcome::Delivered) == expected, "every order but the filtered ones was delivered")?;
    claim(report.peak <= BUDGET, "what was charged stayed within the budget")?;
    claim(heap_used <= BUDGET.get() + BESIDE.get(), "what was allocated stayed within the budget and what is beside it")
}

/// Every edge full, and two batches in the hands of every stage.
fn most_in_flight(view: &View) -> Records {
    let edges: Records = view.edges().iter().map(|edge| edge.window.records).sum();
    let stages = view.graph().stages().len() as u64;
    edges + Records::new(stages * 2 * BATCH)
}

fn claim(holds: bool, what: &str) -> Result<(), String> {
    if holds {
        say!("  checked: {what}");
        Ok(())
    } else {
        Err(what.to_owned())
    }
}

/// Seconds, as long as the environment says that a second is; tests are in a hurry.
fn seconds(count: f64) -> Duration {
    let speed = std::env::var("TIDEGATE_EXAMPLE_SPEED").ok().and_then(|speed| speed.parse().ok()).unwrap_or(1.0);
    Duration::from_secs_f64(count / speed)
}

/// Prints how the pipeline is, over and over; on a terminal in place and in colour.
struct Screen<'v> {
    view: &'v View,
    colour: bool,
    before: Vec<StageTimes>,
    read: u64,
    delivered: u64,
    /// Records that reached the warehouse per second, as shown last.
    rate: f64,
}

impl<'v> Screen<'v> {
    fn new(view: &'v View) -> Self {
        let colour = std::io::stdout().is_terminal();
        Self { view, colour, before: view.times(), read: 0, delivered: 0, rate: 0.0 }
    }

    async fn show_for(&mut self, time: Duration) {
        let step = time / 6;
        let mut drawn = 0;
        for _ in 0..6 {
            tokio::time::sleep(step).await;
            let text = self.frame(step);
            if drawn > 0 && self.colour {
                print!("\x1b[{drawn}A\x1b[J");
            }
            say!("{text}");
            drawn = text.lines().count();
        }
    }

    fn in_flight(&self) -> Records {
        self.view.ledger().total().in_flight
    }

    /// One look: rates, memory, then each stage with what it does and the edge that it reads from.
    fn frame(&mut self, step: Duration) -> String {
        let total = self.view.ledger().total();
        let (read, delivered) = (total.accepted.get(), total.ended.get(Outcome::Delivered).get());
        let rate = |now: u64, before: u64| (now - before) as f64 / step.as_secs_f64();
        self.rate = rate(delivered, self.delivered);
        let mut text = format!(
            "{:3.1} s  read {:>7.0}/s  delivered {:>7.0}/s  in flight {:>5}  heap {}\n",
            self.view.now().as_nanos() as f64 / 1e9,
            rate(read, self.read),
            self.rate,
            total.in_flight.get(),
            Bytes::new(HEAP.counts().live_bytes),
        );
        (self.read, self.delivered) = (read, delivered);
        text += "  stage      kind      edge before  does\n";
        let (times, edges) = (self.view.times(), self.view.edges());
        for (stage, (now, before)) in self.view.graph().stages().iter().zip(times.iter().zip(&self.before)) {
            let inputs = stage.inputs.iter().filter_map(|port| port.edge);
            let fill = inputs.map(|edge| edges[edge.index()].fill_share()).next();
            let doing = self.doing(&now.since(before));
            text += &format!("  {:<10} {:<9} {} {doing}\n", stage.name, stage.kind.to_string(), bar(fill));
        }
        self.before = times;
        // Wrapped here, so that the next frame knows how many lines to draw over.
        text + &wrapped(&self.view.bottleneck().to_string()).map(|line| self.bold(&line)).collect::<Vec<_>>().join("\n")
    }

    /// What a stage mostly did.
    fn doing(&self, times: &StageTimes) -> String {
        let waits = times.external + times.settle_wait + times.budget_wait + times.throttled;
        let shares = [
            ("idle", times.idle, "90"),
            ("blocked", times.blocked, "33"),
            ("busy", times.busy + times.ready, "32"),
            ("waits for its remote", waits, "31"),
        ];
        let [first, ..] = {
            let mut shares = shares;
            shares.sort_by_key(|(_, time, _)| std::cmp::Reverse(*time));
            shares
        };
        let text = format!("{:>3.0} % {}", times.share(first.1) * 100.0, first.0);
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", first.2) } else { text }
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A text in lines that fit a narrow terminal.
fn wrapped(text: &str) -> impl Iterator<Item = String> {
    let mut lines = vec![String::from(" ")];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 76 => *line += &format!(" {word}"),
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.into_iter()
}

/// How full the edge before a stage is.
fn bar(fill: Option<f64>) -> String {
    let Some(fill) = fill else { return " ".repeat(12) };
    let tenths = (1..=10).map(|tenth| if fill * 10.0 >= f64::from(tenth) - 0.5 { '#' } else { '.' });
    format!("[{}]", tenths.collect::<String>())
}
