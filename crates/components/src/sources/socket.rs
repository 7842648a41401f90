//! `socket`: listens on TCP, UDP or a unix socket.
//!
//! * **Emits** one record a line (TCP, unix streams), or one a packet (UDP, unix datagrams).
//! * **Blocks** by not reading: the receive buffer fills (it is small by default, so that what waits there is young), and
//!   a sender on a stream waits. Connections are read in turns, one slab each. Each is charged 2 KiB and its partial frame;
//!   where there is no memory for another one, that waits to be accepted.
//! * **Sheds** lines that are too long (`frames_oversize`), with `decoding: { codec: json }` what is no JSON object
//!   (`records_malformed`), and packets that come while it is not read (`packets_dropped_by_kernel`).
//! * **Settles** nothing outside: who sends is not told, so what the kernel acknowledged and what is in flight is lost
//!   when the process dies.
//! * **Completes** never by itself.
//! * **Fails** where it cannot listen. A connection that fails is counted (`connections_failed`), and so is one that is
//!   closed for want of memory (`connections_refused`), or at once because there are too many (`connections_over_limit`).

mod connections;
mod listener;
mod packets;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_runtime::SourceOptions;

use self::connections::Connections;
use self::listener::Listener;
use self::packets::Packets;
use super::stream::{PARTIAL_BYTES, SLAB_BYTES, SLABS_KEPT};
use crate::contract::page::page;
use crate::contract::{
    Check, Class, Delivery, Depth, Exposure, Ignored, KernelBuffer, Shed, SourceConfig, SourceKind, StartError,
};
use crate::options::{Decoding, Framing, FramingMethod};
use crate::value::{ByteSize, Period};
use crate::wiring::SourceSlot;

/// The entry of the list.
pub const KIND: SourceKind = SourceKind::of::<Socket>("socket", "Listens on TCP, UDP or a unix socket.", EXAMPLE)
    .page(page!("socket.rs"))
    .ignores(&[
        Ignored { key: "shutdown_timeout_secs", why: "a drain delivers what was read, and closes connections at once" },
        Ignored { key: "host_key", why: "the name of the machine is always in `host`" },
        Ignored { key: "port_key", why: "the port of the sender is not kept" },
        Ignored { key: "max_connection_duration_secs", why: "connections last as long as their senders like" },
        Ignored { key: "socket_file_mode", why: "a socket has the permissions that the umask leaves" },
    ])
    .lacks(&[
        Ignored { key: "tls", why: "put a proxy that speaks TLS before it" },
        Ignored { key: "permit_origin", why: "let a firewall say who may send" },
        Ignored { key: "multicast_groups", why: "it listens on addresses of this machine alone" },
    ])
    .counts(&[
        "records_malformed",
        "connections_opened",
        "connections_closed",
        "connections_failed",
        "connections_refused",
        "connections_over_limit",
        "accepts_failed",
        "frames_oversize",
        "frames_cut_off",
        "bytes_read",
        "packets_read",
        "packets_dropped_by_kernel",
    ]);

const EXAMPLE: &str = "\
type: socket
mode: tcp
address: 127.0.0.1:9000
connection_limit: 1000
";

/// Listens on TCP, UDP or a unix socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// What to listen on.
    pub mode: Mode,
    /// The address and port, for `tcp` and `udp`: `0.0.0.0:9000`, `[::1]:514`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// The path, for `unix_stream` and `unix_datagram`. A socket that nobody listens on any more is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Longer lines and packets are skipped and counted. Default: 102400 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<ByteSize>,
    /// How what comes is cut into records. Default: at newlines for streams, one record a packet otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<Framing>,
    /// What a record is.
    #[serde(default)]
    pub decoding: Decoding,
    /// The most connections at a time; more are closed at once, and counted. Default: 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// How much the kernel holds for us, for each connection or for all packets. Small, so that what waits there is young
    /// and is known to be little. Default: 128 KiB for each connection, 1 MiB for packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_buffer_bytes: Option<ByteSize>,
    /// When a silent TCP connection is asked whether it is still there.
    #[serde(default)]
    pub keepalive: Keepalive,
}

/// When a silent TCP connection is asked whether it is still there.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// After so much silence, zero for never. Default: 60 s.
    pub time_secs: Period,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { time_secs: Period::secs(60) }
    }
}

/// What to listen on.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// TCP connections.
    Tcp,
    /// UDP packets.
    Udp,
    /// Connections on a unix socket.
    UnixStream,
    /// Packets on a unix socket.
    #[serde(rename = "unix_datagram")]
    UnixPackets,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UnixStream => "unix_stream",
            Self::UnixPackets => "unix_datagram",
        }
    }

    const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::UnixStream)
    }

    const fn has_path(self) -> bool {
        matches!(self, Self::UnixStream | Self::UnixPackets)
    }
}

const CONNECTIONS: u32 = 4096;

impl Socket {
    fn framing(&self) -> Framing {
        let method = if self.mode.is_stream() { FramingMethod::NewlineDelimited } else { FramingMethod::Bytes };
        self.framing.clone().unwrap_or(Framing::of(method))
    }

    fn max_length(&self) -> usize {
        super::max_length(&self.framing(), self.max_length)
    }

    /// Kernel memory for each connection, or for all packets.
    fn receive_buffer(&self) -> usize {
        let usual = if self.mode.is_stream() { ByteSize::kib(128) } else { ByteSize::mib(1) };
        self.receive_buffer_bytes.unwrap_or(usual).as_len()
    }

    fn check_place(&self, at: &mut Check<'_>) {
        let (wanted, given, other, odd) = if self.mode.has_path() {
            ("path", self.path.is_some(), "address", self.address.is_some())
        } else {
            ("address", self.address.is_some(), "path", self.path.is_some())
        };
        if !given {
            let example = if wanted == "path" { "/run/tidegate.sock" } else { "127.0.0.1:9000" };
            at.refuse(wanted, format!("mode `{}` needs one", self.mode.name()))
                .help(format!("write `{wanted}: {example}`"));
        }
        if odd {
            at.refuse(other, format!("mode `{}` has none", self.mode.name()))
                .help(format!("remove it, and give `{wanted}`"));
        }
    }
}

impl SourceConfig for Socket {
    fn check(&self, at: &mut Check<'_>) {
        self.check_place(at);
        if self.mode.is_stream() {
            super::check_stream_framing(&self.framing(), self.max_length, at);
        } else {
            at.under("framing", |at| self.framing().check(at));
        }
        if self.connection_limit == Some(0) {
            at.refuse("connection_limit", "nobody could connect").help("set it to at least 1");
        }
        if self.connection_limit.is_some() && !self.mode.is_stream() {
            at.warn("connection_limit", "has no effect without connections").help("remove it");
        }
        if at.depth() == Depth::Surroundings
            && let Err(error) = listener::probe(self)
        {
            let key = if self.mode.has_path() { "path" } else { "address" };
            let problem = at.refuse(key, error.text).about(Class::Address);
            if let Some(help) = error.help {
                problem.help(help);
            }
        }
    }

    fn exposure(&self) -> Exposure {
        let (delivery, blocked) = if self.mode.is_stream() {
            (Delivery::InFlight, "its writes wait once the receive buffer is full")
        } else {
            (Delivery::Lossy, "nothing; the kernel drops packets once the receive buffer is full")
        };
        Exposure { delivery, acked: "the kernel has it; the sender does not hear of more", blocked }
    }

    fn sheds(&self) -> Vec<Shed> {
        let what = if self.mode.is_stream() { "lines" } else { "packets" };
        let unread = Shed::any("packets that come while it is not read", "packets_dropped_by_kernel");
        let unread = (!self.mode.is_stream()).then_some(unread);
        unread.into_iter().chain(super::unfit(what, self.max_length(), &self.decoding)).collect()
    }

    fn kernel(&self) -> Option<KernelBuffer> {
        let each = if self.mode.is_stream() { "for each connection" } else { "for all packets" };
        Some(KernelBuffer { bytes: self.receive_buffer() as u64, each })
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        self.start_at(slot).map(drop)
    }
}

impl Socket {
    /// Starts, and says where it listens (the port may have been chosen by the system).
    fn start_at(self, slot: SourceSlot<'_>) -> Result<Option<SocketAddr>, StartError> {
        let (listener, address) = Listener::open(&self)?;
        match listener {
            Listener::Stream(listener) => {
                let source = Connections::new(&self, listener, slot.name(), slot.context());
                let options = SourceOptions::new(source).holding(PARTIAL_BYTES + PARTIAL_BYTES);
                slot.source(options.slabs(SLAB_BYTES, SLABS_KEPT, self.max_length()));
            }
            Listener::Packets(socket) => {
                let source = Packets::new(&self, socket, slot.name(), slot.context());
                slot.source(SourceOptions::new(source).slabs(packets::SLAB, packets::SLABS, 0));
            }
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests;
