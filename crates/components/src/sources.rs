//! Where records come from.

pub mod demo_logs;
pub mod file;
pub mod http_server;
pub mod internal_metrics;
pub mod socket;
pub mod stdin;

mod decode;
mod stream;

use tidegate_record::frame::DEFAULT_MAX_LENGTH;

use crate::contract::{Check, Shed};
use crate::options::{Decoding, DecodingCodec, Framing, FramingMethod};
use crate::value::ByteSize;

/// The longest frame of a stream: what its framing says, or else the source, or else 102400 bytes.
fn max_length(framing: &Framing, max_length: Option<ByteSize>) -> usize {
    framing.max_length().or(max_length).map_or(DEFAULT_MAX_LENGTH, ByteSize::as_len)
}

/// Records that are longer than this.
fn too_long(what: &str, length: usize) -> Shed {
    Shed::unfit(format!("{what} longer than {}", ByteSize::new(length as u64)), "frames_oversize")
}

/// What a source sheds of what nobody is told of: records that are too long, and those that are not what they should be.
fn unfit(what: &str, length: usize, decoding: &Decoding) -> Vec<Shed> {
    let malformed = match decoding.codec {
        DecodingCodec::Bytes => None,
        DecodingCodec::Json => Some(Shed::unfit(format!("{what} that are no JSON object"), "records_malformed")),
    };
    std::iter::once(too_long(what, length)).chain(malformed).collect()
}

/// Reports what cannot work about the framing of a stream.
fn check_stream_framing(framing: &Framing, max_length: Option<ByteSize>, at: &mut Check<'_>) {
    at.under("framing", |at| framing.check(at));
    if max_length.is_some_and(|length| length.get() == 0) {
        at.refuse("max_length", "no line is that short").help("leave it out, or raise it");
    }
    if framing.method == FramingMethod::Bytes {
        at.refuse("framing.method", "a stream of bytes does not say where a record ends")
            .help("use `newline_delimited`, which is the default");
    }
}
