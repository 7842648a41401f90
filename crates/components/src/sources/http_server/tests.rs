//! Real requests, written by hand, on free loopback ports.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_flow::Nack;
use tidegate_record::codec::compress::{Compression, compress};
use tidegate_runtime::{Report, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::HttpServer;
use crate::contract::{BuildContext, Check, Depth, SourceConfig as _};
use crate::testkit::{self, Kept};

/// A server, and what its sink keeps.
struct Bed {
    cx: BuildContext,
    kept: Kept,
    running: Running,
    address: SocketAddr,
}

impl Bed {
    fn start(more: &str) -> Self {
        let config: HttpServer = serde_json::from_str(&format!(r#"{{"address":"127.0.0.1:0"{more}}}"#)).unwrap();
        let (cx, kept) = (BuildContext::new("unused").host("here"), Kept::default());
        let mut address = None;
        let running = testkit::start(&cx, &kept, |slot| address = Some(config.start_at(slot).unwrap()));
        Self { cx, kept, running, address: address.unwrap() }
    }

    fn counted(&self, name: &str) -> u64 {
        self.cx.meters.get("source", name)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request with these lines in its head, and gives the answer.
    async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        write(&mut stream, head, body).await;
        read(&mut stream).await
    }

    async fn post(&self, body: &str) -> Answer {
        self.send("POST / HTTP/1.1", body.as_bytes()).await
    }

    async fn end(self) -> Report {
        let report = self.running.drain(Duration::from_secs(20)).await;
        report.ledger.check().unwrap();
        report
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn write(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("{head}\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may have refused it already.
    drop(stream.write_all(body).await);
}

async fn read(stream: &mut TcpStream) -> Answer {
    let mut text = Vec::new();
    loop {
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(text[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if text.len() >= end + 4 + length {
                let body = String::from_utf8(text[end + 4..end + 4 + length].to_vec()).unwrap();
                return Answer { status: head[9..12].parse().unwrap(), head, body };
            }
        }
        let count = stream.read_buf(&mut text).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn each_kind_of_body_becomes_its_records() {
    let bed = Bed::start("");
    assert_eq!(bed.post("one\ntwo\n").await.status, 200);
    assert_eq!(bed.kept.texts(), ["one\ntwo\n"]);
    bed.end().await;

    let bed = Bed::start(r#","framing":{"method":"newline_delimited"}"#);
    assert_eq!(bed.post("one\r\n\ntwo").await.status, 200);
    assert_eq!(bed.kept.texts(), ["one", "two"]);
    bed.end().await;

    let bed = Bed::start(r#","decoding":{"codec":"json"}"#);
    for body in ["{\"n\":\n1}", "[{\"n\":2},{\"n\":3}]", "{\"n\":4}\n{\"n\":5}\n"] {
        assert_eq!(bed.post(body).await.status, 200, "{body}");
    }
    let numbers: Vec<serde_json::Value> =
        bed.kept.texts().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert!(numbers.iter().map(|record| record["n"].as_u64().unwrap()).eq(1..=5), "{numbers:?}");
    assert_eq!(bed.post("").await.status, 200, "no records are no fault");
    bed.end().await;
}

#[tokio::test]
async fn the_envelope_has_the_path_the_sender_and_the_headers_that_are_asked_for() {
    let bed = Bed::start(r#","decoding":{"codec":"json"},"path":"/logs","strict_path":false,"headers":["X-Tenant"]"#);
    let answer = bed.send("POST /logs/app HTTP/1.1\r\nX-Tenant: blue", b"{\"host\":\"mine\"}").await;
    assert_eq!(answer.status, 200);
    let record: serde_json::Value = serde_json::from_str(&bed.kept.texts()[0]).unwrap();
    assert_eq!((&record["path"], &record["x-tenant"]), (&"/logs/app".into(), &"blue".into()));
    assert_eq!((&record["host"], &record["source_type"]), (&"mine".into(), &"http_server".into()));
    bed.end().await;
}

#[tokio::test]
async fn the_answer_comes_when_the_records_are_safe_and_not_before() {
    let bed = Bed::start(r#","response_code":204"#);
    bed.kept.shut(true);
    let mut stream = bed.connect().await;
    write(&mut stream, "POST / HTTP/1.1", b"one").await;
    while bed.counted("requests_taken") == 0 {
        tokio::task::yield_now().await;
    }
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), stream.peek(&mut byte)).await;
    assert!(early.is_err(), "it was answered before its record was safe");
    bed.kept.shut(false);
    assert_eq!(read(&mut stream).await.status, 204);
    assert_eq!(bed.kept.texts(), ["one"]);
    // And the connection can be used again.
    write(&mut stream, "POST / HTTP/1.1", b"two").await;
    assert_eq!(read(&mut stream).await.status, 204);
    assert_eq!(bed.counted("connections_opened"), 1);
    bed.end().await;
}

#[tokio::test]
async fn what_is_not_safe_in_time_is_answered_with_503_and_counted_as_a_possible_duplicate() {
    let bed = Bed::start(r#","ack_timeout":"100ms","framing":{"method":"newline_delimited"}"#);
    bed.kept.shut(true);
    let answer = bed.post("one\ntwo\n").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1") && answer.body.contains("may still arrive"), "{}", answer.head);
    assert_eq!((bed.counted("requests_timed_out"), bed.counted("records_possibly_duplicated")), (1, 2));
    bed.kept.shut(false);
    assert_eq!(bed.kept.arrive(2).await, ["one", "two"]);
    bed.end().await;
}

#[tokio::test]
async fn who_would_wait_too_long_is_refused_before_the_body_is_read() {
    let bed = Bed::start(r#","ack_timeout":"2s""#);
    bed.kept.shut(true);
    let mut first = bed.connect().await;
    write(&mut first, "POST / HTTP/1.1", b"one").await;
    let refused = loop {
        let mut stream = bed.connect().await;
        // The body is never sent.
        stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n").await.unwrap();
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(100), read(&mut stream)).await {
            break answer;
        }
    };
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    assert_eq!(bed.counted("requests_refused_early"), 1);
    bed.kept.shut(false);
    assert_eq!(read(&mut first).await.status, 200);
    assert_eq!(bed.post("two").await.status, 200, "and when it moves again, all are let in");
    bed.end().await;
}

#[tokio::test]
async fn behind_a_dead_sink_only_the_first_is_kept_waiting() {
    let bed = Bed::start(r#","ack_timeout":"100ms""#);
    bed.kept.shut(true);
    assert_eq!(bed.post("one").await.status, 503);
    for _ in 0..5 {
        let refused = bed.post("two").await;
        assert!(refused.status == 429 && refused.head.contains("retry-after: "), "{}", refused.head);
    }
    assert_eq!((bed.counted("requests_timed_out"), bed.counted("requests_refused_early")), (1, 5));
    bed.kept.shut(false);
    assert_eq!(bed.kept.arrive(1).await, ["one"]);
    while bed.post("three").await.status != 200 {}
    assert_eq!(bed.kept.texts(), ["one", "three"], "nothing of what was refused is inside");
    bed.end().await;
}

#[tokio::test]
async fn who_goes_away_leaves_records_that_others_wait_behind() {
    let bed = Bed::start(r#","ack_timeout":"200ms""#);
    bed.kept.shut(true);
    let mut gone = bed.connect().await;
    write(&mut gone, "POST / HTTP/1.1", b"one").await;
    while bed.counted("requests_taken") == 0 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(150) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bed.post("two").await.status, 429);
    bed.kept.shut(false);
    while bed.post("three").await.status != 200 {}
    bed.end().await;
}

#[tokio::test]
async fn bodies_wait_under_the_budget_and_no_more_are_read_than_there_is_memory_for() {
    let bed = Bed::start("");
    bed.kept.shut(true);
    let mut waiting = Vec::new();
    let body = vec![b'x'; 1 << 20];
    let refused = loop {
        let mut stream = bed.connect().await;
        write(&mut stream, "POST / HTTP/1.1", &body).await;
        let early = tokio::time::timeout(Duration::from_millis(300), read(&mut stream)).await;
        match early {
            Ok(answer) => break answer,
            Err(_) => waiting.push(stream),
        }
        assert!(waiting.len() < 64, "64 MiB were taken into 16");
        assert!(bed.running.budget().used() <= bed.running.budget().total());
    };
    assert_eq!(refused.status, 429);
    assert!(!waiting.is_empty());
    bed.kept.shut(false);
    for stream in &mut waiting {
        assert_eq!(read(stream).await.status, 200);
    }
    assert_eq!(bed.kept.texts().len(), waiting.len(), "each once");
    bed.end().await;
}

#[tokio::test]
async fn what_a_sink_refuses_is_told() {
    let bed = Bed::start("");
    // But not why: that may name what is behind us.
    bed.kept.refuse(Nack::permanent("http://10.0.0.7:9200 answered 422: secret schema"));
    let answer = bed.post("one").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("sending the same again will not help"), "{}", answer.body);
    for inner in ["10.0.0.7", "secret", "422"] {
        assert!(!answer.body.contains(inner) && !answer.head.contains(inner), "{}", answer.body);
    }
    for _ in 0..4 {
        bed.kept.refuse(Nack::transient("busy"));
    }
    let answer = bed.post("two").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("send them again") && !answer.body.contains("busy"), "{}", answer.body);
    assert!(answer.head.contains("retry-after: 1"));
    assert_eq!(bed.post("three").await.status, 200);
    assert_eq!(bed.kept.texts(), ["three"]);
    bed.end().await;
}

#[tokio::test]
async fn compressed_bodies_are_read_and_those_that_are_too_large_are_not() {
    let bed = Bed::start(r#","max_body_bytes":10000,"framing":{"method":"newline_delimited"}"#);
    for (encoding, compression) in
        [("gzip", Compression::Gzip), ("zstd", Compression::Zstd), ("deflate", Compression::Zlib)]
    {
        let body = compress(compression, b"one\ntwo\n").unwrap();
        let head = format!("POST / HTTP/1.1\r\nContent-Encoding: {encoding}");
        assert_eq!(bed.send(&head, &body).await.status, 200, "{encoding}");
        assert_eq!(bed.send(&head, &body[..body.len() - 5]).await.status, 400, "{encoding}, cut off");
        let bomb = compress(compression, &vec![b'x'; 10_001]).unwrap();
        assert_eq!(bed.send(&head, &bomb).await.status, 413, "{encoding}, of 10001 bytes");
    }
    assert_eq!(bed.kept.texts().len(), 6);
    assert_eq!(bed.send("POST / HTTP/1.1\r\nContent-Encoding: br", b"x").await.status, 415);
    bed.end().await;
}

#[tokio::test]
async fn what_is_too_large_or_not_meant_for_us_is_refused() {
    let bed = Bed::start(
        r#","max_body_bytes":100,"path":"/in","auth":{"strategy":"basic","username":"ada","password":"tide"}"#,
    );
    let login = "Authorization: Basic YWRhOnRpZGU=";
    let status = async |head: String, body: &[u8]| bed.send(&head, body).await.status;
    assert_eq!(status(format!("POST /in HTTP/1.1\r\n{login}"), &[b'x'; 100]).await, 200);
    assert_eq!(status(format!("POST /in HTTP/1.1\r\n{login}"), &[b'x'; 101]).await, 413);
    assert_eq!(status(format!("POST /in/more HTTP/1.1\r\n{login}"), b"x").await, 404);
    assert_eq!(status(format!("PUT /in HTTP/1.1\r\n{login}"), b"x").await, 405);
    assert_eq!(status("POST /in HTTP/1.1".to_owned(), b"x").await, 401);
    assert_eq!(status("POST /in HTTP/1.1\r\nAuthorization: Basic YWRhOnRpZGV=".to_owned(), b"x").await, 401);
    // Without a length.
    let mut stream = bed.connect().await;
    let head = format!("POST /in HTTP/1.1\r\nHost: x\r\n{login}\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(format!("65\r\n{}\r\n0\r\n\r\n", "x".repeat(101)).as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await.status, 413);
    assert_eq!(bed.kept.texts().len(), 1);
    bed.end().await;
}

#[tokio::test]
async fn a_body_with_one_bad_record_is_refused_as_a_whole() {
    let bed = Bed::start(r#","decoding":{"codec":"json"}"#);
    let answer = bed.post("{\"a\":1}\n{\"a\":\n").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.starts_with("record 2: "), "{}", answer.body);
    assert_eq!(bed.counted("requests_malformed"), 1);
    assert_eq!(bed.post(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))).await.status, 400);
    assert!(bed.kept.texts().is_empty());
    bed.end().await;
}

#[tokio::test]
async fn a_large_body_is_read_in_parts_and_answered_once() {
    let bed = Bed::start(r#","framing":{"method":"newline_delimited"}"#);
    let body: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(bed.post(&body).await.status, 200);
    assert!(bed.kept.texts().iter().enumerate().all(|(at, text)| *text == at.to_string()));
    assert_eq!(bed.kept.texts().len(), 100_000);
    bed.end().await;
}

#[tokio::test]
async fn clients_that_are_slow_or_vanish_cost_their_connection_alone() {
    let bed = Bed::start(r#","read_timeout":"300ms","connection_limit":2"#);
    let mut vanishing = bed.connect().await;
    vanishing.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    let mut slow = bed.connect().await;
    slow.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    while bed.counted("connections_opened") < 2 {
        tokio::task::yield_now().await;
    }
    drop(vanishing);
    assert_eq!(read(&mut slow).await.status, 408);
    drop(slow);
    assert_eq!(bed.post("whole").await.status, 200);
    assert_eq!(bed.kept.texts(), ["whole"]);
    bed.end().await;
}

/// The budget pays for connections, for what a body was before it was compressed, and for the list of its records.
#[tokio::test]
async fn what_is_held_between_reads_is_charged_and_given_back() {
    let bed = Bed::start(r#","framing":{"method":"newline_delimited"}"#);
    let used = |bed: &Bed, what: &str| {
        let holdings = bed.running.holdings();
        holdings.iter().find(|held| held.what == what).map_or(0, |held| held.used.get())
    };
    // Each task that accepts has paid for the connection that it waits for.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let waiting = used(&bed, "between reads");
    let mut stream = bed.connect().await;
    bed.kept.shut(true);
    let body = compress(Compression::Gzip, "a line\n".repeat(50_000).as_bytes()).unwrap();
    write(&mut stream, "POST / HTTP/1.1\r\nContent-Encoding: gzip", &body).await;
    while bed.counted("requests_taken") == 0 {
        tokio::task::yield_now().await;
    }
    assert!(used(&bed, "slabs") >= 350_000, "the body: {:?}", bed.running.holdings());
    assert!(used(&bed, "between reads") >= waiting + 16 * 40_000, "its records: {:?}", bed.running.holdings());
    bed.kept.shut(false);
    assert_eq!(read(&mut stream).await.status, 200);
    drop(stream);
    while used(&bed, "between reads") > waiting {
        tokio::task::yield_now().await;
    }
    bed.end().await;
}

#[tokio::test]
async fn who_says_nothing_makes_room_for_who_does() {
    let bed = Bed::start(r#","connection_limit":8"#);
    let mut silent = Vec::new();
    for head in ["", "POST / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nha"].iter().cycle().take(8) {
        let mut stream = bed.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    while bed.counted("connections_opened") < 8 {
        tokio::task::yield_now().await;
    }
    let began = tokio::time::Instant::now();
    // Large enough that what follows is not taken for more than there is time for.
    assert_eq!(bed.post(&"one".repeat(1_000)).await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}, of 30 s", began.elapsed());
    assert_eq!(bed.counted("connections_given_up"), 1);
    let mut closed = 0;
    for stream in &mut silent {
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read_u8()).await;
        closed += usize::from(matches!(read, Ok(Err(_))));
    }
    assert_eq!(closed, 1);
    // Those whose answers are our affair are not silent, however long that takes.
    bed.kept.shut(true);
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut stream = bed.connect().await;
        write(&mut stream, "POST / HTTP/1.1", b"two").await;
        waiting.push(stream);
    }
    while bed.counted("requests_taken") < 9 {
        tokio::task::yield_now().await;
    }
    let given_up = bed.counted("connections_given_up");
    let mut late = bed.connect().await;
    write(&mut late, "POST / HTTP/1.1", b"three").await;
    assert!(tokio::time::timeout(Duration::from_millis(1_500), read(&mut late)).await.is_err());
    assert_eq!(bed.counted("connections_given_up"), given_up);
    bed.kept.shut(false);
    for stream in waiting.iter_mut() {
        assert_eq!(read(stream).await.status, 200);
    }
    drop(waiting);
    assert_eq!(read(&mut late).await.status, 200);
    bed.end().await;
}

#[tokio::test]
async fn records_are_known_by_what_the_sender_says() {
    let bed = Bed::start(r#","framing":{"method":"newline_delimited"}"#);
    let ids = |bed: &Bed| bed.kept.ids().into_iter().map(Option::unwrap).collect::<Vec<_>>();
    let keyed = "POST / HTTP/1.1\r\nIdempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324";
    for _ in 0..2 {
        assert_eq!(bed.send(keyed, b"a\nb\n").await.status, 200);
    }
    assert_eq!(bed.post("c\nd\n").await.status, 200);
    assert_eq!(bed.post("e\n").await.status, 200);
    let found = ids(&bed);
    assert_eq!(found[..2], found[2..4], "the same key and body, the same records");
    assert!(found[0] != found[1] && found[0].stream == found[1].stream);
    assert_eq!(found[4..].iter().map(|id| id.number).collect::<Vec<_>>(), [0, 1, 2], "counted over the run");
    let stream = tidegate_record::StreamId::from_bits(77);
    let listed = format!("POST / HTTP/1.1\r\nTidegate-Ids: 1,{stream}:40*2,_,+7.2");
    assert_eq!(bed.send(&listed, b"a\nb\nc\nd\n").await.status, 200);
    let found = bed.kept.ids().split_off(7);
    let id = |number| tidegate_record::RecordId::new(stream, number);
    assert_eq!(found, [Some(id(40)), Some(id(41)), None, Some(tidegate_record::RecordId { part: 2, ..id(48) })]);
    assert_eq!(bed.send(&listed, b"a\n").await.status, 200, "a list of others is no reason to refuse records");
    assert_eq!(bed.counted("requests_with_wrong_ids"), 1);
    bed.end().await;

    let bed = Bed::start(r#","record_ids":"own""#);
    for _ in 0..2 {
        assert_eq!(bed.send(keyed, b"a").await.status, 200);
    }
    let found = ids(&bed);
    assert_ne!(found[0], found[1]);
    bed.end().await;
}

#[tokio::test]
async fn a_key_that_two_clients_chose_is_not_taken_for_one_request() {
    let bed = Bed::start(r#","framing":{"method":"newline_delimited"}"#);
    let keyed = "POST / HTTP/1.1\r\nIdempotency-Key: 1";
    for body in ["a\nb\n", "c\nd\n", "a\nb\n", "a\n"] {
        assert_eq!(bed.send(keyed, body.as_bytes()).await.status, 200);
    }
    let found: Vec<_> = bed.kept.ids().into_iter().map(Option::unwrap).collect();
    let [one, other, again, shorter] = [0, 2, 4, 6].map(|at| found[at].stream);
    assert_eq!(found[..2], found[4..6], "the same request repeats");
    assert!(one == again && one != other && one != shorter && other != shorter, "{found:?}");
    bed.end().await;
}

#[tokio::test]
async fn a_long_list_of_ids_goes_with_its_records_through_many_reads() {
    let bed = Bed::start(r#","framing":{"method":"newline_delimited"}"#);
    let stream = tidegate_record::StreamId::from_bits(77);
    let (mut body, mut list) = (String::new(), format!("1,{stream}:0*6000"));
    (0..9_000).for_each(|number| body += &format!("{number}\n"));
    (0..1_000).for_each(|_| list += ",+2*3");
    let ids = format!("POST / HTTP/1.1\r\nTidegate-Ids: {}", &list[..list.len().min(4096)]);
    assert_eq!(bed.send(&ids, body.as_bytes()).await.status, 200);
    assert_eq!(bed.counted("requests_with_wrong_ids"), 1, "longer than a list may be");
    list.truncate(0);
    list += &format!("1,{stream}:0*8000");
    (0..500).for_each(|_| list += ",+2*2");
    assert_eq!(bed.send(&format!("POST / HTTP/1.1\r\nTidegate-Ids: {list}"), body.as_bytes()).await.status, 200);
    let (texts, ids) = (bed.kept.texts().split_off(9_000), bed.kept.ids().split_off(9_000));
    assert_eq!((texts.len(), ids.len(), bed.counted("requests_with_wrong_ids")), (9_000, 9_000, 1));
    for (number, (text, id)) in (0_u64..).zip(texts.iter().zip(ids)) {
        let expected = if number < 8_000 { number } else { 8_001 + (number - 8_000) / 2 * 3 + number % 2 };
        assert_eq!((text.parse().ok(), id.map(|id| id.number)), (Some(number), Some(expected)));
    }
    bed.end().await;
}

/// With one connection in the middle of a body, others are served on the same and on other tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_are_slow_do_not_keep_others_waiting() {
    let bed = Bed::start("");
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = bed.connect().await;
        stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..32 {
        assert_eq!(bed.post("whole").await.status, 200);
    }
    for stream in &mut slow {
        stream.write_all(b" whole").await.unwrap();
        assert_eq!(read(stream).await.status, 200);
    }
    assert_eq!(bed.kept.texts().len(), 40);
    bed.end().await;
}

#[tokio::test]
async fn a_drain_answers_what_was_read() {
    let bed = Bed::start("");
    bed.kept.shut(true);
    let mut stream = bed.connect().await;
    write(&mut stream, "POST / HTTP/1.1", b"one").await;
    while bed.running.ledger().total().in_flight.is_zero() {
        tokio::task::yield_now().await;
    }
    bed.running.shut_intake();
    bed.kept.shut(false);
    let (report, answer) = tokio::join!(bed.running.drain(Duration::from_secs(20)), read(&mut stream));
    assert_eq!(answer.status, 200);
    report.ledger.check().unwrap();
}

#[test]
fn what_cannot_work_is_reported_by_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let json = format!(
        r#"{{"address":"{}","path":"in","response_code":404,"ack_timeout":0,"connection_limit":0}}"#,
        taken.local_addr().unwrap()
    );
    let config: HttpServer = serde_json::from_str(&json).unwrap();
    let cx = BuildContext::new("unused");
    let mut check = Check::new(&cx, Depth::Surroundings);
    config.check(&mut check);
    let keys: Vec<String> = check.into_problems().into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["path", "response_code", "ack_timeout", "connection_limit", "address"]);
    assert!(!format!("{:?}", Bed::auth()).contains("tide"), "passwords are not printed");
}

impl Bed {
    fn auth() -> super::Auth {
        serde_json::from_str(r#"{"username":"ada","password":"tide"}"#).unwrap()
    }
}
