//! What never answers again, and whether the watchdog says so: in time, and of nobody else.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::stall::StallReport;
use tidegate_flow::{Batch, Cause, Items};
use tidegate_runtime::stage::Ended;
use tidegate_runtime::{StageContext, StallWatch, Step, Transform};
use tokio::time::Instant;

use crate::book::Book;
use crate::plan::{Site, StallPlan};
use crate::record::Rec;

/// Work that waits this long is a stall.
pub const STALL_AFTER: Duration = Duration::from_secs(2);
/// How often the monitor looks: a period.
pub const WATCH_EVERY: Duration = Duration::from_millis(250);
/// Within this time a stall must be named.
pub const NAMED_WITHIN: Duration = STALL_AFTER.saturating_add(WATCH_EVERY);

/// Answers a few times, and then never again.
pub struct Stuck {
    plan: StallPlan,
    asked: u64,
    book: Arc<Book>,
}

impl Stuck {
    /// What the plan says.
    #[must_use]
    pub fn new(plan: StallPlan, book: &Arc<Book>) -> Self {
        Self { plan, asked: 0, book: Arc::clone(book) }
    }

    /// The name of the stage.
    #[must_use]
    pub fn name(&self) -> &'static str {
        "stuck"
    }

    /// Whether it is a call.
    #[must_use]
    pub fn is_call(&self) -> bool {
        matches!(self.plan.site, Site::Call(_))
    }

    /// Whether this time there is no answer. From then on there is none.
    pub fn hangs(&mut self) -> bool {
        self.asked += 1;
        let hangs = self.asked > self.plan.after;
        if hangs {
            self.book.hung(Instant::now());
        }
        hangs
    }

    /// A call for a record.
    pub fn into_call(
        mut self,
    ) -> impl FnMut(Rec) -> std::pin::Pin<Box<dyn Future<Output = Rec> + Send>> + Send + 'static {
        move |record| {
            if self.hangs() { Box::pin(std::future::pending()) } else { Box::pin(std::future::ready(record)) }
        }
    }
}

/// A step that waits for a side output, which nobody wakes.
pub struct Mute {
    stuck: Stuck,
    held: Option<Batch<Items<Rec>>>,
}

impl Mute {
    /// Passes on what comes before it gets stuck.
    #[must_use]
    pub fn new(stuck: Stuck) -> Self {
        Self { stuck, held: None }
    }
}

impl Transform<Items<Rec>> for Mute {
    type Out = Items<Rec>;

    fn process(
        &mut self,
        input: Batch<Items<Rec>>,
        out: &mut Option<Batch<Items<Rec>>>,
        _cx: &mut StageContext,
    ) -> Step {
        if self.stuck.hangs() {
            self.held = Some(input);
            return Step::Side;
        }
        *out = Some(input);
        Step::Done
    }

    fn poll_side(&mut self, _task: &mut Context<'_>, _cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        match self.held {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Err(Ended::Failed(Cause::from("planned: nothing is held")))),
        }
    }
}

/// Notes what the watchdog says.
pub async fn listen(mut watch: StallWatch, book: Arc<Book>) {
    while let Some(report) = watch.next().await {
        book.stalled(Instant::now(), report);
    }
}

/// Whether the watchdog named what never answers again, and nobody else. `stage` is what the plan has planted.
#[must_use]
pub fn judge(stage: Option<&str>, hung: Option<Instant>, said: &[(Instant, StallReport)]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut named = None;
    for (at, report) in said {
        match report {
            StallReport::Stalled(event) => {
                let root = event.chain.last().map(|link| link.name.as_str());
                let planted = hung.is_some() && root == stage && !event.is_cycle;
                if planted {
                    named = named.or(Some(*at));
                } else {
                    broken.push(format!("a stall was reported that nobody planted: {event}"));
                }
            }
            StallReport::Recovered(recovery) => broken.push(format!("a stall was taken back: {recovery}")),
        }
    }
    match (hung, named) {
        (None, _) => {}
        (Some(_), None) => broken.push(format!("{} never answered again, and nobody named it", stage.unwrap_or("?"))),
        (Some(hung), Some(named)) if named.duration_since(hung) > NAMED_WITHIN => {
            broken.push(format!("a stall was named after {:?} only", named.duration_since(hung)));
        }
        (Some(_), Some(_)) => {}
    }
    broken
}
