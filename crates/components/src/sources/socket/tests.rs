//! Real sockets on free loopback ports.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_flow::Outcome as Ended;
use tidegate_runtime::{Report, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

use super::Socket;
use crate::contract::{BuildContext, Check, Depth};
use crate::testkit::{self, Kept};

/// A source that listens, and what its sink keeps.
struct Bed {
    cx: BuildContext,
    kept: Kept,
    running: Running,
    address: Option<SocketAddr>,
}

impl Bed {
    fn start(json: &str) -> Self {
        let config: Socket = serde_json::from_str(json).unwrap();
        let (cx, kept) = (BuildContext::new("unused").host("here"), Kept::default());
        let mut address = None;
        let running = testkit::start(&cx, &kept, |slot| address = config.start_at(slot).unwrap());
        Self { cx, kept, running, address }
    }

    fn tcp(more: &str) -> Self {
        Self::start(&format!(r#"{{"mode":"tcp","address":"127.0.0.1:0"{more}}}"#))
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address.unwrap()).await.unwrap()
    }

    fn counted(&self, name: &str) -> u64 {
        self.cx.meters.get("source", name)
    }

    async fn end(self) -> Report {
        let report = self.running.drain(Duration::from_secs(20)).await;
        report.ledger.check().unwrap();
        report
    }
}

async fn send(stream: &mut TcpStream, text: impl AsRef<[u8]>) {
    stream.write_all(text.as_ref()).await.unwrap();
}

#[tokio::test]
async fn lines_of_several_connections_arrive_and_the_last_needs_no_newline() {
    let bed = Bed::tcp("");
    let (mut one, mut two) = (bed.connect().await, bed.connect().await);
    send(&mut one, "a\nb").await;
    send(&mut two, "1\r\n\n2\n").await;
    bed.kept.arrive(3).await;
    send(&mut one, "b\nunfinished").await;
    drop((one, two));
    let mut texts = bed.kept.arrive(5).await;
    texts.sort();
    assert_eq!(texts, ["1", "2", "a", "bb", "unfinished"]);
    let meters = bed.cx.meters.clone();
    let report = bed.end().await;
    assert_eq!(report.ledger.total().ended.get(Ended::Delivered).get(), 5);
    assert_eq!((meters.get("source", "connections_opened"), meters.get("source", "bytes_read")), (2, 21));
}

#[tokio::test]
async fn records_are_told_apart_by_counts_lengths_and_characters() {
    let by = |character: &str| format!(r#","framing":{{"method":"{character}"}}"#);
    let bar = r#","framing":{"method":"character_delimited","character_delimited":{"delimiter":"|"}}"#;
    for (more, text) in [
        (by("octet_counting"), &b"3 one9 two\nlines<13>three\n7 cut"[..]),
        (by("length_delimited"), b"\0\0\0\x03one\0\0\0\x09two\nlines\0\0\0\x09<13>three\0\0"),
        (bar.to_owned(), b"one|two\nlines||<13>three"),
    ] {
        let bed = Bed::tcp(&more);
        let mut stream = bed.connect().await;
        // Cut anywhere.
        for part in text.chunks(5) {
            send(&mut stream, part).await;
        }
        drop(stream);
        assert_eq!(bed.kept.arrive(3).await, ["one", "two\nlines", "<13>three"], "{more}");
        while bed.counted("connections_closed") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bed.counted("frames_cut_off"), u64::from(!more.contains('|')), "{more}");
        bed.end().await;
    }
}

#[tokio::test]
async fn the_envelope_says_who_sent() {
    let bed = Bed::tcp(r#","decoding":{"codec":"json"}"#);
    let mut one = bed.connect().await;
    send(&mut one, "{\"a\":1}\n[]\n").await;
    let port = one.local_addr().unwrap().port();
    let texts = bed.kept.arrive(1).await;
    let record: serde_json::Value = serde_json::from_str(&texts[0]).unwrap();
    assert_eq!((&record["host"], &record["port"]), (&"127.0.0.1".into(), &port.into()));
    assert_eq!(record["source_type"], "socket");
    assert_eq!(bed.counted("records_malformed"), 1);
    bed.end().await;
}

#[tokio::test]
async fn a_line_that_comes_byte_by_byte_and_one_that_is_too_long() {
    let bed = Bed::tcp(r#","max_length":10"#);
    let mut one = bed.connect().await;
    one.set_nodelay(true).unwrap();
    for byte in b"slow line!\n" {
        send(&mut one, [*byte]).await;
        tokio::task::yield_now().await;
    }
    send(&mut one, "x".repeat(1_000_000)).await;
    send(&mut one, "\nshort\n").await;
    assert_eq!(bed.kept.arrive(2).await, ["slow line!", "short"]);
    assert_eq!(bed.counted("frames_oversize"), 1);
    bed.end().await;
}

#[tokio::test]
async fn very_short_lines_do_not_make_a_batch_that_is_too_large() {
    let bed = Bed::tcp("");
    let mut one = bed.connect().await;
    send(&mut one, "a\n".repeat(200_000)).await;
    assert!(bed.kept.arrive(200_000).await.iter().all(|text| text == "a"));
    bed.end().await;
}

#[tokio::test]
async fn who_is_over_the_limit_is_told_and_the_place_is_free_again_afterwards() {
    let bed = Bed::tcp(r#","connection_limit":1"#);
    let mut one = bed.connect().await;
    send(&mut one, "one\n").await;
    bed.kept.arrive(1).await;
    let mut over = bed.connect().await;
    assert_eq!(over.read(&mut [0; 1]).await.unwrap(), 0, "it ends at once");
    assert_eq!(bed.counted("connections_over_limit"), 1);
    send(&mut one, "one again\n").await;
    assert_eq!(bed.kept.arrive(2).await, ["one", "one again"]);
    drop(one);
    while bed.counted("connections_closed") < 1 {
        tokio::task::yield_now().await;
    }
    let mut two = bed.connect().await;
    send(&mut two, "two\n").await;
    assert_eq!(bed.kept.arrive(3).await[2], "two");
    bed.end().await;
}

#[tokio::test]
async fn a_sender_waits_for_a_slow_sink_and_nothing_is_lost() {
    let bed = Bed::tcp(r#","receive_buffer_bytes":"64KiB""#);
    bed.kept.shut(true);
    let one = bed.connect().await;
    let line = format!("{}\n", "x".repeat(99));
    let mut written = 0;
    // Until the kernel takes nothing for a while: everything behind the socket is full.
    while tokio::time::timeout(Duration::from_millis(300), one.writable()).await.is_ok() {
        match one.try_write(&line.as_bytes()[written % 100..]) {
            Ok(count) => written += count,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(written < 30 << 20, "{written} bytes were taken while nothing was delivered");
    }
    assert!(bed.running.budget().used() <= bed.running.budget().total(), "{:?}", bed.running.budget());
    bed.kept.shut(false);
    let mut one = one;
    send(&mut one, &line.as_bytes()[written % 100..]).await;
    let whole = written / 100 + 1;
    drop(one);
    let texts = bed.kept.arrive(whole).await;
    assert_eq!(texts.len(), whole);
    assert!(texts.iter().all(|text| text.len() == 99));
    bed.end().await;
}

#[tokio::test]
async fn a_busy_connection_takes_no_more_than_its_turn() {
    let bed = Bed::tcp("");
    bed.kept.shut(true);
    let (mut busy, mut quiet) = (bed.connect().await, bed.connect().await);
    let flood = tokio::spawn(async move {
        let block = format!("{}\n", "x".repeat(255)).repeat(256);
        for _ in 0..256 {
            send(&mut busy, &block).await;
        }
    });
    send(&mut quiet, "quiet\n").await;
    while bed.counted("connections_opened") < 2 {
        tokio::task::yield_now().await;
    }
    bed.kept.shut(false);
    let texts = bed.kept.arrive(65_537).await;
    flood.await.unwrap();
    let place = texts.iter().position(|text| text == "quiet").unwrap();
    // What fits into the window of the edge, in the stages and in a few turns, of 64 MiB in all.
    assert!(place < 20_000, "the quiet connection was read after {place} lines of the busy one");
    bed.end().await;
}

#[tokio::test]
async fn many_long_partial_lines_take_a_part_of_the_memory_and_others_pass() {
    let bed = Bed::tcp("");
    let mut holders = Vec::new();
    for _ in 0..120 {
        let mut stream = bed.connect().await;
        send(&mut stream, "y".repeat(50_000)).await;
        holders.push(stream);
    }
    let mut one = bed.connect().await;
    send(&mut one, "passes\n").await;
    bed.kept.arrive(1).await;
    while bed.counted("bytes_read") < 120 * 5_000 || bed.counted("connections_refused") == 0 {
        tokio::task::yield_now().await;
    }
    assert!(bed.running.budget().used().get() <= bed.running.budget().total().get() / 2);
    assert!(bed.counted("connections_refused") >= 60, "{}", bed.counted("connections_refused"));
    // The first ones were kept.
    send(&mut holders[0], "\n").await;
    assert_eq!(bed.kept.arrive(2).await[1].len(), 50_000);
    bed.end().await;
}

#[tokio::test]
async fn each_packet_is_a_record_and_its_sender_is_known() {
    let bed = Bed::start(r#"{"mode":"udp","address":"127.0.0.1:0","decoding":{"codec":"json"}}"#);
    let (one, two) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    for (socket, text) in [(&one, "{\"n\":1}"), (&two, "{\"n\":2}"), (&one, "{\"n\":3}")] {
        socket.send_to(text.as_bytes(), bed.address.unwrap()).await.unwrap();
    }
    let texts = bed.kept.arrive(3).await;
    for (text, socket) in texts.iter().zip([&one, &two, &one]) {
        let record: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(record["port"], socket.local_addr().unwrap().port(), "{text}");
    }
    bed.end().await;
}

#[tokio::test]
async fn what_the_kernel_drops_of_packets_is_counted() {
    let bed = Bed::start(r#"{"mode":"udp","address":"127.0.0.1:0","receive_buffer_bytes":4096}"#);
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(bed.address.unwrap()).await.unwrap();
    sender.writable().await.unwrap();
    // Within one poll of this task nobody reads: most do not fit.
    let sent =
        (0..1_000).filter(|number| sender.try_send(format!("packet {number}").as_bytes()).is_ok()).count() as u64;
    let meters = bed.cx.meters.clone();
    let counted = |name| meters.get("source", name);
    while counted("packets_read") == 0 {
        tokio::task::yield_now().await;
    }
    let (kept, address) = (bed.kept.clone(), bed.address);
    bed.end().await;
    assert!(counted("packets_dropped_by_kernel") > 0, "{address:?}");
    assert_eq!(counted("packets_read") + counted("packets_dropped_by_kernel"), sent);
    assert_eq!(kept.texts().len() as u64, counted("packets_read"));
}

#[tokio::test]
async fn packets_can_hold_lines_and_many_short_ones_fit() {
    let bed = Bed::start(r#"{"mode":"udp","address":"127.0.0.1:0","framing":{"method":"newline_delimited"}}"#);
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(bed.address.unwrap()).await.unwrap();
    sender.send(b"one\ntwo\n\nthree").await.unwrap();
    bed.kept.arrive(3).await;
    sender.send("a\n".repeat(30_000).as_bytes()).await.unwrap();
    let texts = bed.kept.arrive(30_003).await;
    assert_eq!((texts[..3].join(" "), texts.len()), ("one two three".to_owned(), 30_003));
    bed.end().await;
}

#[tokio::test]
async fn unix_sockets_work_and_replace_what_nobody_listens_on() {
    let folder = testkit::folder();
    let path = folder.path().join("in.sock");
    let json = |mode| format!(r#"{{"mode":"{mode}","path":{:?}}}"#, path.to_str().unwrap());
    // A socket that its process left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bed = Bed::start(&json("unix_stream"));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"over a stream\n").await.unwrap();
    bed.kept.arrive(1).await;
    let config: Socket = serde_json::from_str(&json("unix_stream")).unwrap();
    let mut check = Check::new(&bed.cx, Depth::Surroundings);
    crate::contract::SourceConfig::check(&config, &mut check);
    let problems = check.into_problems();
    assert!(problems.iter().any(|problem| problem.text.contains("another process listens")), "{problems:?}");
    bed.end().await;
    assert!(!path.exists(), "the file goes with its socket");

    let bed = Bed::start(&json("unix_datagram"));
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"in a packet", &path).await.unwrap();
    assert_eq!(bed.kept.arrive(1).await, ["in a packet"]);
    bed.end().await;
}

#[tokio::test]
async fn a_port_in_use_and_missing_places_are_reported_by_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cx = BuildContext::new("unused");
    for (json, key, said) in [
        (format!(r#"{{"mode":"tcp","address":"{address}"}}"#), "address", "cannot listen on"),
        (r#"{"mode":"tcp"}"#.to_owned(), "address", "needs one"),
        (r#"{"mode":"unix_stream","address":"127.0.0.1:1"}"#.to_owned(), "path", "needs one"),
        (r#"{"mode":"tcp","address":"127.0.0.1:0","connection_limit":0}"#.to_owned(), "connection_limit", "nobody"),
        (
            r#"{"mode":"tcp","address":"127.0.0.1:0","framing":{"method":"bytes"}}"#.to_owned(),
            "framing.method",
            "does not say",
        ),
        (r#"{"mode":"unix_stream","path":"/nowhere/at/all.sock"}"#.to_owned(), "path", "no folder"),
    ] {
        let config: Socket = serde_json::from_str(&json).unwrap();
        let mut check = Check::new(&cx, Depth::Surroundings);
        crate::contract::SourceConfig::check(&config, &mut check);
        let problems = check.into_problems();
        assert!(
            problems.iter().any(|problem| problem.key == key && problem.text.contains(said)),
            "{json}: {problems:?}"
        );
    }
}
