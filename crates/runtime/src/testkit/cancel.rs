//! Drops a future at every await: the test that a call is cancel-safe.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long, in the runtime's time, one run may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(3600);

/// Where a run of the future ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Cut<T> {
    /// It was dropped right after this many polls that were pending; 0: before the first poll.
    Pending(usize),
    /// After this many polls that were pending it was woken once more, and dropped before it was polled again.
    Woken(usize),
    /// It completed.
    Done(T),
}

/// Runs a future again and again, each time from a fresh `setup`, and drops it one await later each time: right after
/// it was pending, and (a second run) when it had been woken but not yet polled. `check` sees the state after each
/// cut, and after the last run, in which the future completed. Returns how many runs there were.
///
/// Run it on a current-thread runtime with paused time. Other tasks that `setup` spawned run between the polls.
///
/// # Panics
/// Where a run hangs: nothing wakes the future within an hour of the runtime's time.
///
/// ```
/// use tidegate_runtime::testkit::{Cut, drop_at_every_await};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let runs = drop_at_every_await(
///     || 0,
///     async |steps: &mut u32| {
///         *steps += 1;
///         tokio::task::yield_now().await;
///         *steps += 1;
///     },
///     async |steps, cut| match cut {
///         Cut::Pending(0) => assert_eq!(steps, 0),
///         Cut::Pending(_) | Cut::Woken(_) => assert_eq!(steps, 1),
///         Cut::Done(()) => assert_eq!(steps, 2),
///     },
/// )
/// .await;
/// assert_eq!(runs, 4);
/// # });
/// ```
pub async fn drop_at_every_await<S, T>(
    mut setup: impl FnMut() -> S,
    mut make_future: impl AsyncFnMut(&mut S) -> T,
    mut check: impl AsyncFnMut(S, Cut<T>),
) -> usize {
    let mut runs = 0;
    for polls in 0.. {
        for when_woken in [false, true] {
            if polls == 0 && when_woken {
                continue;
            }
            let mut state = setup();
            runs += 1;
            let cut = run(make_future(&mut state), polls, when_woken).await;
            let done = matches!(cut, Cut::Done(_));
            check(state, cut).await;
            if done {
                return runs;
            }
        }
    }
    runs
}

/// Polls `future` until it has been pending `polls` times, or completes.
async fn run<T>(future: impl Future<Output = T>, polls: usize, when_woken: bool) -> Cut<T> {
    if polls == 0 {
        drop(future);
        return Cut::Pending(0);
    }
    let mut future = pin!(future);
    let mut pending = 0;
    let cut = poll_fn(|cx| {
        if pending == polls {
            return Poll::Ready(Cut::Woken(polls));
        }
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Cut::Done(value));
        }
        pending += 1;
        if pending == polls && !when_woken {
            return Poll::Ready(Cut::Pending(polls));
        }
        Poll::Pending
    });
    // Not tokio's `timeout`, which polls the future once more when the time is up: that would hide a lost wake-up.
    tokio::select! {
        biased;
        () = tokio::time::sleep(HUNG) => panic!("the future hangs: nothing woke it after {polls} polls"),
        cut = cut => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "the future hangs")]
    async fn a_lost_wakeup_is_not_hidden_by_the_time_limit() {
        let ready_when_polled_again = async |polled: &mut bool| {
            poll_fn(|_| if std::mem::replace(polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        };
        drop_at_every_await(|| false, ready_when_polled_again, async |_, _| {}).await;
    }
}
