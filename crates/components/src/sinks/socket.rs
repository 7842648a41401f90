//! `socket`: sends records over TCP or UDP, or to a unix socket.
//!
//! * **Accepted** means written to the socket: the kernel of this machine has it. TCP and unix streams acknowledge nothing
//!   to the sender, so when the peer dies, at most what both kernels held for it is lost: `send_buffer_bytes` here and
//!   the receive buffer there. A packet may be lost at any time.
//! * **Blocks** while the peer does not read, when the send buffer is full; and while there is no connection.
//! * **Sheds** nothing.
//! * **Settles** the records of a batch that were written whole before a connection broke; the others are sent again on
//!   the next one. What was written of a record in part is the last thing that the old connection carried. A record that
//!   is too long for a packet is refused for good: see `dead_letter`.
//! * **Completes** with its input, when everything is written.
//! * **Fails** never: it connects again, with pauses that grow.
//!
//! Holds one encoded batch, 256 KiB, or the packet at hand, 64 KiB; both are reserved. What needs no change is sent from
//! where it was read.

mod packet;
mod stream;
mod target;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Bytes, kib};
use tidegate_runtime::{Backoff, BatchLimits, SinkPolicy};

use self::packet::PacketSink;
use self::stream::StreamSink;
use self::target::Target;
use super::encode::{JSON_OPTIONS, METRIC_TAGS, TIMES, with_fields};
use crate::contract::page::page;
use crate::contract::{Check, Class, Ignored, KernelBuffer, SinkConfig, SinkKind, StartError};
use crate::options::{Acknowledgements, Encoding, Healthcheck, SinkFraming, Tls};
use crate::value::{ByteSize, Period};
use crate::wiring::SinkSlot;

/// The entry of the list.
pub const KIND: SinkKind = SinkKind::of::<Socket>("socket", "Sends records over TCP, UDP or a unix socket.", EXAMPLE)
    .page(page!("socket.rs"))
    .ignores(&[
        Ignored { key: "keepalive", why: "a connection that broke is noticed by the next write" },
        TIMES,
        METRIC_TAGS,
        JSON_OPTIONS,
    ]);

const EXAMPLE: &str = "\
type: socket
mode: tcp
address: 127.0.0.1:9000
encoding:
  codec: json
";

/// Sends records over TCP, UDP or a unix socket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// Over what.
    pub mode: Mode,
    /// For `tcp` and `udp`: where to, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// For `unix`: the path of the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<std::path::PathBuf>,
    /// For `unix`: whether it is a stream or takes packets. Default: `stream`.
    #[serde(default)]
    pub unix_mode: UnixMode,
    /// How a record is written. Default: as JSON.
    #[serde(default)]
    pub encoding: Encoding,
    /// How records are told apart in a stream. Default: a newline behind each. A packet is always one record.
    #[serde(default)]
    pub framing: SinkFraming,
    /// For `tcp`: the size of the send buffer, which bounds what is under way. Of it, at most 64 KiB are waiting to be
    /// sent: what a slow peer does not take waits here, where it is counted. Default: 256 KiB; 0 leaves the size to the
    /// kernel, which takes megabytes.
    #[serde(default = "send_buffer")]
    pub send_buffer_bytes: ByteSize,
    /// A connection that does not come about in this time is tried again. A peer that does not read is waited for
    /// without end: that is its backpressure. Default: 10 s.
    #[serde(default = "connect_timeout")]
    pub connect_timeout_secs: Period,
    /// Not available for sockets yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Whether sources wait for it.
    #[serde(default)]
    pub acknowledgements: Acknowledgements,
    /// Whether it is tried before the pipeline starts.
    #[serde(default)]
    pub healthcheck: Healthcheck,
}

/// Over what records are sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A TCP connection.
    Tcp,
    /// UDP packets.
    Udp,
    /// A unix socket.
    #[serde(alias = "unix_stream")]
    Unix,
}

/// The kinds of unix sockets.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub enum UnixMode {
    /// A stream of bytes.
    #[default]
    #[serde(alias = "stream")]
    Stream,
    /// A packet for each record.
    #[serde(rename = "Datagram", alias = "datagram")]
    Packets,
}

const fn send_buffer() -> ByteSize {
    ByteSize::kib(256)
}

const fn connect_timeout() -> Period {
    Period::secs(10)
}

/// One write takes about half of the send buffer: what is in hand while a slow peer is waited for is late as well.
const BATCH: BatchLimits = BatchLimits::records(16_384).bytes(kib(128));

/// No packet is longer.
const PACKET: Bytes = kib(64);

impl Socket {
    fn target(&self) -> Result<Target, StartError> {
        let missing =
            |key: &str, like: &str| StartError::new(format!("`{key}` is missing")).help(format!("such as {like}"));
        match (self.mode, &self.address, &self.path) {
            (Mode::Unix, _, Some(path)) => Ok(Target::unix(path.clone())),
            (Mode::Unix, _, None) => Err(missing("path", "\"/run/app.sock\"")),
            (Mode::Tcp | Mode::Udp, Some(address), _) => {
                let send_buffer = (self.send_buffer_bytes.get() > 0).then_some(self.send_buffer_bytes.get());
                Target::address(address, send_buffer)
            }
            (Mode::Tcp | Mode::Udp, None, _) => Err(missing("address", "\"127.0.0.1:9000\"")),
        }
    }

    const fn sends_packets(&self) -> bool {
        matches!((self.mode, self.unix_mode), (Mode::Udp, _) | (Mode::Unix, UnixMode::Packets))
    }

    /// It connects again without end, twice a second at first.
    fn policy() -> SinkPolicy {
        let backoff = Backoff { longest: std::time::Duration::from_secs(10), ..Backoff::default() };
        SinkPolicy { retries: u32::MAX, backoff, ..SinkPolicy::default() }
    }
}

impl SinkConfig for Socket {
    fn check(&self, at: &mut Check<'_>) {
        at.under("encoding", |at| self.encoding.check(at));
        at.under("framing", |at| self.framing.check(at));
        let key = if self.mode == Mode::Unix { "path" } else { "address" };
        if let Err(error) = self.target() {
            let problem = at.refuse(key, error.text);
            if let Some(help) = error.help {
                problem.help(help);
            }
        }
        if self.mode == Mode::Unix && self.address.is_some() {
            at.warn("address", "has no effect with `mode: unix`");
        }
        if self.mode != Mode::Unix && self.path.is_some() {
            at.warn("path", "has no effect without `mode: unix`");
        }
        if self.tls.as_ref().is_some_and(|tls| tls.enabled.unwrap_or(true)) {
            at.refuse("tls", "is not available for sockets yet")
                .about(Class::Later)
                .help("use the sink `http` with an `https` address");
        }
        if self.connect_timeout_secs.get().is_zero() {
            at.refuse("connect_timeout_secs", "no connection comes about in no time").help("set it above zero");
        }
    }

    fn accepted(&self) -> &'static str {
        match self.mode {
            Mode::Tcp => "written to the connection: the kernel of this machine has it, the peer perhaps not yet",
            Mode::Udp => "sent as a packet, which may be lost",
            Mode::Unix => "written to the socket: the kernel has it",
        }
    }

    fn kernel(&self) -> Option<KernelBuffer> {
        let bytes = Some(self.send_buffer_bytes.get()).filter(|bytes| self.mode == Mode::Tcp && *bytes > 0)?;
        Some(KernelBuffer { bytes, each: "for its connection" })
    }

    fn required(&self) -> bool {
        self.acknowledgements.enabled
    }

    /// A record that is too long for a packet.
    fn refuses_records(&self) -> bool {
        self.sends_packets()
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let (target, encoder) = (self.target()?, self.encoding.encoder(&self.framing));
        let slot = with_fields(slot, &self.encoding);
        if self.sends_packets() {
            slot.encoding(PACKET).sink(Self::policy(), PacketSink::new(target, encoder.codec));
        } else {
            let sink = StreamSink::new(target, encoder, self.connect_timeout_secs.get());
            slot.batch(BATCH).encoding(BATCH.bytes).sink(Self::policy(), sink);
        }
        Ok(())
    }
}
