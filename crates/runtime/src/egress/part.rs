//! [`Attempt`]: a batch on its way into a sink, whole or a part of one that was refused, and what is [`Known`] of it.
//!
//! A batch that was refused for good is split. Where its first half is then accepted, the culprit is in the second, which
//! is split again without being tried: a search for one culprit among `n` records refuses `log2(n)` parts at most. That is
//! binary splitting, the oldest of the schemes of group testing (Du and Hwang, "Combinatorial Group Testing and Its
//! Applications", 2000, chapter 2).
//!
//! No record is given up that was not itself refused, but for one case: after many that were refused alone with nothing
//! accepted between them ([`Halving`](super::halving::Halving)), the first and the last record of a refused batch are tried
//! alone, and where both are refused, what is between them is given up with them. A burst of bad records that ends within
//! the batch takes nothing else along; good records between two bursts in one batch would go.

use tidegate_flow::{Batch, Nack, Payload, Time};

/// A batch on its way into the sink.
pub(super) struct Attempt<P> {
    pub(super) batch: Batch<P>,
    pub(super) tries: u32,
    /// When it, or a batch that it was a part of, was first refused.
    pub(super) first: Option<Time>,
    pub(super) known: Known,
}

/// What is known of a batch before it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is as it came, no part of another.
    Whole,
    /// A part of a batch that was refused, and no more is known.
    Part,
    /// The first part of one, to be tried before the second.
    FirstHalf,
    /// The second part, which holds the culprit if the first is accepted.
    SecondHalf,
    /// It holds a culprit.
    Culprit,
    /// What is behind the first record of a batch that was refused for this reason, as everything is.
    BehindTheFirst(Nack),
    /// The same, and that record was refused for good when it was tried alone.
    LikeTheFirst(Nack),
    /// The last record of such a rest, to be tried before what is between the two.
    Last,
    /// What is between the first record, which was refused, and the last, which is tried.
    Between(Nack),
    /// The same, and the last was refused for good too.
    LikeBothEnds(Nack),
}

impl<P: Payload> Attempt<P> {
    /// A batch as it came.
    pub(super) fn new(batch: Batch<P>) -> Self {
        Self { batch, tries: 0, first: None, known: Known::Whole }
    }

    /// Whether it is to be split without being tried: trying it would tell nothing new.
    pub(super) fn is_split_untried(&self) -> bool {
        match self.known {
            Known::Culprit | Known::LikeTheFirst(_) | Known::LikeBothEnds(_) => self.batch.records() > 1,
            Known::Whole | Known::Part | Known::FirstHalf | Known::SecondHalf => false,
            Known::BehindTheFirst(_) | Known::Last | Known::Between(_) => false,
        }
    }

    /// What is between its ends, and its last record, which is to be tried first. Of more than one record.
    pub(super) fn split_last(self, nack: Nack) -> [Self; 2] {
        let Self { mut batch, tries, first, .. } = self;
        let last = batch.split_off(batch.records().saturating_sub(1));
        [
            Self { batch, tries, first, known: Known::Between(nack) },
            Self { batch: last, tries, first, known: Known::Last },
        ]
    }

    /// Its two parts, the one that is to be tried first at the end: halves; or, where everything is refused and this was
    /// for that reason, its first record and the rest. Of more than one record.
    pub(super) fn split(self, everything: Option<Nack>) -> [Self; 2] {
        let Self { mut batch, tries, first, .. } = self;
        let (at, known) = match everything {
            None => (batch.records() / 2, Known::SecondHalf),
            Some(nack) => (1, Known::BehindTheFirst(nack)),
        };
        let behind = batch.split_off(at);
        [Self { batch: behind, tries, first, known }, Self { batch, tries, first, known: Known::FirstHalf }]
    }
}

/// The part that was tried first was accepted: if the other is next in line, the culprit is in it; what is between a first
/// record that was refused and a last that was not may be all good.
pub(super) fn culprit_is_elsewhere<P>(line: &mut [Attempt<P>]) {
    let Some(second) = line.last_mut() else { return };
    match second.known {
        Known::SecondHalf | Known::BehindTheFirst(_) => second.known = Known::Culprit,
        Known::Between(_) => second.known = Known::Part,
        _ => {}
    }
}

/// The part that was tried first was refused for good: nothing is known of the second half, the rest is like the first
/// record, and what is between is like both.
pub(super) fn culprit_is_here<P>(line: &mut [Attempt<P>]) {
    let Some(second) = line.last_mut() else { return };
    second.known = match std::mem::replace(&mut second.known, Known::Part) {
        Known::SecondHalf => Known::Part,
        Known::BehindTheFirst(nack) => Known::LikeTheFirst(nack),
        Known::Between(nack) => Known::LikeBothEnds(nack),
        other => other,
    };
}

/// Why a record is given up that was refused with its batch only, when all others were that were tried alone. The same words
/// for all of them: causes are counted.
pub(super) fn among_others(nack: &Nack) -> Nack {
    Nack {
        kind: nack.kind,
        cause: format!("{} (with its batch; all that were tried alone lately were refused too)", nack.cause).into(),
    }
}
