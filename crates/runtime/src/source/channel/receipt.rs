//! [`Receipt`]: what became of one record that was sent through a channel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tidegate_flow::{GroupOutcome, GroupWatch, Nack, Outcome};
use tokio::sync::oneshot;

/// Tells a [`Receipt`] where to look, or at once how the record ended.
pub(super) type Reply = oneshot::Sender<Result<GroupWatch, Outcome>>;

/// How a record ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The outcome; the worst one, where the record became several.
    pub outcome: Outcome,
    /// Why, where it was refused or abandoned.
    pub nack: Option<Nack>,
}

impl From<GroupOutcome> for Answer {
    fn from(group: GroupOutcome) -> Self {
        let worst = group.counts.iter().filter(|(_, records)| !records.is_zero()).map(|(outcome, _)| outcome).max();
        Self { outcome: worst.unwrap_or(Outcome::Filtered), nack: group.nack }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        let nack = (outcome == Outcome::Abandoned).then(|| Nack::transient("the pipeline ended before it read this"));
        Self { outcome, nack }
    }
}

/// What became of one record that was sent with [`Sender::send_acked`](super::Sender::send_acked): a future of its [`Answer`].
///
/// A record that the pipeline never read was abandoned. Cancel-safe; dropping it loses only the news.
#[must_use = "a receipt says nothing unless it is awaited"]
pub struct Receipt {
    told: Told,
}

impl Receipt {
    /// A receipt, and who is to be told first.
    pub(super) fn new() -> (Reply, Self) {
        let (reply, told) = oneshot::channel(); // tidy: allow(banned-calls): a oneshot holds one answer
        (reply, Self { told: Told::Later(told) })
    }
}

enum Told {
    /// It is in the channel.
    Later(oneshot::Receiver<Result<GroupWatch, Outcome>>),
    /// It is in the pipeline.
    Here(GroupWatch),
}

impl Future for Receipt {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Answer> {
        if let Told::Later(told) = &mut self.told {
            match ready!(Pin::new(told).poll(task)) {
                Ok(Ok(watch)) => self.told = Told::Here(watch),
                Ok(Err(outcome)) => return Poll::Ready(Answer::from(outcome)),
                Err(_) => return Poll::Ready(Answer::from(Outcome::Abandoned)),
            }
        }
        match &mut self.told {
            Told::Here(watch) => watch.poll_outcome(task).map(Answer::from),
            Told::Later(_) => Poll::Pending,
        }
    }
}
