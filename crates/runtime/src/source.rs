//! Sources from what Rust has: iterators, streams, async closures, and a channel for code inside the application.
//!
//! None of them has anything to acknowledge to, so each tells its committer nothing by default;
//! [`with_committer`] gives it one that hears, in order, what became of its records.

mod channel;
mod commit;
mod iter;
mod stream;

pub use self::channel::{Answer, ChannelSource, Parcel, Receipt, Sender, Unsent, channel, channel_with};
pub use self::commit::{WithCommitter, with_committer};
pub use self::iter::{IterSource, iter};
pub use self::stream::{FnStream, Infallible, StreamSource, from_fn, stream, try_stream};
