//! Many callers, one model: agents of three tenants ask questions. One tenant floods, and the other two must not notice.
//!
//! ```text
//! loud  (1000/s) \
//! quiet   (20/s)  > calls -> quota -> model (8 calls at once) -> answers
//! shy     (20/s) /
//! ```
//!
//! - The quota lets each tenant ask 100 questions a second and sheds what is over it, counted.
//! - Every record carries its tenant as a *bucket*, and the edges serve buckets in turn, so that who asks little does
//!   not wait behind who asks much.
//! - The model is asked with at most eight calls at once, each with a time limit.
//!
//! `cargo run --release -p tidegate --example tenants`

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::source::Sender;
use tidegate::{
    CallLimits, Class, EdgeSpec, Items, Order, Outcome, Pipeline, SourceOptions, ThrottleSpec, Weigh, Weight, kib, mib,
    sink, source,
};
use tokio::time::Instant;

mod say;
use say::say;

/// The tenants, and how many milliseconds each waits between two questions.
const TENANTS: [(&str, u64); 3] = [("loud", 1), ("quiet", 50), ("shy", 50)];
/// What each tenant may ask per second.
const QUOTA: f64 = 100.0;
/// How long the model takes for an answer: with eight calls at once, 160 a second.
const ANSWER: Duration = Duration::from_millis(50);

struct Question {
    tenant: usize,
    text: String,
    asked: Instant,
}

impl Weigh for Question {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.text.capacity()
    }
}

/// Answers of one tenant: how many, and how long they took together and at most.
#[derive(Default)]
struct Served {
    answers: u32,
    waited: Duration,
    longest: Duration,
}

/// An agent that asks until the pipeline takes no more.
async fn ask(mut questions: Sender<Question>, tenant: usize, every: Duration) {
    let mut number = 0;
    loop {
        number += 1;
        let text = format!("question {number} of {}", TENANTS[tenant].0);
        // A full pipeline makes the agent wait here: that is the pressure arriving.
        if questions.send(Question { tenant, text, asked: Instant::now() }).await.is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

async fn model(question: Question) -> Question {
    tokio::time::sleep(ANSWER).await;
    question
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Pipeline::builder("tenants").budget(mib(8)).batch(Weight::new(4, kib(4).get()));
    let fair = |name: &str| EdgeSpec::new(name).records(16).buckets(16).quantum(kib(1));
    let (calls, questions) = builder.port::<Items<Question>>(fair("calls"));
    for (tenant, (name, every)) in TENANTS.into_iter().enumerate() {
        let (sender, received) = source::channel(Weight::new(4, kib(4).get()));
        let bucket = u8::try_from(tenant)?;
        let by_tenant = SourceOptions::new(received).classify_by(move |_, _| Class { bucket, ..Class::default() });
        builder.source(name, by_tenant).to(&calls);
        tokio::spawn(ask(sender, tenant, Duration::from_millis(every)));
    }
    let served: Arc<Mutex<BTreeMap<usize, Served>>> = Arc::default();
    let count = Arc::clone(&served);
    questions
        .named("quota")
        .throttle_by(ThrottleSpec::enforce(QUOTA), |question: &Question| question.tenant)
        .edge(fair("to-model"))
        .named("model")
        .map_async(CallLimits::new(8).timeout(Duration::from_secs(5)), Order::Unordered, model)
        .edge(fair("to-answers"))
        .sink(
            "answers",
            sink::for_each(move |question: Question| {
                let waited = question.asked.elapsed();
                if let Ok(mut served) = count.lock() {
                    let served = served.entry(question.tenant).or_default();
                    served.answers += 1;
                    served.waited += waited;
                    served.longest = served.longest.max(waited);
                }
            }),
        );

    let running = builder.build()?.start();
    tokio::time::sleep(seconds(3.0)).await;
    say!("{}\n", running.bottleneck());
    let report = running.drain(Duration::from_secs(10)).await;
    say!("{report}\n");
    report.ledger.check()?;

    let served = served.lock().map_err(|_| "a thread panicked")?;
    say!("tenant  answers  waited on average  at most   (an answer takes {ANSWER:?})");
    for (tenant, served) in served.iter() {
        let mean = served.waited / served.answers.max(1);
        say!("{:6}  {:7}  {mean:>17.0?}  {:>7.0?}", TENANTS[*tenant].0, served.answers, served.longest);
    }
    let shed: u64 = report.ledger.shed().map(|(_, _, records)| records.get()).sum();
    say!("\n{shed} questions were over the quota of {QUOTA} a second");
    let shed_of = |tenant: usize| report.ledger.sources[tenant].1.ended.get(Outcome::Shed).get();
    assert!(shed_of(0) > 0 && shed_of(1) == 0 && shed_of(2) == 0, "only who floods loses questions");
    let mean = |tenant: usize| served[&tenant].waited / served[&tenant].answers.max(1);
    assert!(mean(1) < 4 * ANSWER && mean(2) < 4 * ANSWER, "who asks little does not wait behind who floods");
    Ok(())
}

/// Seconds, as long as the environment says that a second is; tests are in a hurry.
fn seconds(count: f64) -> Duration {
    let speed = std::env::var("TIDEGATE_EXAMPLE_SPEED").ok().and_then(|speed| speed.parse().ok()).unwrap_or(1.0);
    Duration::from_secs_f64(count / speed)
}
