//! What happens to records on the way.

pub mod dedupe;
pub mod filter;
pub mod reduce;
pub mod remap;
pub mod route;
pub mod sample;
pub mod throttle;

mod condition;
mod edits;

#[cfg(test)]
mod bench;

pub use self::condition::{ConditionText, Language, TypedCondition};
