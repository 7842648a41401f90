//! A pipeline under test: a scripted source, a sink with explicit demand, and virtual time. Nothing here waits for a
//! real second.
//!
//! In a project this would be two `#[tokio::test(start_paused = true)]` functions; here it is a program, so that it can
//! be run and read.
//!
//! `cargo run -p tidegate --example testing`

use std::error::Error;
use std::time::Duration;

use tidegate::testkit::{TestSink, TestSource};
use tidegate::{
    BuildErrors, EdgeSpec, Items, Nack, Outcome, Pipeline, Running, Sink, SinkOptions, SinkPolicy, Source, mib,
};

mod say;
use say::say;

/// The pipeline to be tested: it can be given any source and any sink.
fn start<S, K>(lines: S, store: K) -> Result<Running, BuildErrors>
where
    S: Source<Payload = Items<&'static str>>,
    K: Sink<Items<u64>>,
{
    let builder = Pipeline::builder("numbers").budget(mib(4));
    let retry = SinkPolicy { retries: 2, timeout: Some(Duration::from_secs(30)), ..SinkPolicy::default() };
    builder
        .source("lines", lines)
        .try_map(|line| line.parse::<u64>().map_err(|error| Nack::permanent(error.to_string())))
        .edge(EdgeSpec::new("to-store").records(4))
        .sink_with("store", store, SinkOptions::default().policy(retry));
    Ok(builder.build()?.start())
}

/// What does not parse goes back to its source with the reason; the rest arrives in order, when it is asked for.
async fn bad_lines_go_back() -> Result<(), Box<dyn Error>> {
    let (lines, store) = (TestSource::new(), TestSink::new());
    let running = start(lines.source(), store.sink())?;
    lines.push_all(["1", "two", "3"]);
    lines.end();
    // Nobody asked for anything: ten seconds pass in no time, and nothing arrives.
    store.expect_none_for(Duration::from_secs(10)).await;
    store.request(2);
    store.expect_next(1).await;
    store.expect_next(3).await;
    store.expect_end().await;
    let settled = lines.expect_settled(3).await;
    let refused: Vec<String> =
        settled.iter().filter_map(|settled| settled.nack.as_ref()).map(|n| n.to_string()).collect();
    say!("refused: {refused:?}");
    assert_eq!(refused.len(), 1);
    let report = running.wait().await;
    report.ledger.check()?;
    assert_eq!(report.ledger.total().ended.get(Outcome::Returned).get(), 1);
    Ok(())
}

/// A sink that takes nothing stops its source: no more is read than the edge holds and what is in hand.
async fn pressure_stops_the_source() -> Result<(), Box<dyn Error>> {
    let (lines, store) = (TestSource::new(), TestSink::<u64>::new());
    let running = start(lines.source(), store.sink())?;
    for _ in 0..1_000 {
        lines.push("7");
    }
    tidegate::testkit::settle().await;
    say!("read {} of 1000 lines while nobody took any", lines.read());
    assert!(lines.read() < 10);
    say!("{}", running.bottleneck());
    let report = running.stop().await;
    report.ledger.check()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(bad_lines_go_back())?;
    runtime.block_on(pressure_stops_the_source())?;
    say!("both tests passed");
    Ok(())
}
