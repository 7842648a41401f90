//! Sinks from what Rust has: closures, vectors, `futures` sinks and tower services; and the way out of a pipeline into
//! a `futures` stream.

mod closure;
mod collect;
mod futures;
mod service;
mod stream;

pub use self::closure::{ForEach, ForEachAsync, Null, TryForEach, for_each, for_each_async, null, try_for_each};
pub use self::collect::{Collect, Collected, collect};
pub use self::futures::{FromSink, SenderSink, as_sink, from_sink};
pub use self::service::{PerRecord, ServiceSink, service, service_each};
pub use self::stream::{FlowStream, StreamSink};
