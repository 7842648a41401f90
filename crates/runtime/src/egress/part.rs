//! [`Attempt`]: a batch on its way into a sink, whole or a part of one that was refused, and what is [`Known`] of it.
//!
//! A batch that was refused for good is split. Where its first half is then accepted, the culprit is in the second, which
//! is split again without being tried: a search for one culprit among `n` records refuses `log2(n)` parts at most, and
//! no record is given up that was not itself refused. That is binary splitting, the oldest of the schemes of group testing
//! (Du and Hwang, "Combinatorial Group Testing and Its Applications", 2000, chapter 2).

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
}

impl<P: Payload> Attempt<P> {
    /// A batch as it came.
    pub(super) fn new(batch: Batch<P>) -> Self {
        Self { batch, tries: 0, first: None, known: Known::Whole }
    }

    /// Whether it is to be split without being tried: trying it would tell nothing new.
    pub(super) fn is_split_untried(&self) -> bool {
        match self.known {
            Known::Culprit | Known::LikeTheFirst(_) => self.batch.records() > 1,
            Known::Whole | Known::Part | Known::FirstHalf | Known::SecondHalf | Known::BehindTheFirst(_) => false,
        }
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

/// The first part was accepted: if the second is next in line, the culprit is in it.
pub(super) fn culprit_is_behind<P>(line: &mut [Attempt<P>]) {
    if let Some(second) = line.last_mut()
        && matches!(second.known, Known::SecondHalf | Known::BehindTheFirst(_))
    {
        second.known = Known::Culprit;
    }
}

/// The first part was refused for good: nothing is known of the second half, and the rest is like the first record.
pub(super) fn culprit_is_here<P>(line: &mut [Attempt<P>]) {
    let Some(second) = line.last_mut() else { return };
    second.known = match std::mem::replace(&mut second.known, Known::Part) {
        Known::SecondHalf => Known::Part,
        Known::BehindTheFirst(nack) => Known::LikeTheFirst(nack),
        other => other,
    };
}

/// Why a record is given up that was refused with its batch only, when all others were that were tried alone.
pub(super) fn among_others(nack: &Nack, others: u32) -> Nack {
    Nack {
        kind: nack.kind,
        cause: format!("{} (with its batch; the last {others} records tried alone were refused too)", nack.cause)
            .into(),
    }
}
