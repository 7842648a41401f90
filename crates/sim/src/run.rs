//! Runs one plan in virtual time and checks what must hold during and after it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};
use std::time::Duration;

use tidegate_flow::Budget;
use tidegate_runtime::{PipelineEnd, Report, Running, View};
use tokio::runtime::Builder;

use crate::assemble::{Assembled, assemble};
use crate::book::Book;
use crate::oracle::{self, Ending};
use crate::plan::{End, Plan};
use crate::rng::{Rng, mix2};
use crate::stuck;

/// A run that takes longer than this, in virtual time, is stuck. Nothing in a plan waits for so long.
const STUCK: Duration = Duration::from_secs(600);

/// What came out of one run.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// The rules that were broken, in words; none if all is well.
    pub broken: Vec<String>,
    /// What the ledger counted at the end, over all sources.
    pub totals: tidegate_flow::SourceLedger,
    /// A number that depends on everything that happened.
    pub digest: u64,
    /// How often the pipeline was looked at while it ran.
    pub looks: u64,
    /// Whether panics of user code were caught.
    pub panicked: bool,
    /// Whether each record's end was held against what operators and sinks saw of it.
    pub exact: bool,
    /// How it ended, in words.
    pub end: String,
    /// Batches that were larger than the largest batch or the window of their edge, and all batches, at the edges.
    pub oversize: (u64, u64),
    /// Whether something never answered again, and was named.
    pub stalled: bool,
    /// Records that were diverted, at all edges.
    pub diverted: u64,
    /// What stood in the way, where it got stuck.
    pub stuck: Option<String>,
}

thread_local! {
    static PANICS: RefCell<(u64, Vec<String>)> = const { RefCell::new((0, Vec::new())) };
}

/// Keeps planned panics quiet and remembers all others: none may be swallowed as if user code had done it.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.payload().downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| info.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
            if text.starts_with("planned") {
                return PANICS.with_borrow_mut(|(planned, _)| *planned += 1);
            }
            if std::env::var_os("RUST_BACKTRACE").is_some() {
                before(info);
            }
            let at = info.location().map(ToString::to_string).unwrap_or_default();
            PANICS.with_borrow_mut(|(_, others)| others.push(format!("panic at {at}: {text}")));
        }));
    });
}

/// Runs a plan on a runtime of its own.
#[must_use]
pub fn run(plan: &Plan) -> Ran {
    listen_to_panics();
    PANICS.take();
    let runtime = match Builder::new_current_thread().enable_time().start_paused(true).build() {
        Ok(runtime) => runtime,
        Err(error) => return Ran { broken: vec![format!("no runtime: {error}")], ..Ran::default() },
    };
    let book = Arc::new(Book::new(plan.sources.len(), plan.sinks().count()));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run_within(plan, &book))));
    let mut ran = ended.unwrap_or_default();
    drop(runtime);
    let (planned, others) = PANICS.take();
    ran.panicked = planned > 0;
    ran.broken.extend(others);
    let notes = book.notes();
    ran.broken.extend(notes.broken.iter().cloned());
    ran.oversize = (notes.oversize, notes.deliveries);
    let mut text = ran.end.clone();
    let _ = write!(text, "{:?} {}", ran.totals, notes.deliveries);
    ran.digest = text.bytes().fold(mix2(ran.digest, notes.digest), |digest, byte| mix2(digest, u64::from(byte)));
    ran
}

async fn run_within(plan: &Plan, book: &Arc<Book>) -> Ran {
    let assembled = match assemble(plan, book) {
        Ok(assembled) => assembled,
        Err(refused) => return Ran { broken: vec![format!("the plan was refused: {refused}")], ..Ran::default() },
    };
    let budget = assembled.pipeline.budget().clone();
    let (kill, kill_first) = (assembled.kill.clone(), assembled.kill_first.clone());
    let Assembled { pipeline, .. } = assembled;
    let running = pipeline.start();
    let view = running.view();
    let looks = tokio::spawn(look(Arc::clone(&view), Arc::clone(book), mix2(plan.seed, 5)));
    let stalls = tokio::spawn(stuck::listen(view.watch_stalls(), Arc::clone(book)));
    let driven = tokio::time::timeout(STUCK, drive(running, plan.end, book, kill, kill_first)).await;
    looks.abort();
    stalls.abort();
    let mut ran = Ran { looks: book.looks(), ..Ran::default() };
    match driven {
        Ok(ending) => finish(plan, book, &view, &ending, &mut ran),
        Err(_) => {
            ran.broken.push("the pipeline got stuck".to_owned());
            ran.stuck = Some(describe(&view));
        }
    }
    drop(view);
    settle_down(&budget, &mut ran, book).await;
    ran
}

fn finish(plan: &Plan, book: &Arc<Book>, view: &View, ending: &Ending, ran: &mut Ran) {
    let ledger = view.ledger();
    ran.totals = ledger.total();
    ran.end = match &ending.report {
        Some(report) => format!("{} after {:?}", report.end, report.ran),
        None => "dropped".to_owned(),
    };
    ran.digest = format!("{ledger:?}").bytes().fold(plan.seed, |digest, byte| mix2(digest, u64::from(byte)));
    oracle::after(plan, book, view, ending, ran);
    if !ran.broken.is_empty() {
        ran.stuck = Some(format!("{ledger}\n"));
    }
}

/// Everything was let go: nothing may be charged any more.
async fn settle_down(budget: &Budget, ran: &mut Ran, book: &Book) {
    if ran.stuck.is_some() {
        return;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    if !budget.used().is_zero() {
        ran.broken.push(format!("{} are charged to the budget after the end", budget.used()));
    }
    if budget.peak() > budget.total() {
        ran.broken.push(format!("{} were charged at once, more than the budget of {}", budget.peak(), budget.total()));
    }
    if book.live_bytes() > 0 {
        ran.broken.push(format!("{} bytes of records are alive after the end", book.live_bytes()));
    }
}

/// Lets the pipeline run to the end that the plan has for it.
async fn drive(
    running: Running,
    end: End,
    book: &Book,
    kill: tidegate_runtime::KillSwitch,
    first: tidegate_runtime::KillSwitch,
) -> Ending {
    let report = match end {
        End::Stalled => Some(wait_or_stop(running, book).await),
        End::Complete => Some(running.wait().await),
        End::Kill(at) => {
            tokio::time::sleep(at).await;
            kill.shut();
            Some(running.wait().await)
        }
        End::KillSource(at) => {
            tokio::time::sleep(at).await;
            first.shut();
            Some(running.wait().await)
        }
        End::Drain(at, deadline) => {
            tokio::time::sleep(at).await;
            Some(running.drain(deadline).await)
        }
        End::Stop(at) => {
            tokio::time::sleep(at).await;
            Some(running.stop().await)
        }
        End::Drop(at) => {
            tokio::time::sleep(at).await;
            drop(running);
            tokio::time::sleep(Duration::from_secs(1)).await;
            None
        }
    };
    Ending { report }
}

/// Lets the pipeline end, or stops it when the time is over in which a stall must be named.
async fn wait_or_stop(running: Running, book: &Book) -> Report {
    loop {
        let over = book.notes().hung.is_some_and(|hung| hung.elapsed() > stuck::NAMED_WITHIN + stuck::WATCH_EVERY);
        if over {
            return running.stop().await;
        }
        if running.times().iter().all(|times| times.finished) {
            return running.wait().await;
        }
        tokio::time::sleep(stuck::WATCH_EVERY).await;
    }
}

/// Looks at the pipeline at random moments, for as long as it runs.
async fn look(view: Arc<View>, book: Arc<Book>, seed: u64) {
    let mut rng = Rng::new(seed);
    loop {
        oracle::during(&view, &book);
        book.looked();
        for _ in 0..rng.from_to(0, 6) {
            tokio::task::yield_now().await;
        }
        oracle::during(&view, &book);
        tokio::time::sleep(Duration::from_micros(rng.from_to(0, 20_000))).await;
    }
}

/// Why a pipeline does not move, as far as it can say itself.
fn describe(view: &View) -> String {
    let mut text = format!("{}\n", view.bottleneck());
    for (times, id) in view.times().iter().zip(view.graph().stage_ids()) {
        let name = view.graph().stage_name(id);
        let _ = writeln!(
            text,
            "stage {name}: {:?} since {:?}, finished {}",
            times.state, times.state_since, times.finished
        );
    }
    for edge in view.edges() {
        let _ = writeln!(text, "edge {edge:?}");
    }
    let _ = writeln!(text, "{}", view.ledger());
    let _ = writeln!(
        text,
        "budget: {} used of {}, {} free",
        view.budget().used(),
        view.budget().total(),
        view.budget().free()
    );
    text
}

/// Whether a report says that the pipeline failed.
#[must_use]
pub fn failure(report: &Report) -> Option<String> {
    match &report.end {
        PipelineEnd::Failed { stage, cause } => Some(format!("{stage}: {cause}")),
        _ => None,
    }
}
