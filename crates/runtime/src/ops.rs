//! Steps that need more than a closure per record: batching, grouping, throttling, expansion, side outputs.

mod batcher;
mod bucket;
mod expand;
mod group;
mod recent;
mod side;
mod throttle;

pub use self::batcher::{BatchLimits, Batcher};
pub use self::bucket::{KeyedBuckets, MAX_KEYS, TokenBucket};
pub use self::expand::Expand;
pub use self::group::Group;
pub use self::recent::Recent;
pub use self::side::{Divert, Tap, TryOr};
pub use self::throttle::{ByBytes, ByRecord, Cost, OverRate, PerRecord, Throttle, ThrottleBy, ThrottleSpec};
