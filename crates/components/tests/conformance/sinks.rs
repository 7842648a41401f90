//! The sinks, with receivers on free loopback ports and in folders of their own.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tidegate_components::letters::Stock;
use tidegate_components::wiring::Part;
use tidegate_components::{Rows, SINKS};
use tidegate_runtime::PipelineBuilder;
use tidegate_tck::component::{READ, Receiving, ScriptSource, SinkComponent, Traffic, WINDOW, Wired};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{Folder, Objects, Plug, World, node, sink_part, wire};

/// In the order of the list.
pub(crate) const CHECKED: &[&str] =
    &["blackhole", "console", "dead_letter_queue", "dead_letters", "file", "http", "socket"];

fn declared(kind: &str) -> Vec<String> {
    let kind = SINKS.iter().find(|known| known.name == kind).unwrap();
    kind.metrics.iter().map(|name| (*name).to_owned()).collect()
}

fn attach(builder: &PipelineBuilder, source: ScriptSource<Objects>, config: Value, folder: Folder) -> World {
    let nodes =
        vec![node("source", &[], Part::Source(Box::new(Plug(source)))), node("sink", &["source"], sink_part(config))];
    wire(builder, nodes, "sink", folder)
}

/// The messages of objects, one a line.
fn messages(text: &str) -> Vec<String> {
    let message = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let record = record.get("record").cloned().unwrap_or(record);
        record["message"].as_str().unwrap().to_owned()
    };
    text.lines().map(message).collect()
}

/// A sink that writes to a file.
struct Files(World);

impl Wired for Files {
    fn metrics(&self) -> Vec<String> {
        self.0.metrics()
    }
}

impl Receiving for Files {
    fn received(&self) -> Vec<String> {
        let text = std::fs::read(self.0.folder.0.join("out")).unwrap_or_default();
        // The last line may be on its way.
        let text = String::from_utf8(text).unwrap();
        messages(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
    }
}

macro_rules! writes_a_file {
    ($name:ident, $module:ident, $kind:literal, $config:expr) => {
        struct $name;

        impl SinkComponent for $name {
            type Traffic = Objects;
            type Run = Files;
            const NAME: &'static str = $kind;
            const REAL_TIME: bool = true;
            const CAN_HOLD: bool = false;

            fn declared() -> Vec<String> {
                declared($kind)
            }

            async fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>) -> Files {
                let folder = Folder::new();
                let config: fn(String) -> Value = $config;
                let config = config(folder.path("out"));
                Files(attach(builder, source, config, folder))
            }
        }

        tidegate_tck::sink_component_suite!($module, $name);
    };
}

writes_a_file! {
    File, file, "file", |path| json!({"type": "file", "path": path, "encoding": {"codec": "json"}})
}
writes_a_file! {
    Synced, file_synced, "file",
    |path| json!({"type": "file", "path": path, "encoding": {"codec": "json"}, "fsync": "every_batch"})
}
writes_a_file! { DeadLetters, dead_letters, "dead_letters", |path| json!({"type": "dead_letters", "path": path}) }

/// A sink that keeps letters.
struct Letters(World);

impl Wired for Letters {
    fn metrics(&self) -> Vec<String> {
        self.0.metrics()
    }
}

impl Receiving for Letters {
    fn received(&self) -> Vec<String> {
        let mut text = Vec::new();
        if let Ok(stock) = Stock::of_letters(&self.0.cx.data_dir, "sink") {
            // The log may be about to be made.
            drop(stock.look(|letter| {
                letter.row.write_json(&mut text);
                text.push(b'\n');
                true
            }));
        }
        messages(&String::from_utf8(text).unwrap())
    }
}

/// The sink `dead_letter_queue`: what it has is what its tools show.
struct Queue;

impl SinkComponent for Queue {
    type Traffic = Objects;
    type Run = Letters;
    const NAME: &'static str = "dead_letter_queue";
    const REAL_TIME: bool = true;
    const CAN_HOLD: bool = false;

    fn declared() -> Vec<String> {
        declared("dead_letter_queue")
    }

    async fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>) -> Letters {
        Letters(attach(builder, source, json!({"type": "dead_letter_queue", "max_size": "1MiB"}), Folder::new()))
    }
}

tidegate_tck::sink_component_suite!(dead_letter_queue, Queue);

/// A sink that keeps nothing.
struct Nowhere(World);

impl Wired for Nowhere {
    fn metrics(&self) -> Vec<String> {
        self.0.metrics()
    }
}

/// The receiver of the sink `blackhole`: nobody, so that what it has is what it must have.
struct Blackhole;

impl Receiving for Nowhere {
    fn received(&self) -> Vec<String> {
        Objects::texts(&Objects::records(0..tidegate_tck::component::SOME))
    }
}

impl SinkComponent for Blackhole {
    type Traffic = Objects;
    type Run = Nowhere;
    const NAME: &'static str = "blackhole";
    const CAN_HOLD: bool = false;

    fn declared() -> Vec<String> {
        declared("blackhole")
    }

    async fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>) -> Nowhere {
        Nowhere(attach(builder, source, json!({"type": "blackhole", "rate": "1k/s"}), Folder::new()))
    }
}

tidegate_tck::sink_component_suite!(blackhole, Blackhole);

/// A receiver that a task plays.
struct Peer {
    world: World,
    texts: Arc<std::sync::Mutex<Vec<String>>>,
    held: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wired for Peer {
    fn metrics(&self) -> Vec<String> {
        self.world.metrics()
    }
}

impl Receiving for Peer {
    fn received(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }

    fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

/// Reads lines while it is not held.
async fn read_lines(mut stream: TcpStream, texts: Arc<std::sync::Mutex<Vec<String>>>, mut held: watch::Receiver<bool>) {
    let mut text = Vec::new();
    while held.wait_for(|held| !held).await.is_ok() && stream.read_buf(&mut text).await.is_ok_and(|count| count > 0) {
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            texts.lock().unwrap().extend(messages(&String::from_utf8(line).unwrap()));
        }
    }
}

/// The sink `socket`. What the kernel holds for a peer that does not read counts as accepted.
struct Socket;

impl SinkComponent for Socket {
    type Traffic = Objects;
    type Run = Peer;
    const NAME: &'static str = "socket";
    const REAL_TIME: bool = true;
    const IN_HAND: u64 = 2 * READ + WINDOW;

    fn declared() -> Vec<String> {
        declared("socket")
    }

    async fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (texts, (held, holding)) = (Arc::default(), watch::channel(false));
        let kept = Arc::clone(&texts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                read_lines(stream, Arc::clone(&kept), holding.clone()).await;
            }
        });
        let config = json!({"type": "socket", "mode": "tcp", "address": address, "encoding": {"codec": "json"}});
        Peer { world: attach(builder, source, config, Folder::new()), texts, held, task }
    }
}

tidegate_tck::sink_component_suite!(socket, Socket);

/// Answers when it is not held: 400 to a body with a record that says so.
async fn answer(
    request: Request<Incoming>,
    texts: &std::sync::Mutex<Vec<String>>,
    mut held: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    drop(held.wait_for(|held| !held).await);
    let got = messages(std::str::from_utf8(&body).unwrap());
    let mut answer = Response::new(Full::default());
    if got.iter().any(|message| message == "poison") {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    } else {
        texts.lock().unwrap().extend(got);
    }
    Ok(answer)
}

/// The sink `http`, with two requests at once.
struct Http<const PACKS: bool>;

impl<const PACKS: bool> SinkComponent for Http<PACKS> {
    type Traffic = Objects;
    type Run = Peer;
    const NAME: &'static str = "http";
    const REAL_TIME: bool = true;
    // Two requests of four records, one batch being gathered, and one that waits for its turn.
    const IN_HAND: u64 = 4 * READ;

    fn declared() -> Vec<String> {
        declared("http")
    }

    async fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let (texts, (held, holding)) = (Arc::<std::sync::Mutex<Vec<String>>>::default(), watch::channel(false));
        let kept = Arc::clone(&texts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, holding) = (Arc::clone(&kept), holding.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, &kept, holding.clone()));
                    let server = hyper::server::conn::http1::Builder::new();
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        let config = json!({
            "type": "http", "uri": uri, "encoding": {"codec": "json"}, "framing": {"method": "newline_delimited"},
            "batch": {"max_events": READ}, "request": {"concurrency": 2},
        });
        Peer { world: attach(builder, source, config, Folder::new()), texts, held, task }
    }

    fn poison() -> Option<Rows> {
        let mut rows = Rows::from_texts([r#"{"message":"poison"}"#]);
        rows.row_mut(0).parse_message().unwrap();
        Some(rows)
    }
}

tidegate_tck::sink_component_suite!(http, Http<false>);

/// The console has no receiver that a test could look into: it writes to the streams of the process, which its unit
/// tests replace. What does not depend on the stream is checked here, with an empty text for each record.
struct Console;

impl SinkComponent for Console {
    type Traffic = Objects;
    type Run = Nowhere;
    const NAME: &'static str = "console";
    const REAL_TIME: bool = true;
    const CAN_HOLD: bool = false;

    fn declared() -> Vec<String> {
        declared("console")
    }

    async fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>) -> Nowhere {
        let encoding = json!({"codec": "text", "only_fields": ["nothing"]});
        let config =
            json!({"type": "console", "target": "stderr", "encoding": encoding, "framing": {"method": "bytes"}});
        Nowhere(attach(builder, source, config, Folder::new()))
    }
}

tidegate_tck::sink_component_suite!(console, Console);
