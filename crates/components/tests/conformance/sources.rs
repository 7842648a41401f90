//! The sources, with senders on free loopback ports and files in folders of their own. `stdin` has one input in a process:
//! its suite is beside it, and feeds it from a pipe.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_components::SOURCES;
use tidegate_components::wiring::Part;
use tidegate_runtime::{PipelineBuilder, View};
use tidegate_tck::component::{ProbeSink, READ, SOME, SourceComponent, Wired};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::world::{Folder, Objects, Plug, World, free_port, node, source_part, wire};

/// In the order of the list.
pub(crate) const CHECKED: &[&str] = &["demo_logs", "file", "http_server", "internal_metrics", "socket", "stdin"];

/// The counters of a kind, but for those of another mode.
fn declared(kind: &str, other_mode: &[&str]) -> Vec<String> {
    let kind = SOURCES.iter().find(|known| known.name == kind).unwrap();
    let of_other = |name: &str| other_mode.iter().any(|other| name.starts_with(other));
    kind.metrics.iter().filter(|name| !of_other(name)).map(|name| (*name).to_owned()).collect()
}

fn attach(builder: &PipelineBuilder, sink: ProbeSink<Objects>, config: Value, folder: Folder) -> World {
    let nodes =
        vec![node("source", &[], source_part(config)), node("sink", &["source"], Part::Sink(Box::new(Plug(sink))))];
    wire(builder, nodes, "source", folder)
}

/// A source that somebody sends to.
struct Sent {
    world: World,
    sender: Option<JoinHandle<()>>,
}

impl Sent {
    fn to(world: World, sender: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { world, sender: Some(tokio::spawn(sender)) }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.abort();
        }
    }
}

impl Wired for Sent {
    fn metrics(&self) -> Vec<String> {
        self.world.metrics()
    }
}

fn lines() -> impl Iterator<Item = String> {
    (0..SOME).map(|number| format!("line {number}"))
}

macro_rules! source {
    ($name:ident, $module:ident, $kind:literal, $other:expr, { $($constant:item)* }, $expected:expr, |$builder:ident, $sink:ident| $wire:expr) => {
        struct $name;

        impl SourceComponent for $name {
            type Traffic = Objects;
            type Run = Sent;
            const NAME: &'static str = $kind;
            $($constant)*

            fn declared() -> Vec<String> {
                declared($kind, $other)
            }

            fn expected() -> Option<Vec<String>> {
                $expected
            }

            async fn wire($builder: &PipelineBuilder, $sink: ProbeSink<Objects>) -> Sent {
                $wire
            }

            fn started(run: &Sent, view: &Arc<View>) {
                run.world.cx.observed.set(view);
            }
        }

        tidegate_tck::source_component_suite!($module, $name);
    };
}

source! {
    DemoLogs, demo_logs, "demo_logs", &[], { const ENDS: bool = true; },
    Some((0..SOME).map(|number| format!("{number} line")).collect()),
    |builder, sink| {
        let config = json!({
            "type": "demo_logs", "format": "shuffle", "lines": ["line"], "sequence": true, "count": SOME, "interval": 0,
        });
        Sent { world: attach(builder, sink, config, Folder::new()), sender: None }
    }
}

// A look gives a record for each counter there is: the first of several offers what is asked for.
source! {
    InternalMetrics, internal_metrics, "internal_metrics", &[],
    { const OFFERS: u64 = 24; const IN_HAND: u64 = 64; },
    None,
    |builder, sink| {
        let world = attach(builder, sink, json!({"type": "internal_metrics", "scrape_interval_secs": 0.5}), Folder::new());
        Sent { world, sender: None }
    }
}

source! {
    File, file, "file", &[], { const REAL_TIME: bool = true; const IN_HAND: u64 = 2 * READ; },
    Some(lines().collect()),
    |builder, sink| {
        let folder = Folder::new();
        let mut file = std::fs::File::create(folder.0.join("in.log")).unwrap();
        lines().for_each(|line| writeln!(file, "{line}").unwrap());
        let config = json!({"type": "file", "include": [folder.path("*.log")], "read_from": "beginning"});
        Sent { world: attach(builder, sink, config, folder), sender: None }
    }
}

source! {
    Tcp, socket_tcp, "socket", &["packets_"],
    { const REAL_TIME: bool = true; },
    Some(lines().collect()),
    |builder, sink| {
        let address = format!("127.0.0.1:{}", free_port());
        let world = attach(builder, sink, json!({"type": "socket", "mode": "tcp", "address": address}), Folder::new());
        Sent::to(world, async move {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            let text: String = lines().map(|line| line + "\n").collect();
            drop(stream.write_all(text.as_bytes()).await);
            // Until the source is gone.
            drop(stream.read(&mut [0]).await);
        })
    }
}

source! {
    Udp, socket_udp, "socket", &["connections_", "accepts_", "frames_cut_off"],
    { const REAL_TIME: bool = true; },
    Some(lines().collect()),
    |builder, sink| {
        let address = format!("127.0.0.1:{}", free_port());
        let world = attach(builder, sink, json!({"type": "socket", "mode": "udp", "address": address}), Folder::new());
        Sent::to(world, async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(&address).await.unwrap();
            // All of them fit into the receive buffer.
            for line in lines() {
                drop(socket.send(line.as_bytes()).await);
            }
        })
    }
}

/// Sends each of a few bodies on a connection of its own, again until it is accepted.
async fn post(address: &str, body: &str) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { return };
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        drop(stream.write_all((head + body).as_bytes()).await);
        let mut answer = String::new();
        drop(stream.read_to_string(&mut answer).await);
        if answer.is_empty() || answer.starts_with("HTTP/1.1 200") {
            return;
        }
        tokio::task::yield_now().await;
    }
}

source! {
    HttpServer, http_server, "http_server", &[],
    { const REAL_TIME: bool = true; const IN_HAND: u64 = 2 * READ; },
    Some(lines().collect()),
    |builder, sink| {
        let address = format!("127.0.0.1:{}", free_port());
        let framing = json!({"method": "newline_delimited"});
        let config = json!({"type": "http_server", "address": address, "framing": framing});
        let world = attach(builder, sink, config, Folder::new());
        Sent::to(world, async move {
            let all: Vec<String> = lines().collect();
            let bodies = all.chunks(12).map(|lines| lines.join("\n"));
            let posts = bodies.map(|body| {
                let address = address.clone();
                async move { post(&address, &body).await }
            });
            futures_util::future::join_all(posts).await;
        })
    }
}
