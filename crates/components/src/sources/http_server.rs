//! `http_server`: takes records in the bodies of HTTP requests, and answers when they are safe.
//!
//! * **Emits** the records of a body: one for each line, element of a JSON array, or body.
//! * **Blocks** by refusing with 429 and `Retry-After`, before it reads a body: where there is no memory for it, or where
//!   what is ahead of it would take longer than `ack_timeout`. Ahead is what was taken and is not settled, also where its
//!   own request was answered with 503.
//! * **Sheds** nothing. What a policy further on sheds is accepted, and the answer says how many records that were.
//! * **Settles** by its answer: 200 (or `response_code`) when every record is safe; 503 with `Retry-After` when one was
//!   refused for now, or was not safe within `ack_timeout` (it may still arrive: a possible duplicate, counted); 400 when
//!   one was refused for good, which sending it again does not change. The cause, which may name what is behind this
//!   server, is in its log and not in the answer.
//! * **Completes** never by itself.
//! * **Fails** where it cannot listen. 413 answers a body over `max_body_bytes`, 400 one that is not what it should be,
//!   408 one that does not come, 401, 404 and 405 what is not meant for it.
//!
//! Records are known by what the sender says: the header `Tidegate-Ids`, as the sink `http` sends it, names each of them,
//! and with `Idempotency-Key` they are counted within that key, the path and the body: the same request alone repeats, and
//! what a key was given to together must be sent again together. Clients that choose the same key for different bodies are
//! not confused; those that choose the same key (a counter, a date) for the same body are: have them draw keys. Whoever
//! sends something again with the same ids can so be told from one who sends something equal (`dedupe` with `by: id`).
//! Without, they are counted for this run. A sender could name its records like those of others: where senders do not trust
//! each other, set `record_ids: own`.
//!
//! Holds 16 KiB for each connection, each body, what it was before it was compressed, and a list of its records: all of it
//! charged before it is filled. Where there is no memory or no place (`connection_limit`) for another connection, the one
//! on which nothing was said for the longest time, a second at least, is closed (`connections_given_up`); where there is
//! none, it waits. Connections are served by as many tasks as there are cores, at most 4, so that one that is slow or large
//! does not keep others waiting.

mod admission;
mod body;
mod desk;
mod passage;
mod refusal;
mod requests;
mod rules;
mod serve;
mod silent;
mod source;

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::Bytes;
use tidegate_record::codec::compress::{Compression, Limits, decompress};
use tidegate_runtime::SourceOptions;

use self::serve::Server;
use self::source::Requests;
use crate::contract::page::page;
use crate::contract::{Check, Class, Delivery, Depth, Exposure, Ids, Ignored, SourceConfig, SourceKind, StartError};
use crate::options::{Decoding, DecodingCodec, Framing, FramingMethod};
use crate::value::{ByteSize, Period};
use crate::wiring::SourceSlot;

/// The entry of the list.
pub const KIND: SourceKind = SourceKind::of::<HttpServer>(
    "http_server",
    "Takes records in the bodies of HTTP requests, and answers when they are safe.",
    EXAMPLE,
)
.page(page!("http_server.rs"))
.ignores(&[
    Ignored { key: "acknowledgements", why: "requests are always answered when their records are safe" },
    Ignored { key: "host_key", why: "the name of the machine is always in `host`" },
    Ignored { key: "keepalive", why: "connections are kept as long as they are used" },
    Ignored { key: "query_parameters", why: "what stands behind the path of a request is not kept" },
])
.lacks(&[
    Ignored { key: "encoding", why: "write `decoding: { codec: json }`" },
    Ignored { key: "tls", why: "put a proxy that speaks TLS before it" },
])
.counts(&[
    "connections_opened",
    "accepts_failed",
    "requests_taken",
    "requests_refused_early",
    "requests_malformed",
    "requests_too_large",
    "requests_late",
    "requests_broken",
    "requests_timed_out",
    "records_possibly_duplicated",
    "bytes_read",
    "connections_given_up",
    "requests_with_wrong_ids",
]);

const EXAMPLE: &str = "\
type: http_server
address: 127.0.0.1:8080
path: /logs
decoding: { codec: json }
ack_timeout: 30s
";

/// Takes records in the bodies of HTTP requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpServer {
    /// The address and port to listen on.
    pub address: SocketAddr,
    /// The path of requests.
    #[serde(default = "path")]
    pub path: String,
    /// Whether the path must be exactly this, or may be longer.
    #[serde(default = "strict")]
    pub strict_path: bool,
    /// The method of requests.
    #[serde(default)]
    pub method: Method,
    /// How a body is cut into records. Default: not at all for `bytes`; for `json`, an array is cut into its elements, and
    /// anything else that is not one object into lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<Framing>,
    /// What a record is.
    #[serde(default)]
    pub decoding: Decoding,
    /// Headers that become fields of each record.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The field with the path of the request.
    #[serde(default = "path_key")]
    pub path_key: String,
    /// Who may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The code of an answer that all is well.
    #[serde(default = "ok")]
    pub response_code: u16,
    /// Larger bodies are refused with 413, before and after decompression.
    #[serde(default = "max_body")]
    pub max_body_bytes: ByteSize,
    /// How long a request waits for its records to be safe.
    #[serde(default = "ack_timeout", alias = "ack_timeout_secs")]
    pub ack_timeout: Period,
    /// How long the head and the body of a request may take to arrive.
    #[serde(default = "read_timeout", alias = "read_timeout_secs")]
    pub read_timeout: Period,
    /// By what records are known. Default: by what the sender says.
    #[serde(default)]
    pub record_ids: RecordIds,
    /// The most connections at a time; more wait until one is closed, or was silent for a second and makes room.
    #[serde(default = "connections")]
    pub connection_limit: u32,
}

/// The method of requests.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}

/// By what records are known.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordIds {
    /// By the headers `Tidegate-Ids` or `Idempotency-Key`, where there is one.
    #[default]
    FromSender,
    /// By ids of this run, whatever the sender says.
    Own,
}

/// Who may send: a name and a password (RFC 7617).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// How; there is one way.
    #[serde(default)]
    pub strategy: AuthStrategy,
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How senders say who they are.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthStrategy {
    /// By name and password.
    #[default]
    Basic,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("username", &self.username).finish_non_exhaustive()
    }
}

fn path() -> String {
    "/".to_owned()
}

const fn strict() -> bool {
    true
}

fn path_key() -> String {
    "path".to_owned()
}

const fn ok() -> u16 {
    200
}

const fn max_body() -> ByteSize {
    ByteSize::mib(16)
}

const fn ack_timeout() -> Period {
    Period::secs(30)
}

const fn read_timeout() -> Period {
    Period::secs(30)
}

const fn connections() -> u32 {
    1024
}

/// Bodies up to this size are read into slabs that are used again.
const SLAB_BYTES: usize = 16 << 10;

/// How many of those are reserved.
const SLABS: usize = 64;

/// What is reserved for connections and for lists of records: the rest floats.
const HOLDING: Bytes = Bytes::new(16 * serve::HEAD_BYTES as u64);

impl SourceConfig for HttpServer {
    fn check(&self, at: &mut Check<'_>) {
        if !self.path.starts_with('/') {
            at.refuse("path", "a path begins with a slash").help(format!("write \"/{}\"", self.path));
        }
        if !(200..300).contains(&self.response_code) {
            at.refuse("response_code", "says that all is well, and is no code for that").help("choose 200 to 299");
        }
        let zeros = [
            ("max_body_bytes", self.max_body_bytes.get() == 0),
            ("ack_timeout", self.ack_timeout.get().is_zero()),
            ("read_timeout", self.read_timeout.get().is_zero()),
            ("connection_limit", self.connection_limit == 0),
        ];
        for (key, _) in zeros.into_iter().filter(|(_, is_zero)| *is_zero) {
            at.refuse(key, "nothing could be taken").help("set it above zero, or leave it out");
        }
        if let Some(framing) = &self.framing {
            at.under("framing", |at| framing.check(at));
            if !matches!(framing.method, FramingMethod::Bytes | FramingMethod::NewlineDelimited) {
                at.refuse("framing.method", "a body is cut at newlines or not at all")
                    .help("use `newline_delimited` or `bytes`");
            }
        }
        if at.depth() == Depth::Surroundings
            && let Err(error) = std::net::TcpListener::bind(self.address)
        {
            at.refuse("address", format!("cannot listen on {}: {error}", self.address))
                .about(Class::Address)
                .help("stop what listens there, or choose another port");
        }
    }

    /// A request is answered by one watch on all of its records.
    fn can_sort(&self) -> bool {
        false
    }

    fn ids(&self) -> Ids {
        match self.record_ids {
            RecordIds::FromSender => Ids::OfSender,
            RecordIds::Own => Ids::OfRun,
        }
    }

    fn exposure(&self) -> Exposure {
        Exposure {
            delivery: Delivery::Answered,
            acked: "the request was answered with success",
            blocked: "its requests are refused with 429 and a time to try again",
        }
    }

    fn start(self: Box<Self>, slot: SourceSlot<'_>) -> Result<(), StartError> {
        self.start_at(slot).map(drop)
    }
}

impl HttpServer {
    /// Starts, and says where it listens (the port may have been chosen by the system).
    fn start_at(self, slot: SourceSlot<'_>) -> Result<SocketAddr, StartError> {
        let (server, address) = Server::bind(&self, slot.name(), slot.context())?;
        let source = Requests::new(server, slot.name());
        slot.source(SourceOptions::new(source).holding(HOLDING).slabs(SLAB_BYTES, SLABS, 0));
        Ok(address)
    }

    /// How a body is cut.
    fn cut(&self) -> body::Cut {
        let method = self.framing.as_ref().map(|framing| framing.method);
        match (self.decoding.codec, method) {
            (DecodingCodec::Bytes, None | Some(FramingMethod::Bytes)) => body::Cut::Whole,
            // Others are refused by the check.
            (DecodingCodec::Bytes, Some(_)) => body::Cut::Lines,
            (DecodingCodec::Json, None | Some(FramingMethod::Bytes)) => body::Cut::Json,
            (DecodingCodec::Json, Some(_)) => body::Cut::JsonLines,
        }
    }
}

/// The records of a body that came with this `Content-Encoding`, or why they would be refused: what a fuzzer calls, to
/// ask of a body what the server asks.
///
/// # Errors
/// The words of the answer.
pub fn records_of(config: &HttpServer, encoding: Option<&str>, body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let compression = encoding.map_or(Some(Compression::None), Compression::from_content_encoding);
    let compression = compression.ok_or_else(|| "this encoding is not known".to_owned())?;
    let limits = Limits { bytes: config.max_body_bytes.as_len(), ..Limits::default() };
    let plain = decompress(compression, body, limits).map_err(|error| error.to_string())?;
    let most = body::most_records(&plain, config.cut());
    let (_, found) = body::records(&plain, config.cut(), most).map_err(|fault| fault.to_string())?;
    Ok(found.into_iter().map(|record| plain[record].to_vec()).collect())
}

#[cfg(test)]
mod tests;
