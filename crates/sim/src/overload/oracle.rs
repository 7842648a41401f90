//! The controller that knows: it is told the truth about the station. What the others are measured against.

use std::time::Duration;

use tidegate_control::{Admit, Done, Limiter};
use tidegate_flow::Time;

/// A limit of what the servers can do plus an eighth in the queue, shared out between clients; a pace where there is a
/// quota.
#[derive(Debug)]
pub(crate) struct Oracle {
    place: u32,
    clients: u32,
    limit: u32,
    pace: Option<Duration>,
    next: Time,
}

impl Oracle {
    /// One of `clients`, the one in this place.
    pub(crate) const fn new(place: u32, clients: u32) -> Self {
        Self { place, clients, limit: 1, pace: None, next: Time::ZERO }
    }

    /// The truth: servers, the most that is let in, the quota per second.
    pub(crate) fn told(&mut self, servers: u32, most: Option<u32>, rate: Option<f64>) {
        let whole = (servers + (servers / 8).max(1)).min(most.unwrap_or(u32::MAX));
        let share = whole / self.clients + u32::from(self.place < whole % self.clients);
        self.limit = share.max(1);
        self.pace = rate.map(|rate| Duration::from_secs_f64(f64::from(self.clients) / (rate * 0.998)));
    }
}

impl Limiter for Oracle {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn admit(&mut self, now: Time, in_flight: u32, _chance: f64) -> Admit {
        if in_flight >= self.limit {
            Admit::Wait
        } else if now < self.next {
            Admit::Until(self.next)
        } else {
            Admit::Send
        }
    }

    fn sent(&mut self, now: Time, _in_flight: u32) {
        if let Some(pace) = self.pace {
            self.next = self.next.max(now) + pace;
        }
    }

    fn done(&mut self, _done: &Done, _in_flight: u32, _chance: f64) {}
}
