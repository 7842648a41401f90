//! How a record's life ends: [`Outcome`], and for a refusal the [`Nack`] that says why and whether to try again.

use std::fmt;
use std::sync::Arc;

/// The final outcome of a record, from harmless to worst.
///
/// The order is the rule for forks: a record that was forked to several required branches ends with the *worst* of
/// its outcomes. `Filtered` ranks lowest because "this branch did not want it" takes nothing from a sibling that
/// delivered it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Removed by intent (a filter, a sampler that the user wrote).
    Filtered = 0,
    /// Accepted by the sink.
    Delivered = 1,
    /// Taken into state that survives (a durable checkpoint, or an operator declared `ack: on_absorb`).
    Absorbed = 2,
    /// Lost to overload by a policy that the user wrote.
    Shed = 3,
    /// Its deadline passed before it was worked on.
    Expired = 4,
    /// Accepted by a dead letter queue.
    DeadLettered = 5,
    /// Refused, and given back to the source with a [`Nack`].
    Returned = 6,
    /// Dropped without a decision: a cancelled stage, a deadline on drain, a ticket let go.
    Abandoned = 7,
}

impl Outcome {
    /// Every outcome, in order.
    pub const ALL: [Self; 8] = [
        Self::Filtered,
        Self::Delivered,
        Self::Absorbed,
        Self::Shed,
        Self::Expired,
        Self::DeadLettered,
        Self::Returned,
        Self::Abandoned,
    ];

    /// Whether a source may acknowledge a record that ended so: it arrived, it was not wanted, or a policy that the
    /// user wrote gave it up. `Returned` and `Abandoned` are nacks.
    #[must_use]
    pub const fn is_ack(self) -> bool {
        !matches!(self, Self::Returned | Self::Abandoned)
    }

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Delivered => "delivered",
            Self::Absorbed => "absorbed",
            Self::Shed => "shed",
            Self::Expired => "expired",
            Self::DeadLettered => "dead_lettered",
            Self::Returned => "returned",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether trying the same record again can help.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NackKind {
    /// It may succeed later (a timeout, an overloaded remote).
    Transient,
    /// It will fail again (invalid data, a panic in user code). Never replayed; a candidate for the dead letter queue.
    Permanent,
}

/// Why something failed, as text for people; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cause(Arc<str>);

impl Cause {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Into<Arc<str>>> From<S> for Cause {
    fn from(text: S) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A refusal: its kind and its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Whether trying again can help.
    pub kind: NackKind,
    /// Why.
    pub cause: Cause,
}

impl Nack {
    /// A refusal that may pass: try again later.
    #[must_use]
    pub fn transient(cause: impl Into<Cause>) -> Self {
        Self { kind: NackKind::Transient, cause: cause.into() }
    }

    /// A refusal for good: never replay.
    #[must_use]
    pub fn permanent(cause: impl Into<Cause>) -> Self {
        Self { kind: NackKind::Permanent, cause: cause.into() }
    }
}

impl fmt::Display for Nack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NackKind::Transient => write!(f, "transient: {}", self.cause),
            NackKind::Permanent => write!(f, "permanent: {}", self.cause),
        }
    }
}
