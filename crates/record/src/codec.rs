//! Codecs: rows to bytes ([`Encoder`]), and bytes to fewer bytes and back ([`compress`]).

mod bound;
pub mod compress;
mod encode;
pub mod whole;

pub use encode::{Codec, EncodeFraming, Encoded, Encoder};
