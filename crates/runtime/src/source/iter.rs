//! [`iter`]: reads an iterator.

use tidegate_flow::{Cause, Items, Weigh, Weight};

use crate::ingress::{NoCommit, Pull, Readiness, Source};

/// Reads an iterator, which must not block. The position is the number of records read.
#[must_use]
pub fn iter<I>(records: I) -> IterSource<I::IntoIter>
where
    I: IntoIterator,
    I::IntoIter: Send + 'static,
    I::Item: Weigh + Send + 'static,
{
    IterSource { records: records.into_iter(), read: 0, ended: false }
}

/// See [`iter`].
#[derive(Debug)]
pub struct IterSource<I> {
    records: I,
    read: u64,
    ended: bool,
}

impl<I> Source for IterSource<I>
where
    I: Iterator + Send + 'static,
    I::Item: Weigh + Send + 'static,
{
    type Payload = Items<I::Item>;
    type Position = u64;
    type Committer = NoCommit;

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        // An iterator never waits by itself; giving way now and then keeps it from starving its neighbours.
        tokio::task::coop::consume_budget().await;
        Ok(if self.ended { Readiness::Ended } else { Readiness::Ready })
    }

    fn read(&mut self, room: Weight, mut into: Items<I::Item>) -> Result<Pull<Items<I::Item>, u64>, Cause> {
        while (into.len() as u64) < room.records.get() && (into.is_empty() || into.bytes() < room.bytes) {
            match self.records.next() {
                Some(record) => into.push(record),
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        self.read += into.len() as u64;
        let position = (!into.is_empty()).then_some(self.read);
        Ok(Pull { payload: into, position })
    }
}
