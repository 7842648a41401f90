//! The sink `http` against a scripted receiver.

use serde_json::{Value, json};
use tidegate_flow::Outcome;
use tidegate_record::codec::compress::{Compression, Limits, decompress};
use tidegate_runtime::PipelineEnd;

use crate::fake::{Receiver, Reply};
use crate::rig::{Folder, Rig, ended, keys, until};

/// A sink that sends to the receiver, tries again soon, and with these further options.
fn sink(receiver: &Receiver, more: Value) -> Value {
    let mut sink = json!({
        "type": "http", "uri": receiver.uri(), "encoding": {"codec": "json"},
        "request": {"retry_initial_backoff_secs": 0.01, "timeout_secs": 5},
    });
    sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sink
}

fn status(status: u16) -> Reply {
    Reply::Status(status, None, "because")
}

/// The numbers in the bodies of the requests.
fn numbers(receiver: &Receiver) -> Vec<Vec<u64>> {
    let body = |got: crate::fake::Got| {
        let records: Vec<Value> = serde_json::from_slice(&got.body).unwrap();
        records.iter().map(|record| record["n"].as_u64().unwrap()).collect()
    };
    receiver.got().into_iter().map(body).collect()
}

fn records(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("{{\"n\":{n}}}")).collect()
}

#[tokio::test]
async fn a_batch_is_a_request_with_what_the_options_say() {
    let receiver = Receiver::new([]).await;
    let more = json!({
        "method": "put", "auth": {"strategy": "basic", "user": "u", "password": "p"},
        "headers": {"X-Tenant": "seven"},
    });
    let rig = Rig::new(&sink(&receiver, more), None);
    rig.send(["{\"n\":1}", "{\"n\":2}"]).await;
    let report = rig.end().await;
    assert_eq!(ended(&report, Outcome::Delivered), 2);
    let got = &receiver.got()[0];
    assert_eq!((&*got.method, &*got.path, &*got.text()), ("PUT", "/in", "[{\"n\":1},{\"n\":2}]"));
    let header = |name: &str| got.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("authorization"), "Basic dTpw");
    assert_eq!(header("x-tenant"), "seven");
    assert!(header("user-agent").starts_with("tidegate/"));
}

#[tokio::test]
async fn framing_and_compression_are_as_asked_for() {
    for (compression, name) in
        [("none", None), ("gzip", Some("gzip")), ("zstd", Some("zstd")), ("zlib", Some("deflate"))]
    {
        let receiver = Receiver::new([]).await;
        let more = json!({"compression": compression, "framing": {"method": "newline_delimited"}});
        let rig = Rig::new(&sink(&receiver, more), None);
        rig.send(["{\"n\":1}", "{\"n\":2}"]).await;
        rig.end().await;
        let got = &receiver.got()[0];
        let said = got.headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(said, name);
        let codec = name.map_or(Compression::None, |name| Compression::from_content_encoding(name).unwrap());
        let text = decompress(codec, &got.body, Limits::default()).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "{\"n\":1}\n{\"n\":2}\n", "{compression}");
        assert_eq!(got.headers["content-type"], "application/x-ndjson");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_delivered_once() {
    for reply in
        [status(503), status(500), status(408), Reply::Status(429, Some(("retry-after", "0")), ""), Reply::Hangup]
    {
        let receiver = Receiver::new([reply.clone(), reply.clone()]).await;
        let rig = Rig::new(&sink(&receiver, json!({})), None);
        rig.send(records(0..3)).await;
        let report = rig.end().await;
        assert_eq!((ended(&report, Outcome::Delivered), report.end), (3, PipelineEnd::Completed), "{reply:?}");
        assert_eq!(numbers(&receiver), [[0, 1, 2]; 3], "{reply:?}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_tried_again() {
    let receiver = Receiver::new([Reply::Silence]).await;
    let request = json!({"request": {"timeout_secs": 0.2, "retry_initial_backoff_secs": 0.01}});
    let rig = Rig::new(&sink(&receiver, request), None);
    rig.send(records(0..2)).await;
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 2);
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_yet_is_waited_for() {
    let gone = Receiver::new([]).await;
    let (address, config) = (gone.address, sink(&gone, json!({})));
    drop(gone);
    // The port is free again when its listener is closed.
    until("the port", || std::net::TcpStream::connect(address).is_err()).await;
    let rig = Rig::new(&config, None);
    rig.send(records(0..2)).await;
    let receiver = Receiver::at(&address.to_string(), []).await;
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 2);
    assert_eq!(numbers(&receiver), [[0, 1]]);
}

#[tokio::test]
async fn a_bad_record_is_found_by_halving_and_the_others_arrive() {
    // [0..4] is refused, [0,1] accepted, so it must be in [2,3], which is not tried; [2] refused, [3] accepted.
    let receiver = Receiver::new([status(400), status(200), status(422)]).await;
    let rig = Rig::new(&sink(&receiver, json!({})), None);
    rig.send(records(0..4)).await;
    let report = rig.end().await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (3, 1), "{report}");
    assert_eq!(numbers(&receiver), [vec![0, 1, 2, 3], vec![0, 1], vec![2], vec![3]]);
}

#[tokio::test]
async fn a_wrong_address_or_login_blames_no_record_and_is_waited_for() {
    for code in [401, 403, 404, 405, 301, 501] {
        let receiver = Receiver::new([status(code), status(code)]).await;
        let rig = Rig::new(&sink(&receiver, json!({"request": {"retry": {"initial_backoff": "1ms"}}})), None);
        rig.send(records(0..8)).await;
        let report = rig.end().await;
        assert_eq!((ended(&report, Outcome::Delivered), receiver.got().len()), (8, 3), "{code}");
        let facts = &report.refusals[0];
        let cause = facts.last.as_ref().map(|last| last.cause.to_string()).unwrap_or_default();
        assert!(facts.transient == 2 && cause.contains(&format!("answered {code}")), "{facts}");
        assert!(cause.contains("check `uri`"), "{cause}");
    }
}

#[tokio::test]
async fn as_many_requests_are_under_way_as_was_asked_for() {
    let receiver = Receiver::new(std::iter::repeat_n(Reply::WhenAllowed, 12)).await;
    let request = json!({"request": {"concurrency": 3}, "batch": {"max_events": 2}});
    let rig = Rig::new(&sink(&receiver, request), None);
    for first in (0..12).step_by(2) {
        rig.send(records(first..first + 2)).await;
    }
    until("three requests", || receiver.got().len() == 3).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!((receiver.got().len(), rig.ended(Outcome::Delivered)), (3, 0), "a fourth waits for one of them");
    receiver.allow(1);
    until("the fourth", || receiver.got().len() == 4).await;
    rig.delivered(2).await;
    receiver.allow(100);
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 12);
    let mut all: Vec<u64> = numbers(&receiver).into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..12).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_refused_for_good_goes_to_the_dead_letters_with_the_reason() {
    let folder = Folder::new();
    let receiver = Receiver::new([Reply::Status(413, None, "{\"error\":\n \"too large\"}")]).await;
    let letters = json!({"type": "dead_letters", "path": folder.path("letters.ndjson")});
    let rig = Rig::new(&sink(&receiver, json!({})), Some(&letters));
    rig.send(["{\"n\":1}"]).await;
    let report = rig.end().await;
    assert_eq!(ended(&report, Outcome::DeadLettered), 1, "{report}");
    let letter: Value = serde_json::from_str(&folder.text("letters.ndjson")).unwrap();
    assert_eq!((&letter["node"], &letter["attempts"], &letter["record"]), (&json!("out"), &json!(1), &json!({"n": 1})));
    let cause = letter["cause"].as_str().unwrap();
    assert!(cause.contains("answered 413") && cause.contains("{\"error\": \"too large\"}"), "{cause}");
    assert!(!cause.contains("secret"), "what stands behind the path may be a key: {cause}");
    assert!(letter["time"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_batch_is_closed_by_count_by_bytes_or_by_time() {
    // While the first request is under way, the others gather.
    let sizes = async |batch: Value, sent: u64| {
        let receiver = Receiver::new([Reply::WhenAllowed]).await;
        let rig = Rig::new(&sink(&receiver, json!({"batch": batch})), None);
        rig.send(records(0..1)).await;
        until("the first request", || receiver.got().len() == 1).await;
        for n in 1..=sent {
            rig.send(records(n..n + 1)).await;
        }
        receiver.allow(1);
        rig.end().await;
        let got = numbers(&receiver);
        assert!(got.iter().flatten().copied().eq(0..=sent), "{got:?}");
        got.iter().skip(1).map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(sizes(json!({"max_events": 3, "timeout_secs": 1000}), 7).await, [3, 3, 1]);
    let by_bytes = sizes(json!({"max_bytes": 120, "timeout_secs": 1000}), 12).await;
    assert!(by_bytes.len() >= 3 && by_bytes.iter().all(|size| (1..=6).contains(size)), "{by_bytes:?}");
    let by_time = sizes(json!({"timeout_secs": 0.001}), 4).await;
    assert!(by_time.iter().sum::<usize>() == 4, "{by_time:?}");
}

#[tokio::test]
async fn a_token_is_sent_as_the_bearer_scheme_says() {
    let receiver = Receiver::new([]).await;
    let rig = Rig::new(&sink(&receiver, json!({"auth": {"strategy": "bearer", "token": "tide"}})), None);
    rig.send(records(0..1)).await;
    rig.end().await;
    assert_eq!(receiver.got()[0].headers["authorization"], "Bearer tide");
}

#[tokio::test]
async fn a_pause_that_the_receiver_asks_for_is_kept_by_the_sink_that_heard_of_it() {
    let receiver = Receiver::new([Reply::Status(429, Some(("retry-after", "1")), "")]).await;
    let rig = Rig::new(&sink(&receiver, json!({})), None);
    let began = tokio::time::Instant::now();
    rig.send(records(0..2)).await;
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 2);
    // Its own first pause is a hundredth of that.
    assert!(began.elapsed() >= std::time::Duration::from_secs(1), "it came back after {:?}", began.elapsed());
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn as_many_requests_are_under_way_as_there_is_memory_for() {
    let receiver = Receiver::new(std::iter::repeat_n(Reply::WhenAllowed, 6)).await;
    let more = json!({"request": {"concurrency": 6}, "batch": {"max_events": 1, "max_bytes": "1MiB"}});
    // What the plan reserves, and a megabyte and a half: enough for one more request.
    let rig = Rig::within(&sink(&receiver, more), 3 << 19);
    for n in 0..6 {
        rig.send(records(n..n + 1)).await;
    }
    until("two requests", || receiver.got().len() == 2).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.got().len(), 2, "a third would have no memory to be encoded into");
    receiver.allow(6);
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 6);
}

#[test]
fn what_cannot_work_is_reported_by_key() {
    let with = |more: Value| {
        let mut sink = json!({"type": "http", "uri": "http://localhost/", "encoding": {"codec": "json"}});
        sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keys(&sink)
    };
    assert_eq!(with(json!({})), Vec::<String>::new());
    assert_eq!(with(json!({"uri": "localhost:80"})), ["uri"]);
    assert_eq!(with(json!({"uri": "ftp://localhost/"})), ["uri"]);
    assert_eq!(with(json!({"uri": "http://{{ host }}/"})), ["uri"]);
    assert_eq!(with(json!({"headers": {"a b": "c"}})), ["headers.a b"]);
    assert_eq!(with(json!({"auth": {"strategy": "bearer", "token": ""}})), ["auth"]);
    assert_eq!(with(json!({"tls": {"ca_file": "/nowhere.pem"}})), ["tls.ca_file"]);
    assert_eq!(with(json!({"tls": {"crt_file": "/nowhere.pem"}})), ["tls.key_file"]);
    assert_eq!(with(json!({"retry_statuses": [401, 204]})), ["retry_statuses[1]"]);
    assert_eq!(with(json!({"batch": {"max_events": 0}})), ["batch.max_events"]);
}

#[tokio::test]
async fn records_have_the_same_ids_however_requests_are_cut() {
    // [0..4] is refused, and halved; the first half is refused for now and sent again. Then the culprit must be in the other
    // half, which is not tried as a whole.
    let receiver = Receiver::new([status(400), status(503), status(200), status(200)]).await;
    let rig = Rig::new(&sink(&receiver, json!({})), None);
    rig.send(records(0..4)).await;
    assert_eq!(ended(&rig.end().await, Outcome::Delivered), 4);
    let got = receiver.got();
    let header = |at: usize| got[at].headers["tidegate-ids"].to_str().unwrap();
    let stream = header(0).strip_prefix("1,").unwrap().strip_suffix(":100*4").unwrap();
    let seen: Vec<&str> = (1..got.len()).map(header).collect();
    assert_eq!(seen, ["100*2", "100*2", "102", "103"].map(|numbers| format!("1,{stream}:{numbers}")));

    let receiver = Receiver::new([]).await;
    let rig = Rig::new(&sink(&receiver, json!({"record_ids": "none"})), None);
    rig.send(records(0..4)).await;
    rig.end().await;
    assert!(!receiver.got()[0].headers.contains_key("tidegate-ids"));
}
