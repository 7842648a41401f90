//! `stdin`: reads lines from the standard input.
//!
//! * **Emits** one record a line.
//! * **Blocks** by not reading, so that whoever writes to the pipe waits.
//! * **Sheds** lines that are longer than `max_length` (`frames_oversize`), frames that the input ends in the middle of
//!   (`frames_cut_off`), and with `decoding: { codec: json }` what is no JSON object (`records_malformed`).
//! * **Settles** nothing outside: who writes to a pipe is not told.
//! * **Completes** at the end of the input.
//! * **Fails** where the input cannot be read.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Cause, Weight};
use tidegate_record::{Origin, Rows};
use tidegate_runtime::{NoCommit, Pull, Readiness, Source, SourceContext, SourceOptions};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::decode::{Decoder, most_rows};
use super::stream::{Memory, Outcome, PARTIAL_BYTES, SLAB_BYTES, SLABS_KEPT, Stream};
use crate::clock::wall_time;
use crate::contract::page::page;
use crate::contract::{Check, Counter, Delivery, Exposure, Ignored, Shed, SourceConfig, SourceKind, StartError};
use crate::ids::Counted;
use crate::options::{Decoding, Framing};
use crate::value::ByteSize;
use crate::wiring::SourceSlot;

/// The entry of the list.
pub const KIND: SourceKind = SourceKind::of::<Stdin>("stdin", "Reads lines from the standard input.", EXAMPLE)
    .page(page!("stdin.rs"))
    .ignores(&[Ignored { key: "host_key", why: "the name of the machine is always in `host`" }])
    .counts(&["records_malformed", "frames_oversize", "frames_cut_off"]);

const EXAMPLE: &str = "\
type: stdin
max_length: 64KiB
";

/// Reads lines from the standard input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stdin {
    /// Longer lines are skipped and counted. Default: 102400 bytes.
    pub max_length: Option<ByteSize>,
    /// How the input is cut into records.
    pub framing: Framing,
    /// What a record is.
    pub decoding: Decoding,
}

impl SourceConfig for Stdin {
    fn check(&self, at: &mut Check<'_>) {
        super::check_stream_framing(&self.framing, self.max_length, at);
    }

    fn exposure(&self) -> Exposure {
        Exposure {
            delivery: Delivery::InFlight,
            acked: "nobody waits for it",
            blocked: "whoever writes to the pipe waits",
        }
    }

    fn sheds(&self) -> Vec<Shed> {
        super::unfit("lines", super::max_length(&self.framing, self.max_length), &self.decoding)
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        let input = Input::standard().map_err(|error| {
            StartError::new(format!("the standard input cannot be read: {error}"))
                .help("give it a file or a pipe, as in `tidegate run ... < access.log`")
        })?;
        self.start_with(slot, input);
        Ok(())
    }
}

impl Stdin {
    fn start_with(self, slot: SourceSlot<'_>, input: Input) {
        let max_length = super::max_length(&self.framing, self.max_length);
        let (cx, node) = (slot.context(), slot.name());
        let mut origin = Origin::new("stdin", wall_time());
        origin.host.clone_from(&cx.host);
        let source = Reader {
            input,
            stream: Stream::new(self.framing.cut(), max_length),
            memory: None,
            max_length,
            origin,
            decoder: Decoder::new(&self.decoding, node, &cx.meters),
            numbers: Counted::fresh(node),
            oversize: cx.meters.counter(node, "frames_oversize"),
            cut_off: cx.meters.counter(node, "frames_cut_off"),
            ended: false,
        };
        slot.source(SourceOptions::new(source).holding(PARTIAL_BYTES).slabs(SLAB_BYTES, SLABS_KEPT, max_length));
    }
}

/// Something that is read as it comes.
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Input {
    /// A pipe, opened anew so that whoever else uses it is not changed by our not waiting for it.
    Pipe(pipe::Receiver),
    /// A socket, which cannot be opened anew.
    Socket(UnixStream),
    /// A file: there is always something, or its end.
    File(File),
    /// Anything else, such as a terminal, which a thread reads.
    Terminal(Box<Typed>),
}

/// What was typed and not yet read.
struct Typed {
    input: tokio::io::Stdin,
    text: [u8; TYPED_BYTES],
    /// How much of it there is; `None` before the first read.
    filled: Option<usize>,
}

/// The most that is taken from a terminal at once, held outside of the budget.
const TYPED_BYTES: usize = super::stream::SHORT;

impl Input {
    fn standard() -> io::Result<Self> {
        Self::open(File::from(io::stdin().as_fd().try_clone_to_owned()?), "/dev/stdin")
    }

    /// What was inherited, and is at `path` as well.
    fn open(inherited: File, path: &str) -> io::Result<Self> {
        let kind = inherited.metadata()?.file_type();
        if kind.is_file() {
            return Ok(Self::File(inherited));
        }
        if kind.is_fifo() {
            return pipe::OpenOptions::new().open_receiver(path).map(Self::Pipe);
        }
        if kind.is_socket() {
            let socket = std::os::unix::net::UnixStream::from(OwnedFd::from(inherited));
            socket.set_nonblocking(true)?;
            return UnixStream::from_std(socket).map(Self::Socket);
        }
        let typed = Typed { input: tokio::io::stdin(), text: [0; TYPED_BYTES], filled: None };
        Ok(Self::Terminal(Box::new(typed)))
    }

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Pipe(pipe) => pipe.poll_read_ready(task),
            Self::Socket(socket) => socket.poll_read_ready(task),
            Self::File(_) => Poll::Ready(Ok(())),
            Self::Terminal(typed) => typed.poll_fill(task),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read(into),
            Self::Socket(socket) => socket.try_read(into),
            Self::File(file) => file.read(into),
            Self::Terminal(typed) => typed.take(into),
        }
    }
}

impl Typed {
    fn poll_fill(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.filled.is_none() {
            let mut buffer = ReadBuf::new(&mut self.text);
            ready!(Pin::new(&mut self.input).poll_read(task, &mut buffer))?;
            self.filled = Some(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // There is room for all of it: a slab has more, and a partial line leaves at least as much.
        let filled = self.filled.ok_or(io::ErrorKind::WouldBlock)?.min(into.len());
        into[..filled].copy_from_slice(&self.text[..filled]);
        self.filled = None;
        Ok(filled)
    }
}

/// The source at work.
struct Reader {
    input: Input,
    stream: Stream,
    memory: Option<Memory>,
    max_length: usize,
    origin: Origin,
    decoder: Decoder,
    numbers: Counted,
    oversize: Counter,
    cut_off: Counter,
    ended: bool,
}

impl Reader {
    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<Readiness, Cause>> {
        if self.ended {
            return Poll::Ready(Ok(Readiness::Ended));
        }
        if !self.stream.has_uncut() {
            let input = ready!(self.input.poll_ready(task));
            input.map_err(|error| Cause::from(format!("the standard input failed: {error}")))?;
            if let Some(memory) = &mut self.memory {
                ready!(memory.poll_ready(task))?;
            }
        }
        Poll::Ready(Ok(Readiness::Ready))
    }
}

impl Source for Reader {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        self.memory = Some(Memory::new(&cx, self.max_length));
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        // A file is always ready, and must not starve its neighbours.
        tokio::task::coop::consume_budget().await;
        poll_fn(|task| self.poll_ready(task)).await
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let Some(memory) = &mut self.memory else { return Ok(Pull { payload: rows, position: None }) };
        let origin = Arc::new(Origin { received: wall_time(), ..self.origin.clone() });
        let input = &mut self.input;
        let outcome = self.stream.pull(memory, |into| input.read(into), most_rows(room), &origin, &mut rows);
        self.oversize.add(self.stream.take_oversize());
        self.cut_off.add(self.stream.take_cut_off());
        match outcome {
            Outcome::Read | Outcome::Idle | Outcome::Starved => {}
            Outcome::Ended => self.ended = true,
            Outcome::Failed(error) => return Err(Cause::from(format!("the standard input failed: {error}"))),
            // Not for a single stream, which may always keep a slab.
            Outcome::NoMemory => return Err(Cause::from("no memory for a line of the standard input")),
        }
        self.numbers.number(&mut rows);
        self.decoder.decode(&mut rows);
        Ok(Pull { payload: rows, position: None })
    }
}

#[cfg(test)]
mod conformance;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use tidegate_flow::Outcome as Ended;

    use super::*;
    use crate::testkit::{self, Kept};

    /// What comes out of a pipe into which `write` writes.
    async fn through_a_pipe(
        json: &str,
        write: impl FnOnce(&mut dyn io::Write) + Send + 'static,
    ) -> (Vec<String>, testkit::Ran) {
        let (reading, mut writing) = io::pipe().unwrap();
        let config: Stdin = serde_json::from_str(json).unwrap();
        let writer = std::thread::spawn(move || write(&mut writing));
        let kept = Kept::default();
        let ran = testkit::run(&kept, |slot| {
            let path = format!("/proc/self/fd/{}", reading.as_raw_fd());
            let input = Input::open(File::from(OwnedFd::from(reading)), &path).unwrap();
            assert!(matches!(input, Input::Pipe(_)), "a pipe is waited for");
            config.start_with(slot, input);
        })
        .await;
        writer.join().unwrap();
        (kept.texts(), ran)
    }

    #[tokio::test]
    async fn lines_of_a_pipe_become_records_and_the_last_needs_no_newline() {
        let (texts, ran) = through_a_pipe("{}", |pipe| pipe.write_all(b"one\r\n\ntwo\nthree").unwrap()).await;
        assert_eq!(texts, ["one", "two", "three"]);
        assert_eq!(ran.report.ledger.total().ended.get(Ended::Delivered).get(), 3);
    }

    #[tokio::test]
    async fn many_lines_arrive_in_order_and_long_ones_are_counted() {
        let (texts, ran) = through_a_pipe(r#"{"max_length":20000}"#, |pipe| {
            for number in 0..50_000 {
                writeln!(pipe, "line {number}").unwrap();
                if number % 10_000 == 0 {
                    writeln!(pipe, "{}", "x".repeat(20_001)).unwrap();
                    writeln!(pipe, "{}", "y".repeat(20_000)).unwrap();
                }
            }
        })
        .await;
        let short: Vec<&String> = texts.iter().filter(|text| text.starts_with("line")).collect();
        assert_eq!(short.len(), 50_000);
        assert!(short.iter().enumerate().all(|(at, text)| **text == format!("line {at}")));
        assert_eq!(texts.iter().filter(|text| text.starts_with('y') && text.len() == 20_000).count(), 5);
        assert_eq!((texts.len(), ran.counted("frames_oversize")), (50_005, 5));
    }

    #[tokio::test]
    async fn objects_are_decoded_and_get_the_envelope_and_what_is_none_is_counted() {
        let (texts, ran) = through_a_pipe(r#"{"decoding":{"codec":"json"}}"#, |pipe| {
            pipe.write_all(b"{\"a\":1}\nnonsense\n{\"source_type\":\"mine\"}\n").unwrap();
        })
        .await;
        assert_eq!(texts.len(), 2);
        let first: serde_json::Value = serde_json::from_str(&texts[0]).unwrap();
        assert_eq!((&first["a"], &first["source_type"]), (&1.into(), &"stdin".into()));
        assert!(texts[1].contains("\"mine\"") && !texts[1].contains("\"stdin\""), "{texts:?}");
        assert_eq!(ran.counted("records_malformed"), 1);
    }
}
