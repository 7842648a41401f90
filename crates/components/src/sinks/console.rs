//! Writes records to the standard output or the standard error of the process.
//!
//! * **Accepted** means written to the stream: the kernel has it. What reads the stream may still lose it.
//! * **Blocks** while who reads the stream (a terminal, a pipe) does not.
//! * **Sheds** nothing.
//! * **Settles** a batch as soon as it was written. One that was written in part when the stream failed goes back whole.
//! * **Completes** with its input; when the reader of a pipe is gone, as if everyone downstream had gone.
//! * **Fails** never: an error of the stream is tried again.
//!
//! Holds one encoded batch, 256 KiB, reserved.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Meta, Nack, Share as _, kib};
use tidegate_record::codec::Encoder;
use tidegate_runtime::{Accepted, BatchLimits, Sink, SinkContext, SinkPolicy, blocking};

use super::desk::Desk;
use super::encode::{JSON_OPTIONS, METRIC_TAGS, TIMES, with_fields};
use crate::Rows;
use crate::contract::page::page;
use crate::contract::{Check, Counter, SinkConfig, SinkKind, StartError};
use crate::options::{Acknowledgements, Encoding, SinkFraming};
use crate::wiring::SinkSlot;

/// The entry in the list of sinks.
pub const KIND: SinkKind = SinkKind::of::<Console>(
    "console",
    "Writes records to standard output or standard error.",
    "type: console\ntarget: stdout\nencoding:\n  codec: json\n",
)
.page(page!("console.rs"))
.ignores(&[TIMES, METRIC_TAGS, JSON_OPTIONS])
.counts(&[STREAMS_CLOSED]);

/// How often the reader of the stream was gone: once at most.
pub const STREAMS_CLOSED: &str = "streams_closed";

/// Writes records to standard output or standard error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// Where to. Default: `stdout`.
    #[serde(default)]
    pub target: Target,
    /// How a record is written. Default: as JSON.
    #[serde(default)]
    pub encoding: Encoding,
    /// How records are told apart. Default: a newline behind each.
    #[serde(default)]
    pub framing: SinkFraming,
    /// Whether sources wait for this sink.
    #[serde(default)]
    pub acknowledgements: Acknowledgements,
}

/// A stream of the process.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The standard output.
    #[default]
    Stdout,
    /// The standard error.
    Stderr,
}

/// Many small writes cost more than what they write; a terminal should not wait for more than this.
const BATCH: BatchLimits = BatchLimits::records(4_096).bytes(kib(256));

impl SinkConfig for Console {
    fn check(&self, at: &mut Check<'_>) {
        at.under("encoding", |at| self.encoding.check(at));
        at.under("framing", |at| self.framing.check(at));
    }

    fn accepted(&self) -> &'static str {
        "written to the stream"
    }

    fn required(&self) -> bool {
        self.acknowledgements.enabled
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let encoder = self.encoding.encoder(&self.framing);
        let closed = slot.context().meters.counter(slot.name(), STREAMS_CLOSED);
        let slot = with_fields(slot, &self.encoding).batch(BATCH).encoding(BATCH.bytes);
        let policy = SinkPolicy { retries: u32::MAX, ..SinkPolicy::default() };
        match self.target {
            Target::Stdout => slot.sink(policy, StreamSink::new(std::io::stdout(), encoder, closed)),
            Target::Stderr => slot.sink(policy, StreamSink::new(std::io::stderr(), encoder, closed)),
        }
        Ok(())
    }
}

/// Writes to a stream that may block.
struct StreamSink<W> {
    stream: Arc<Mutex<W>>,
    encoder: Encoder,
    desk: Desk,
    is_closed: bool,
    closed: Counter,
}

impl<W: Write + Send + 'static> StreamSink<W> {
    fn new(stream: W, encoder: Encoder, closed: Counter) -> Self {
        Self { stream: Arc::new(Mutex::new(stream)), encoder, desk: Desk::new(BATCH.bytes), is_closed: false, closed }
    }
}

impl<W: Write + Send + 'static> Sink<Rows> for StreamSink<W> {
    fn open(&mut self, cx: SinkContext) {
        self.desk.open(cx);
    }

    fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_memory(task)
    }

    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut sheet = self.desk.take(payload.encoded_most(self.encoder), 0, payload.len())?;
        let (rows, stream, encoder) = (payload.share(), Arc::clone(&self.stream), self.encoder);
        let (written, sheet) = blocking(move || {
            rows.encode(encoder, &mut sheet.buffer);
            let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
            let written = stream.write_all(&sheet.buffer).and_then(|()| stream.flush());
            (written, sheet)
        })
        .await?;
        self.desk.put_back(sheet);
        match written {
            Ok(()) => Ok(Accepted::All),
            Err(error) => {
                if error.kind() == ErrorKind::BrokenPipe && !self.is_closed {
                    self.is_closed = true;
                    self.closed.add(1);
                }
                Err(Nack::transient(format!("cannot write to the stream: {error}")))
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tidegate_record::codec::{Codec, EncodeFraming};

    use super::*;

    /// A stream that keeps what is written, or fails.
    struct Page(Arc<Mutex<Vec<u8>>>, Option<ErrorKind>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.1 {
                Some(kind) => Err(kind.into()),
                None => self.0.lock().unwrap().write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_batch_is_written_as_the_codec_says() {
        let origin = "\"source_type\":\"test\",\"timestamp\":\"1970-01-01T00:00:00Z\"}";
        for (codec, text) in [
            (Codec::Text, "one\n\"two\"\n".to_owned()),
            (Codec::Json, format!("{{\"message\":\"one\",{origin}\n{{\"message\":\"\\\"two\\\"\",{origin}\n")),
        ] {
            let page = Arc::new(Mutex::new(Vec::new()));
            let encoder = Encoder { codec, framing: EncodeFraming::NewlineDelimited };
            let mut sink = StreamSink::new(Page(Arc::clone(&page), None), encoder, Counter::default());
            let mut rows = Rows::from_texts(["one", "\"two\""]);
            assert_eq!(sink.deliver(&mut rows, &Meta::default()).await, Ok(Accepted::All));
            assert_eq!(String::from_utf8(page.lock().unwrap().clone()).unwrap(), text);
            assert_eq!(rows.len(), 2, "the rows stay, in case they are asked for again");
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_sink_and_another_error_does_not() {
        for (kind, closed) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let mut sink = StreamSink::new(Page(Arc::default(), Some(kind)), Encoder::default(), Counter::default());
            let refused = sink.deliver(&mut Rows::from_texts(["x"]), &Meta::default()).await.unwrap_err();
            assert_eq!(refused.kind, tidegate_flow::NackKind::Transient);
            assert_eq!(sink.is_closed(), closed);
        }
    }
}
