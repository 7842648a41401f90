//! [`Turns`]: the sinks of a pool append one after the other, in the order in which they were given their batches,
//! whichever of them runs first.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Numbers that are given out and served in order.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// The number that is given out next.
    next: u64,
    /// The number whose turn it is.
    serving: u64,
    /// Those that were let go before their turn; at most one for each sink.
    gone: BTreeSet<u64>,
    /// Who waits for which; at most one for each sink.
    waiting: BTreeMap<u64, Waker>,
}

/// A number. Its turn ends when it is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number.
    pub(super) fn take(self: &Arc<Self>) -> Turn {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        drop(state);
        Turn { turns: Arc::clone(self), number }
    }
}

impl Turn {
    /// Completes when every number before was let go. Cancel-safe.
    pub(super) async fn comes(&self) {
        poll_fn(|task| {
            let mut state = self.turns.lock();
            if state.serving == self.number {
                return Poll::Ready(());
            }
            state.waiting.insert(self.number, task.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.waiting.remove(&self.number);
        state.gone.insert(self.number);
        while state.gone.first() == Some(&state.serving) {
            state.gone.pop_first();
            state.serving += 1;
        }
        let serving = state.serving;
        let next = state.waiting.remove(&serving);
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn turns_come_in_the_order_of_their_numbers_also_over_those_that_were_let_go() {
        let turns = Arc::new(Turns::default());
        let [first, second, third, fourth] = std::array::from_fn(|_| turns.take());
        assert!(first.comes().now_or_never().is_some());
        assert!(second.comes().now_or_never().is_none() && fourth.comes().now_or_never().is_none());
        drop(third);
        assert!(second.comes().now_or_never().is_none());
        drop(first);
        assert!(second.comes().now_or_never().is_some() && fourth.comes().now_or_never().is_none());
        drop(second);
        assert!(fourth.comes().now_or_never().is_some());
        drop(fourth);
        assert!(turns.take().comes().now_or_never().is_some());
    }
}
