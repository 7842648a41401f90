//! The sink `socket` against real peers.

use serde_json::{Value, json};
use tidegate_flow::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener};

use crate::rig::{Folder, Rig, ended, keys};

fn tcp(address: &std::net::SocketAddr) -> Value {
    json!({"type": "socket", "mode": "tcp", "address": address.to_string(), "encoding": {"codec": "text"}})
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Lines of 100 bytes, each with its number.
fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("{n:<99}")).collect()
}

#[tokio::test]
async fn records_arrive_in_order_one_a_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(&tcp(&listener.local_addr().unwrap()), None);
    rig.send(["a", "b"]).await;
    rig.send(["c"]).await;
    let (stream, _) = listener.accept().await.unwrap();
    let (text, report) = tokio::join!(read_all(stream), rig.end());
    assert_eq!(text, "a\nb\nc\n");
    assert_eq!(ended(&report, Outcome::Delivered), 3);
}

#[tokio::test]
async fn objects_are_written_as_json_and_only_the_fields_that_are_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sink = tcp(&listener.local_addr().unwrap());
    sink["encoding"] = json!({"codec": "json", "except_fields": ["b"]});
    let rig = Rig::new(&sink, None);
    rig.send(["{\"a\": 1, \"b\": 2}", "{\"c\": [3]}"]).await;
    let (stream, _) = listener.accept().await.unwrap();
    let (text, _) = tokio::join!(read_all(stream), rig.end());
    assert_eq!(text, "{\"a\": 1}\n{\"c\": [3]}\n");
}

#[tokio::test]
async fn records_are_told_apart_as_asked_for() {
    for (framing, text) in [
        (json!({"method": "octet_counting"}), "1 a2 bc"),
        (json!({"method": "length_delimited"}), "\0\0\0\u{1}a\0\0\0\u{2}bc"),
        (json!({"method": "character_delimited", "character_delimited": {"delimiter": "|"}}), "a|bc|"),
        (json!({"method": "bytes"}), "abc"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sink = tcp(&listener.local_addr().unwrap());
        (sink["framing"], sink["encoding"]) = (framing, json!({"codec": "text"}));
        let rig = Rig::new(&sink, None);
        rig.send(["a", "bc"]).await;
        let (stream, _) = listener.accept().await.unwrap();
        let reading = tokio::spawn(read_all(stream));
        rig.end().await;
        assert_eq!(reading.await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let rig = Rig::new(&tcp(&address), None);
    rig.send(["a"]).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (text, report) = tokio::join!(read_all(stream), rig.end());
    assert_eq!((&*text, ended(&report, Outcome::Delivered)), ("a\n", 1));
}

#[tokio::test]
async fn a_peer_that_does_not_read_slows_the_pipeline_and_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(&tcp(&listener.local_addr().unwrap()), None);
    let (mut stream, _) = {
        rig.send(lines(0..1)).await;
        listener.accept().await.unwrap()
    };
    // Far more than the buffers of the two kernels: the sender has to wait.
    const BATCHES: u32 = 400;
    let sending = async {
        for batch in 0..BATCHES {
            rig.send(lines(batch * 256 + 1..batch * 256 + 257)).await;
        }
    };
    let mut sending = Box::pin(sending);
    for _ in 0..20_000 {
        tokio::select! { biased; () = &mut sending => panic!("nobody reads, and everything was taken"), () = tokio::task::yield_now() => {} }
    }
    let before = rig.ended(Outcome::Delivered);
    assert!(before < u64::from(BATCHES) * 256, "{before}");
    let mut got = Vec::new();
    let reading = async {
        let mut some = vec![0; 1 << 16];
        let all = (BATCHES as usize * 256 + 1) * 100;
        while got.len() < all {
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "it closed after {} bytes", got.len());
            got.extend_from_slice(&some[..read]);
        }
    };
    tokio::join!(&mut sending, reading);
    drop(sending);
    let report = rig.end().await;
    assert_eq!(ended(&report, Outcome::Delivered), u64::from(BATCHES) * 256 + 1);
    let text = String::from_utf8(got).unwrap();
    assert!(text.lines().map(|line| line.trim().parse::<u32>().unwrap()).eq(0..BATCHES * 256 + 1));
}

#[tokio::test]
async fn what_a_broken_connection_did_not_take_goes_to_the_next_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(&tcp(&listener.local_addr().unwrap()), None);
    rig.send(lines(0..256)).await;
    let (mut first, _) = listener.accept().await.unwrap();
    let mut some = vec![0; 1_000];
    first.read_exact(&mut some).await.unwrap();
    drop(first);
    for batch in 1..40 {
        rig.send(lines(batch * 256..batch * 256 + 256)).await;
    }
    let (second, _) = listener.accept().await.unwrap();
    let (text, report) = tokio::join!(read_all(second), rig.end());
    assert_eq!(ended(&report, Outcome::Delivered), 40 * 256, "accepted is written, here or there");
    let numbers: Vec<u32> = text.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, other| one + 1 == *other), "whole lines, none twice, none missing between");
    assert_eq!(numbers.last(), Some(&(40 * 256 - 1)));
    assert!(numbers[0] <= 3 * 256, "what the first connection's buffers held is lost, and no more: {}", numbers[0]);
}

#[tokio::test]
async fn a_peer_that_closes_while_nothing_is_sent_is_noticed_before_the_next_write() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(&tcp(&listener.local_addr().unwrap()), None);
    rig.send(["a"]).await;
    let (mut first, _) = listener.accept().await.unwrap();
    let mut text = [0; 2];
    first.read_exact(&mut text).await.unwrap();
    first.write_all(b"bye").await.unwrap();
    drop(first);
    rig.delivered(1).await;
    // The kernel has to tell the sink of the end; nothing is lost once it has.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    rig.send(["b", "c"]).await;
    let (second, _) = listener.accept().await.unwrap();
    let (text, report) = tokio::join!(read_all(second), rig.end());
    assert_eq!((&*text, ended(&report, Outcome::Delivered)), ("b\nc\n", 3));
}

#[tokio::test]
async fn unix_sockets_of_both_kinds_are_served() {
    let folder = Folder::new();
    let path = folder.path("stream.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let rig = Rig::new(&json!({"type": "socket", "mode": "unix", "path": path, "encoding": {"codec": "text"}}), None);
    rig.send(["a", "b"]).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    let (_, report) = tokio::join!(stream.read_to_string(&mut text), rig.end());
    assert_eq!((&*text, ended(&report, Outcome::Delivered)), ("a\nb\n", 2));

    let path = folder.path("datagram.sock");
    let peer = UnixDatagram::bind(&path).unwrap();
    let sink =
        json!({"type": "socket", "mode": "unix", "unix_mode": "Datagram", "path": path, "encoding": {"codec": "text"}});
    let rig = Rig::new(&sink, None);
    rig.send(["c", "d"]).await;
    let mut packet = [0; 16];
    for text in ["c", "d"] {
        let length = peer.recv(&mut packet).await.unwrap();
        assert_eq!(&packet[..length], text.as_bytes());
    }
    rig.end().await;
}

#[tokio::test]
async fn a_record_is_a_packet_and_one_that_does_not_fit_is_refused_alone() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap().to_string();
    let rig =
        Rig::new(&json!({"type": "socket", "mode": "udp", "address": address, "encoding": {"codec": "text"}}), None);
    rig.send(["a".to_owned(), "x".repeat(70_000), "b".to_owned()]).await;
    let mut packet = [0; 16];
    for text in ["a", "b"] {
        let length = peer.recv(&mut packet).await.unwrap();
        assert_eq!(&packet[..length], text.as_bytes());
    }
    let report = rig.end().await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::Returned)), (2, 1), "{report}");
}

#[test]
fn what_cannot_work_is_reported_by_key() {
    let with = |more: Value| {
        let mut sink = json!({"type": "socket", "mode": "tcp", "address": "h:1", "encoding": {"codec": "json"}});
        sink.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keys(&sink)
    };
    assert_eq!(with(json!({})), Vec::<String>::new());
    for address in ["", "h", ":1", "h:0", "h:99999", "h:x"] {
        assert_eq!(with(json!({"address": address})), ["address"], "{address}");
    }
    assert_eq!(with(json!({"address": null})), ["address"]);
    assert_eq!(with(json!({"mode": "unix", "address": null})), ["path"]);
    assert_eq!(with(json!({"tls": {"enabled": true}})), ["tls"]);
    assert_eq!(with(json!({"connect_timeout_secs": 0})), ["connect_timeout_secs"]);
    assert_eq!(with(json!({"encoding": {"codec": "json", "only_fields": ["a["]}})), ["encoding.only_fields[0]"]);
}
