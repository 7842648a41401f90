//! [`Scenario`]: stations, clients and what happens when, as data. Times are in seconds of virtual time.

use super::service::Service;

/// A run, as data.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name in tables and in `--scenario`.
    pub name: String,
    /// What it is, in a few words.
    pub title: &'static str,
    /// When it ends.
    pub seconds: f64,
    /// What is before this is not measured.
    pub warm_up: f64,
    /// The stations; a station is named by its place.
    pub stations: Vec<Station>,
    /// The clients.
    pub clients: Vec<Client>,
    /// Recovery is measured from this moment.
    pub event: Option<f64>,
    /// Whether refusals count instead of latency in the score: the remote says no before it queues.
    pub by_refusals: bool,
}

/// Where requests are served: so many servers, a queue without bound, in order of arrival.
#[derive(Clone, Debug)]
pub struct Station {
    /// How many requests are served side by side.
    pub servers: u32,
    /// How long each takes.
    pub service: Service,
    /// What changes, and when.
    pub changes: Vec<(f64, Change)>,
    /// What it refuses at once.
    pub cap: Option<Cap>,
    /// Whether the hints of refusals say when to come again.
    pub hints: bool,
    /// All requests are worked on at once, each at an equal share, instead of one per server in order.
    pub shares: bool,
    /// After service, each request needs so many answers through this client.
    pub downstream: Option<(usize, u32)>,
}

/// Something that happens to a station.
#[derive(Copy, Clone, Debug)]
pub enum Change {
    /// It has so many servers from now on.
    Servers(u32),
    /// Service takes so many times as long as at first, for what starts from now on.
    Slower(f64),
    /// Nothing moves for so many seconds.
    Stall(f64),
    /// What comes in from now on vanishes, or no longer does.
    BlackHole(bool),
    /// What comes in from now on is refused at once, or no longer is.
    Refusing(bool),
    /// This share of requests fails at once, without work.
    Failing(f64),
}

/// What a station refuses.
#[derive(Copy, Clone, Debug)]
pub enum Cap {
    /// More than so many inside.
    Hard(u32),
    /// More than a token bucket allows: rate per second, burst.
    Rate(f64, f64),
    /// A rate bucket that also refuses when the rate grows by more than so many times per second.
    Slope(f64, f64, f64),
}

/// Who calls: a caller in front of one limiter.
#[derive(Clone, Debug)]
pub struct Client {
    /// How calls come.
    pub load: Load,
    /// To which station.
    pub station: usize,
    /// When a call that was sent is given up. The station works on it nevertheless.
    pub timeout: f64,
    /// How long a call waits for the limiter before it is shed.
    pub patience: f64,
    /// How often the caller tries again after a failure of any kind.
    pub retries: u32,
    /// Who the calls are from: share of the load and class (0 is served first).
    pub tenants: Vec<(f64, usize)>,
    /// A call is of no use to its caller after this long; carried to the calls that it causes.
    pub deadline: Option<f64>,
}

/// How calls come to a client.
#[derive(Clone, Debug)]
pub enum Load {
    /// Evenly random, so many per second from each moment on.
    Steps(Vec<(f64, f64)>),
    /// Evenly random, going up and down: lowest rate, highest rate, period.
    Wave(f64, f64, f64),
    /// So many users, each of whom thinks for a mean time between the end of a call and the next.
    Closed(u32, f64),
    /// Only what other stations cause.
    Caused,
}

impl Load {
    /// Calls per second at `at`; for users, what they could ask for if answers took `response` seconds.
    #[must_use]
    pub fn rate(&self, at: f64, response: f64) -> f64 {
        match self {
            Self::Steps(steps) => steps.iter().rev().find(|(from, _)| *from <= at).map_or(0.0, |(_, rate)| *rate),
            Self::Wave(low, high, period) => {
                let phase = (1.0 - (std::f64::consts::TAU * at / period).cos()) / 2.0;
                low + (high - low) * phase
            }
            Self::Closed(users, think) => f64::from(*users) / (think + response),
            Self::Caused => 0.0,
        }
    }

    /// The highest rate that [`rate`](Self::rate) gives.
    #[must_use]
    pub fn peak(&self) -> f64 {
        match self {
            Self::Steps(steps) => steps.iter().map(|(_, rate)| *rate).fold(0.0, f64::max),
            Self::Wave(_, high, _) => *high,
            Self::Closed(..) | Self::Caused => 0.0,
        }
    }
}

impl Station {
    /// A plain one.
    #[must_use]
    pub fn new(servers: u32, service: Service) -> Self {
        Self { servers, service, changes: Vec::new(), cap: None, hints: false, shares: false, downstream: None }
    }

    /// Requests per second that it can serve at `at`.
    #[must_use]
    pub fn capacity(&self, at: f64) -> f64 {
        let (mut servers, mut slower, mut is_away, mut failing) = (self.servers, 1.0, false, 0.0);
        for (when, change) in self.changes.iter().filter(|(when, _)| *when <= at) {
            match change {
                Change::Servers(count) => servers = *count,
                Change::Slower(factor) => slower = *factor,
                Change::Stall(seconds) => is_away = at < when + seconds,
                Change::BlackHole(on) | Change::Refusing(on) => is_away = *on,
                Change::Failing(share) => failing = *share,
            }
        }
        let mean = self.service.mean() * slower;
        let served = f64::from(servers) / mean;
        let allowed = match self.cap {
            Some(Cap::Hard(most)) => f64::from(most) / mean,
            Some(Cap::Rate(rate, _) | Cap::Slope(rate, ..)) => rate,
            None => f64::INFINITY,
        };
        if is_away { 0.0 } else { served.min(allowed) * (1.0 - failing) }
    }

    /// The servers at `at`.
    #[must_use]
    pub fn servers_at(&self, at: f64) -> u32 {
        let counts = self.changes.iter().rev().filter(|(when, _)| *when <= at);
        let mut counts =
            counts.filter_map(|(_, change)| if let Change::Servers(count) = change { Some(*count) } else { None });
        counts.next().unwrap_or(self.servers)
    }
}

impl Scenario {
    /// The mean response without a queue: the unit in which waits are told.
    #[must_use]
    pub fn rtt(&self) -> f64 {
        self.stations[0].service.mean()
    }

    /// What could be served at best between two moments: the integral of the smaller of load and capacity.
    #[must_use]
    pub fn best(&self, from: f64, to: f64) -> f64 {
        let step = (self.rtt() / 10.0).max(1e-3);
        let mut at = from + step / 2.0;
        let mut sum = 0.0;
        while at < to {
            let load: f64 = self.clients.iter().map(|client| client.load.rate(at, self.rtt())).sum();
            sum += load.min(self.capacity(at)) * step;
            at += step;
        }
        sum
    }

    /// What the slowest station on the way allows of calls from outside.
    fn capacity(&self, at: f64) -> f64 {
        let mut least = f64::INFINITY;
        let mut needed = 1.0;
        let mut next = Some(0);
        while let Some(index) = next {
            let station = &self.stations[index];
            least = least.min(station.capacity(at) / needed);
            next = station.downstream.map(|(client, count)| {
                needed *= f64::from(count);
                self.clients[client].station
            });
        }
        least
    }
}
