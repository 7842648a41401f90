//! Options that several components share, with Vector's keys: one struct for each, so that the same words mean the same
//! everywhere.

mod acknowledgements;
mod batch;
mod buffer;
mod codec;
mod fsync;
mod request;
mod retry;
mod tls;

pub use self::acknowledgements::{Acknowledgements, Healthcheck};
pub use self::batch::Batch;
pub use self::buffer::{Buffer, BufferType, WhenFull, Writes};
pub use self::codec::{
    CharacterDelimited, Decoding, DecodingCodec, Encoding, EncodingCodec, Framing, FramingMethod, LengthDelimited,
    NewlineDelimited, SinkDelimiter, SinkFraming, SinkFramingMethod,
};
pub use self::fsync::Fsync;
pub use self::request::{Concurrency, Request};
pub use self::retry::{JitterMode, Retry};
pub use self::tls::Tls;
