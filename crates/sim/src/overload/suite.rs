//! The suite A to Q: one station of 32 servers and 100 ms where nothing else is said, one client, twice the load.

use super::scenario::{Cap, Change, Client, Load, Scenario, Station};
use super::service::Service;

/// Servers of the usual station.
pub(crate) const SERVERS: u32 = 32;
/// Mean service time of the usual station, in seconds.
pub(crate) const MEAN: f64 = 0.1;

/// A client that calls `rate` times a second, gives up after ten service times and waits for half of one.
pub(crate) fn client(load: Load, mean: f64) -> Client {
    let (timeout, patience) = (mean * 10.0, mean / 2.0);
    Client { load, station: 0, timeout, patience, retries: 0, tenants: Vec::new(), deadline: None }
}

/// One station, one client, `times` its capacity; 900 mean service times, the first 150 not measured.
pub(crate) fn plain(name: &str, title: &'static str, station: Station, times: f64) -> Scenario {
    let mean = station.service.mean();
    let rate = station.capacity(0.0) * times;
    Scenario {
        name: name.to_owned(),
        title,
        seconds: mean * 900.0,
        warm_up: mean * 150.0,
        clients: vec![client(Load::Steps(vec![(0.0, rate)]), mean)],
        stations: vec![station],
        event: None,
        by_refusals: false,
    }
}

/// The usual station: exponential service.
pub(crate) fn usual() -> Station {
    Station::new(SERVERS, Service::Exponential(MEAN))
}

/// All of it.
#[must_use]
pub fn suite() -> Vec<Scenario> {
    let mut all = steady();
    all.extend(changing());
    all.extend(refusing());
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn steady() -> Vec<Scenario> {
    let with = |service| Station::new(SERVERS, service);
    let mut shared = plain("J", "8 clients on one station, 2x", usual(), 2.0);
    let each = client(Load::Steps(vec![(0.0, 80.0)]), MEAN);
    shared.clients = vec![each; 8];
    let calls = Station::new(8, Service::Lognormal(8.0, 0.8));
    vec![
        plain("A", "2x, steady", usual(), 2.0),
        plain("B", "10x, steady", usual(), 10.0),
        plain("F", "bimodal service, 20 and 820 ms", with(Service::Bimodal(0.02, 0.82, 0.1)), 2.0),
        plain("G", "lognormal service, cv 2", with(Service::Lognormal(MEAN, 2.0)), 2.0),
        shared,
        plain("L", "like a language model: 8 servers, 8 s, cv 0.8", calls, 2.0),
        plain("N", "deterministic service", with(Service::Fixed(MEAN)), 2.0),
    ]
}

fn changing() -> Vec<Scenario> {
    let mut step = plain("C", "load steps from 0.5x to 2x", usual(), 2.0);
    step.clients[0].load = Load::Steps(vec![(0.0, 160.0), (30.0, 640.0)]);
    step.event = Some(30.0);
    let mut servers = plain("D", "32, 8, 32 servers, 1.2x", usual(), 1.2);
    servers.stations[0].changes = vec![(30.0, Change::Servers(8)), (70.0, Change::Servers(32))];
    servers.event = Some(70.0);
    let mut slow = plain("E", "service takes 3 times as long for 40 s", usual(), 2.0);
    slow.stations[0].changes = vec![(30.0, Change::Slower(3.0)), (70.0, Change::Slower(1.0))];
    slow.event = Some(30.0);
    let mut stalls = plain("H", "stalls of 0.5 s every 10 s", usual(), 2.0);
    stalls.stations[0].changes = (0..9).map(|n| (f64::from(n) * 10.0 + 5.0, Change::Stall(0.5))).collect();
    let mut tides = plain("I", "load from 0.2x to 1.6x and back, every minute", usual(), 1.6);
    tides.clients[0].load = Load::Wave(64.0, 512.0, 60.0);
    tides.seconds = 135.0;
    let mut outage = plain("K", "nothing answers for 10 s", usual(), 2.0);
    outage.stations[0].changes = vec![(20.0, Change::BlackHole(true)), (30.0, Change::BlackHole(false))];
    outage.seconds = 100.0;
    outage.warm_up = 20.0;
    outage.event = Some(30.0);
    let mut storm = plain("M", "0.9x, an eighth of the servers for 4 s, callers try 4 times", usual(), 0.9);
    storm.stations[0].changes = vec![(20.0, Change::Servers(SERVERS / 8)), (24.0, Change::Servers(SERVERS))];
    storm.clients[0].retries = 3;
    storm.event = Some(24.0);
    vec![step, servers, slow, stalls, tides, outage, storm]
}

fn refusing() -> Vec<Scenario> {
    let capped = |name, title, service, cap| {
        let mut scenario = plain(name, title, Station { cap: Some(cap), ..Station::new(SERVERS, service) }, 2.0);
        scenario.by_refusals = true;
        scenario
    };
    vec![
        capped("O", "refuses above 32 inside, deterministic service", Service::Fixed(MEAN), Cap::Hard(32)),
        capped("P", "refuses above 200 a second", Service::Exponential(MEAN), Cap::Rate(200.0, 20.0)),
        capped("Q", "refuses above 32 inside, exponential service", Service::Exponential(MEAN), Cap::Hard(32)),
    ]
}
