//! The server beside a pipeline that runs, asked over a real socket.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_admin::{MAX_CONNECTIONS, Reloaded, Shown, Tallies, metrics, serve};
use tidegate_runtime::{Pipeline, Running, sink, source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

struct Bench {
    address: SocketAddr,
    shown: Shown,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn bench() -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // tidy: allow(banned-calls): it carries one message
    let (stop, stopped) = oneshot::channel::<()>();
    let shown = Shown::default();
    let server = tokio::spawn(serve(listener, shown.clone(), async { drop(stopped.await) }));
    Bench { address, shown, stop, server }
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn pipeline() -> Running {
    let builder = Pipeline::builder("shop");
    builder
        .source("orders", source::iter(0..1_000_u64))
        .filter(|n| n % 2 == 0)
        .edge("to-store")
        .sink("store", sink::for_each(|_: u64| {}));
    builder.build().unwrap().start()
}

#[tokio::test]
async fn every_metric_is_there_with_its_labels_and_the_figures_are_the_ledgers() {
    let bench = bench().await;
    let running = pipeline();
    let view = running.view();
    let tallies = Tallies::new(|take| take("orders", "frames_oversize", 3));
    bench.shown.show_with(view.clone(), tallies);
    running.wait().await;
    let (status, text) = get(bench.address, "/metrics").await;
    assert_eq!(status, 200);
    for metric in metrics::METRICS {
        let line = format!("# HELP {}", metric.name);
        assert!(text.contains(&line), "{} is missing in {text}", metric.name);
    }
    assert!(text.contains("tidegate_records_total{name=\"orders\",kind=\"source\",flow=\"filtered\"} 500.0"), "{text}");
    assert!(text.contains("tidegate_source_records_total{source=\"orders\",outcome=\"delivered\"} 500.0"), "{text}");
    assert!(text.contains("tidegate_source_in_flight_records{source=\"orders\"} 0.0"), "{text}");
    let tally = "tidegate_component_tally_total{name=\"orders\",what=\"frames_oversize\"} 3.0";
    assert!(text.contains(tally), "{text}");
    assert!(text.contains("tidegate_edge_fill_bytes{edge=\"to-store\"} 0.0"), "{text}");
    assert!(text.contains("tidegate_stage_seconds_total{stage=\"orders\",state=\"busy\"}"), "{text}");
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
    drop(bench.stop);
    bench.server.await.unwrap().unwrap();
}

/// A line of the text: the name, the labels as written, the figure.
fn series(line: &str) -> (&str, &str) {
    let (series, figure) = line.rsplit_once(' ').unwrap();
    figure.parse::<f64>().unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    (name, labels.strip_suffix('}').unwrap())
}

#[tokio::test]
async fn every_series_stands_once_although_a_sink_and_its_edge_share_a_name() {
    let bench = bench().await;
    let builder = Pipeline::builder("shop");
    builder.source("orders", source::iter(0..10_u64)).edge("store").sink("store", sink::for_each(|_: u64| {}));
    let running = builder.build().unwrap().start();
    bench.shown.show(running.view());
    running.wait().await;
    let (_, text) = get(bench.address, "/metrics").await;
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let lines = body.lines().filter(|line| line.starts_with("tidegate_"));
    let mut seen: Vec<_> = lines.map(series).collect();
    seen.sort_unstable();
    let all = seen.len();
    let twice: Vec<_> = seen.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(all > 50 && twice.is_empty(), "{all} series; twice: {twice:?}");
    drop(bench.stop);
    bench.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn health_says_that_it_lives_and_whether_it_moves() {
    let bench = bench().await;
    assert_eq!(get(bench.address, "/health/live").await.0, 200);
    let (status, text) = get(bench.address, "/health/progress").await;
    assert_eq!(status, 503);
    assert!(text.contains("no pipeline is running"));
    let running = pipeline();
    bench.shown.show(running.view());
    assert_eq!(get(bench.address, "/health/progress").await.0, 200);
    assert!(get(bench.address, "/").await.1.contains("pipeline \"shop\""));
    assert_eq!(get(bench.address, "/nothing").await.0, 404);
    running.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_stall_makes_progress_unhealthy_and_names_it() {
    let builder = Pipeline::builder("stuck").stall_after(Duration::from_secs(1));
    let never = tidegate_runtime::sink::for_each_async(|_: u64| std::future::pending::<()>());
    builder.source("numbers", source::iter(0..10_u64)).edge("to-remote").sink("remote", never);
    let running = builder.build().unwrap().start();
    let mut stalls = running.view().watch_stalls();
    stalls.next().await.unwrap();
    let shown = Shown::default();
    shown.show(running.view());
    shown.count_reload(Reloaded::InPlace);
    let text = metrics::encode(&shown).unwrap();
    assert!(text.contains("tidegate_reloads_total{result=\"in_place\"} 1.0"), "{text}");
    assert!(text.contains("tidegate_reloads_total{result=\"refused\"} 0.0"), "{text}");
    assert!(text.contains("tidegate_stalls 1.0"), "{text}");
    assert!(running.view().stalls()[0].to_string().contains("remote"));
    running.stop().await;
}

#[tokio::test]
async fn connections_are_bounded_and_a_further_one_waits_for_its_turn() {
    let bench = bench().await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(TcpStream::connect(bench.address).await.unwrap());
    }
    let late = tokio::spawn(get(bench.address, "/health/live"));
    // Many answers on a connection that has its turn: long enough for the late one to be served, were it let in.
    let first = &mut idle[0];
    for _ in 0..50 {
        first.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 1024];
        assert!(first.read(&mut answer).await.unwrap() > 0);
    }
    assert!(!late.is_finished(), "more connections than are allowed were served");
    idle.clear();
    assert_eq!(late.await.unwrap().0, 200);
}
