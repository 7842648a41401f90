//! [`Verdict`]: one value for "how these rows ended", whether that is an outcome or a nack with its cause.

use crate::outcome::{Nack, NackKind, Outcome};

/// How rows ended: an [`Outcome`], or a [`Nack`] (which is [`Outcome::Returned`] with a cause).
///
/// Made with `From`, so that functions take `impl Into<Verdict>` and callers pass either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    outcome: Outcome,
    nack: Option<Nack>,
}

impl Verdict {
    pub(super) const fn new(outcome: Outcome, nack: Option<Nack>) -> Self {
        Self { outcome, nack }
    }

    /// The outcome; [`Outcome::Returned`] for a nack.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The nack, where one was given.
    #[must_use]
    pub const fn nack(&self) -> Option<&Nack> {
        self.nack.as_ref()
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self::new(outcome, None)
    }
}

impl From<Nack> for Verdict {
    fn from(nack: Nack) -> Self {
        Self::new(Outcome::Returned, Some(nack))
    }
}

/// Keeps the first nack of the worst kind: permanent beats transient, earlier beats later.
pub(super) fn keep_worst(kept: &mut Option<Nack>, next: Option<&Nack>) {
    if let Some(next) = next
        && outranks(next.kind, kept.as_ref().map(|nack| nack.kind))
    {
        *kept = Some(next.clone());
    }
}

/// Whether a nack of kind `next` replaces the kept one.
pub(super) fn outranks(next: NackKind, kept: Option<NackKind>) -> bool {
    kept.is_none_or(|kept| next > kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nack_of_the_worst_kind_is_kept() {
        let mut kept = None;
        for (next, expected) in [
            (None, None),
            (Some(Nack::transient("a")), Some("a")),
            (Some(Nack::transient("b")), Some("a")),
            (Some(Nack::permanent("c")), Some("c")),
            (Some(Nack::permanent("d")), Some("c")),
            (Some(Nack::transient("e")), Some("c")),
        ] {
            keep_worst(&mut kept, next.as_ref());
            assert_eq!(kept.as_ref().map(|nack| nack.cause.as_str()), expected);
        }
    }
}
