//! The controllers by name, each as it is published, but for the range of the limit: from 1 (or the published floor) to
//! 2000, so that none is held back by it.

use tidegate_control::{Aimd, Arc, Envoy, Failsafe, Fixed, Gradient2, Limiter, Range, Throttle, Tide, Vegas};

use super::oracle::Oracle;
use super::scenario::Scenario;

/// The name of ours.
pub const OURS: &str = "tide";

/// All names, the oracle first and ours last.
pub const NAMES: [&str; 11] =
    ["oracle", "fixed", "none", "aimd", "vegas", "gradient2", "envoy", "arc", "failsafe", "throttle", OURS];

/// The largest limit that the adaptive ones may reach.
const MOST: u32 = 2000;

/// A controller in a run.
pub(crate) enum Control {
    /// One that is told the truth.
    Oracle(Oracle),
    /// One that must find it.
    Machine(Box<dyn Limiter>),
}

impl Control {
    /// The controller of this name for the client in `place`; an unknown name is no limit at all.
    pub(crate) fn new(name: &str, scenario: &Scenario, place: usize) -> Self {
        let station = scenario.clients[place].station;
        let servers = scenario.stations[station].servers;
        let sharing = || scenario.clients.iter().enumerate().filter(|(_, client)| client.station == station);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self::Machine(match name {
            "oracle" => {
                let before = count(sharing().filter(|(at, _)| *at < place).count());
                return Self::Oracle(Oracle::new(before, count(sharing().count())));
            }
            "fixed" => Box::new(Fixed::new(servers + (servers / 8).max(1))),
            "aimd" => Box::new(Aimd::new(Range::new(1, 20, MOST))),
            "vegas" => Box::new(Vegas::new(Range::new(1, 20, MOST))),
            "gradient2" => Box::new(Gradient2::new(Range::new(4, 20, MOST))),
            "envoy" => Box::new(Envoy::new(Range::new(3, 3, MOST))),
            "arc" => Box::new(Arc::new(Range::new(1, 1, MOST))),
            "failsafe" => Box::new(Failsafe::new(Range::new(1, 20, MOST))),
            "throttle" => Box::new(Throttle::new()),
            "tide" => Box::new(Tide::new(Range::new(1, 2, MOST))),
            _ => Box::new(Fixed::new(u32::MAX)),
        })
    }

    /// The machine itself.
    pub(crate) fn limiter(&mut self) -> &mut dyn Limiter {
        match self {
            Self::Oracle(oracle) => oracle,
            Self::Machine(machine) => machine.as_mut(),
        }
    }
}
