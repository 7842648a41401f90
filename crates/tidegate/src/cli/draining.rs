//! A drain, and what is said of it while it lasts.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tidegate::{Report, Running, View};
use tidegate_components::contract::Meters;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::run::Teller;
use super::signals::{Heard, Signals};
use super::status::Status;

/// A drain that is over sooner is not worth a word.
const FIRST: Duration = Duration::from_millis(250);
/// How often the line on a terminal is drawn anew.
const EVERY: Duration = Duration::from_secs(1);
/// How often the log says how far it is, where there is no terminal.
const LOGGED_EVERY: u32 = 10;

/// Drains, until the deadline or another signal, and says whether it was that.
pub(super) async fn drain(
    mut running: Running,
    deadline: Duration,
    signals: &mut Signals,
    Teller { status, refused, .. }: &mut Teller,
    meters: &Meters,
) -> (Report, bool) {
    running.shut_intake();
    let begun = Instant::now();
    let view = running.view();
    let mut notice = Notice { view: Arc::clone(&view), begun, deadline, told: 0 };
    let mut refusals = pin!(refused.follow(&view, meters));
    let mut ticks = interval_at(begun + FIRST, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            // In this order: on a machine that is late with everything, a word about the drain comes before its end.
            biased;
            () = running.ended() => break Ended::Drained,
            heard = signals.next() => if heard == Heard::End { break Ended::Stopped },
            _ = ticks.tick() => notice.tell(status),
            () = sleep_until(begun + deadline) => break Ended::Late,
            () = &mut refusals => {}
        }
    };
    let (report, is_stopped) = match ended {
        Ended::Drained => (running.wait().await, false),
        Ended::Late => (running.drain(Duration::ZERO).await, false),
        Ended::Stopped => (running.stop().await, true),
    };
    status.clear();
    (report, is_stopped)
}

enum Ended {
    Drained,
    Late,
    Stopped,
}

/// Says how far a drain is.
struct Notice {
    view: Arc<View>,
    begun: Instant,
    deadline: Duration,
    told: u32,
}

impl Notice {
    fn tell(&mut self, status: &mut Status) {
        let records = self.view.ledger().total().in_flight.get();
        let left = self.deadline.saturating_sub(self.begun.elapsed());
        let text = in_words(records, left);
        if status.is_shown() {
            status.say(&text);
        } else if self.told.is_multiple_of(LOGGED_EVERY) {
            tracing::info!("{text}");
        }
        self.told += 1;
    }
}

fn in_words(records: u64, left: Duration) -> String {
    let what = if records == 1 { "1 record".to_owned() } else { format!("{records} records") };
    let seconds = left.as_millis().div_ceil(1_000);
    format!("draining {what}, at most {seconds} s; again (Ctrl-C, SIGTERM) to stop now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_and_how_long() {
        assert_eq!(
            in_words(1_234, Duration::from_millis(29_750)),
            "draining 1234 records, at most 30 s; again (Ctrl-C, SIGTERM) to stop now"
        );
        assert!(in_words(1, Duration::ZERO).starts_with("draining 1 record, at most 0 s;"));
    }
}
