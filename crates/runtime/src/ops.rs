//! Steps that need more than a closure per record: batching, grouping, throttling, expansion, side outputs.

mod batcher;
mod bucket;
mod expand;
mod group;
mod recent;
mod side;
mod throttle;
mod try_or;

pub use self::batcher::{BatchLimits, Batcher};
pub use self::bucket::{KeyedBuckets, MAX_KEYS, TokenBucket};
pub use self::expand::Expand;
pub use self::group::Group;
pub use self::recent::Recent;
pub use self::side::{Divert, Tap};
pub use self::throttle::{ByBytes, ByRecord, Cost, OverRate, PerRecord, Throttle, ThrottleBy, ThrottleSpec};
pub use self::try_or::{Attempt, Copying, Returning, Tried, TryOr};
