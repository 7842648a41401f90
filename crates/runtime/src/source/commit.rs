//! [`with_committer`]: a source whose settled positions are told to a closure.

use tidegate_flow::{Cause, GroupWatch, Weight};

use crate::ingress::{Committer, NoCommit, Pull, Readiness, Source};

/// Reads `source`, and tells `committer` what became of its records: in order, one report at a time, never past a
/// record that is not settled. Several reads may be told in one report.
///
/// The committer is a closure, or anything that implements [`Committer`] and may then wait. The source goes on being
/// read while it does; the settle window bounds how far. A committer that panics ends the pipeline.
///
/// ```
/// use tidegate_flow::Settled;
/// use tidegate_runtime::source;
///
/// let numbers = source::with_committer(source::iter(0..10_u64), |settled: Settled<u64>| {
///     assert!(settled.nack.is_none(), "read again from the position before");
/// });
/// # drop(numbers);
/// ```
#[must_use]
pub fn with_committer<S, C>(source: S, committer: C) -> WithCommitter<S, C>
where
    S: Source<Committer = NoCommit>,
    C: Committer<S::Position>,
{
    WithCommitter { source, committer: Some(committer) }
}

/// See [`with_committer`].
#[derive(Debug)]
pub struct WithCommitter<S, C> {
    source: S,
    /// There until the runtime asks for it.
    committer: Option<C>,
}

impl<S, C> Source for WithCommitter<S, C>
where
    S: Source<Committer = NoCommit>,
    C: Committer<S::Position>,
{
    type Payload = S::Payload;
    type Position = S::Position;
    type Committer = C;

    /// # Panics
    /// When it is asked for twice, which the runtime does not.
    fn committer(&mut self) -> C {
        match self.committer.take() {
            Some(committer) => committer,
            None => panic!("a source's committer was asked for twice; ask once, before the first read"),
        }
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        self.source.ready().await
    }

    fn read(&mut self, room: Weight, spare: S::Payload) -> Result<Pull<S::Payload, S::Position>, Cause> {
        self.source.read(room, spare)
    }

    fn watches(&self) -> bool {
        self.source.watches()
    }

    fn watch(&mut self, watch: GroupWatch) {
        self.source.watch(watch);
    }
}
