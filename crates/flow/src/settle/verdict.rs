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

/// Keeps what a source must hear of several records: transient beats permanent, or one that was refused for good would
/// take those with it that are to be tried again; earlier beats later.
pub(super) fn keep_nack(kept: &mut Option<Nack>, next: Option<&Nack>) {
    if let Some(next) = next
        && kept.as_ref().is_none_or(|kept| next.kind < kept.kind)
    {
        *kept = Some(next.clone());
    }
}

/// Whether, of one record, a nack of kind `next` replaces the kept one: a branch that refused it for good will again.
pub(super) fn outranks(next: NackKind, kept: Option<NackKind>) -> bool {
    kept.is_none_or(|kept| next > kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_nack_that_is_to_be_tried_again_is_kept() {
        let mut kept = None;
        for (next, expected) in [
            (None, None),
            (Some(Nack::permanent("a")), Some("a")),
            (Some(Nack::permanent("b")), Some("a")),
            (Some(Nack::transient("c")), Some("c")),
            (Some(Nack::transient("d")), Some("c")),
            (Some(Nack::permanent("e")), Some("c")),
        ] {
            keep_nack(&mut kept, next.as_ref());
            assert_eq!(kept.as_ref().map(|nack| nack.cause.as_str()), expected);
        }
    }
}
