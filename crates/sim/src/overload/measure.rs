//! What is seen of a run, and the figures that are made of it.

use tidegate_control::Answer;

use super::caller::Ending;
use super::scenario::Scenario;
use super::world::Call;

/// Everything that is noted during a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    from: f64,
    rtt: f64,
    sends: u64,
    refused: u64,
    timed_out: u64,
    useful_seconds: f64,
    wasted_seconds: f64,
    /// The end of each good answer, and its latency.
    good: Vec<(f64, f64)>,
    /// Per client, then per tenant: offered, good and shed.
    clients: Vec<Vec<Tally>>,
    /// Sends per call of the whole window.
    calls: u64,
}

/// Counts of one tenant.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) offered: f64,
    pub(crate) good: f64,
    pub(crate) shed: f64,
}

/// The figures of a run, by name.
pub(crate) type Figures = Vec<(&'static str, f64)>;

impl Book {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let tenants = |client: &super::scenario::Client| vec![Tally::default(); client.tenants.len().max(1)];
        Self {
            from: scenario.warm_up,
            rtt: scenario.rtt(),
            clients: scenario.clients.iter().map(tenants).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn offered(&mut self, now: f64, call: &Call) {
        if now >= self.from {
            self.calls += 1;
            self.clients[call.client as usize][call.tenant as usize].offered += 1.0;
        }
    }

    pub(crate) fn sent(&mut self, now: f64) {
        self.sends += u64::from(now >= self.from);
    }

    pub(crate) fn answered(&mut self, now: f64, sent: f64, answer: Answer, is_first: bool) {
        if answer == Answer::Ok && is_first {
            self.good.push((now, now - sent));
        }
        if now >= self.from {
            match answer {
                Answer::PushedBack(_) | Answer::Failed => self.refused += 1,
                Answer::TimedOut => self.timed_out += 1,
                Answer::Ok => {}
            }
        }
    }

    pub(crate) fn ended(&mut self, now: f64, call: &Call, ending: Ending) {
        if now >= self.from {
            let tally = &mut self.clients[call.client as usize][call.tenant as usize];
            match ending {
                Ending::Good => tally.good += 1.0,
                Ending::Shed => tally.shed += 1.0,
                Ending::Bad => {}
            }
        }
    }

    pub(crate) fn useful(&mut self, now: f64, seconds: f64) {
        if now >= self.from {
            self.useful_seconds += seconds;
        }
    }

    pub(crate) fn waste(&mut self, now: f64, seconds: f64) {
        if now >= self.from {
            self.wasted_seconds += seconds;
        }
    }

    /// The figures that every scenario has.
    pub(crate) fn figures(&self, scenario: &Scenario, best: f64) -> Figures {
        let mut latencies: Vec<f64> =
            self.good.iter().filter(|(now, _)| *now >= self.from).map(|(_, latency)| *latency * 1000.0).collect();
        let count = latencies.len() as f64;
        let p99 = quantile(&mut latencies, 0.99);
        let p50 = quantile(&mut latencies, 0.50);
        let sends = (self.sends as f64).max(1.0);
        let worked = (self.useful_seconds + self.wasted_seconds).max(1e-9);
        let mut figures = vec![
            ("goodput", count / best.max(1e-9)),
            ("p50_ms", p50),
            ("p99_ms", p99),
            ("refused", self.refused as f64 / sends),
            ("bad_sends", ((self.refused + self.timed_out) as f64 / sends).min(1.0)),
            ("wasted_work", self.wasted_seconds / worked),
            ("amplification", sends / (self.calls as f64).max(1.0)),
            ("jain", self.jain()),
        ];
        if let Some(event) = scenario.event {
            figures.push(("recovery_rtt", self.recovery(scenario, event)));
        }
        figures
    }

    /// Jain's index of what clients got.
    fn jain(&self) -> f64 {
        let got: Vec<f64> = self.clients.iter().map(|tenants| tenants.iter().map(|tally| tally.good).sum()).collect();
        jain(&got)
    }

    /// From the event until, for 20 round trips, the goodput is 95 % of the best (less two standard errors, for the best
    /// is an expectation); in round trips. What never recovers has the rest of the run.
    pub(crate) fn recovery(&self, scenario: &Scenario, event: f64) -> f64 {
        let window = 20.0 * self.rtt;
        let mut from = event;
        while from + window <= scenario.seconds {
            let best = scenario.best(from, from + window);
            let start = self.good.partition_point(|(now, _)| *now < from);
            let end = self.good.partition_point(|(now, _)| *now < from + window);
            if (end - start) as f64 >= 0.95 * best - 2.0 * best.sqrt() {
                break;
            }
            from += self.rtt;
        }
        (from - event) / self.rtt
    }
}

/// Jain's index of fairness: 1 where all got the same.
pub(crate) fn jain(got: &[f64]) -> f64 {
    let sum: f64 = got.iter().sum();
    let squares: f64 = got.iter().map(|one| one * one).sum();
    if squares > 0.0 { sum * sum / (squares * got.len() as f64) } else { 1.0 }
}

/// The value at a quantile; 0 for none.
pub(crate) fn quantile(values: &mut [f64], at: f64) -> f64 {
    tidegate_control::smooth::quantile(values, at).unwrap_or_default()
}
