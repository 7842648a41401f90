//! What an application waits for from outside a pipeline, dropped at every await: no news and no record is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::time::Duration;

use futures_util::StreamExt as _;
use tidegate_flow::stall::StallReport;
use tidegate_flow::{Outcome, Weight, kib};
use tidegate_runtime::testkit::peers::slow_drip;
use tidegate_runtime::testkit::{Cut, TestSink, TestSource, drop_at_every_await};
use tidegate_runtime::{Pipeline, PipelineBuilder, Report, StallWatch, sink::FlowStream, source};
use tokio::task::JoinHandle;
use tokio::time::sleep;

fn builder() -> PipelineBuilder {
    Pipeline::builder("giving-up").batch(Weight::new(2, kib(1).get()))
}

/// A pipeline that stalls for a while and then goes on to its end.
fn stalling() -> (StallWatch, Vec<&'static str>, JoinHandle<Report>) {
    let (script, demand) = (TestSource::new(), TestSink::new());
    let builder = builder();
    builder.source("script", script.source()).edge("edge").sink("sink", demand.sink());
    script.push_all(0..10_u64);
    let running = builder.build().unwrap().start();
    let news = running.watch_stalls();
    let end = tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        demand.request(u64::MAX);
        sleep(Duration::from_secs(10)).await;
        script.end();
        running.wait().await
    });
    (news, Vec::new(), end)
}

async fn hear(news: &mut StallWatch, heard: &mut Vec<&'static str>) -> bool {
    let report = news.next().await;
    heard.extend(report.as_ref().map(|report| match report {
        StallReport::Stalled(_) => "stalled",
        StallReport::Recovered(_) => "recovered",
    }));
    report.is_some()
}

#[tokio::test(start_paused = true)]
async fn waiting_for_news_of_stalls_can_be_given_up() {
    let runs = drop_at_every_await(
        stalling,
        async |(news, heard, _): &mut (StallWatch, Vec<&'static str>, JoinHandle<Report>)| {
            while hear(news, heard).await {}
        },
        async |(mut news, mut heard, end), cut| {
            if !matches!(cut, Cut::Done(())) {
                while hear(&mut news, &mut heard).await {}
            }
            assert_eq!(heard, ["stalled", "recovered"], "{cut:?}");
            assert_eq!(news.missed(), 0);
            end.await.unwrap().ledger.check().unwrap();
        },
    )
    .await;
    assert!(runs >= 6, "{runs} runs: it waited for both, and for the end");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_record_of_a_stream_can_be_given_up() {
    let setup = || {
        let builder = builder();
        let drip = slow_drip(0..5_u64, Duration::from_millis(10));
        let stream: FlowStream<u64> = builder.source("drip", source::stream(drip)).edge("edge").into_stream("out");
        (stream, Vec::new(), builder.build().unwrap().start())
    };
    let runs = drop_at_every_await(
        setup,
        async |(stream, got, _): &mut (FlowStream<u64>, Vec<u64>, _)| {
            while let Some(record) = stream.next().await {
                got.push(record);
            }
        },
        async |(mut stream, mut got, running), cut| {
            while let Some(record) = stream.next().await {
                got.push(record);
            }
            assert_eq!(got, [0, 1, 2, 3, 4], "{cut:?}");
            let report = running.wait().await;
            report.ledger.check().unwrap();
            assert_eq!(report.ledger.total().ended.get(Outcome::Delivered).get(), 5, "{report}");
        },
    )
    .await;
    assert!(runs >= 10, "{runs} runs: it waited for every record");
}
