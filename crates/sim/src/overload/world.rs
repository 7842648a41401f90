//! A run: virtual time, events in order, stations and clients. Nothing here waits for real.
//!
//! What chance decides is drawn per call from the seed, the client and the number of the call. So all controllers meet
//! the same calls with the same service times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tidegate_flow::Time;

use super::caller::Caller;
use super::contestants::Control;
use super::measure::Book;
use super::scenario::{Change, Load, Scenario};
use super::server::Server;
use super::service::exponential;
use crate::rng::{Rng, mix2};

/// What can happen at a moment.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The next call of a client comes, if chance will have it.
    Arrive(u32),
    /// A call comes that is drawn already: a user has thought, or a caller tries again.
    Again(u32),
    /// A server may be done with a request.
    Finish(u32),
    /// A station that shares itself out may be done with one; the count of changes when this was foreseen.
    Shared(u32, u64),
    /// A request that was refused, or failed at once, hears of it.
    Refused(u32),
    /// The oldest timer of a client.
    Timer(u32),
    /// The time of one request is over.
    Expire(u32),
    /// A client's limiter said until when.
    Wake(u32),
    /// A station changes.
    Change(u32, u32),
}

/// One call of a caller, however often it is sent.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Call {
    pub(crate) client: u32,
    pub(crate) number: u64,
    pub(crate) arrived: Time,
    pub(crate) attempt: u32,
    pub(crate) tenant: u32,
    pub(crate) parent: Option<u32>,
    pub(crate) deadline: Time,
}

/// Where a request is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Waiting,
    Serving,
    /// Served, and waiting for so many answers from downstream.
    Joining(u32),
    /// The caller has its answer, or has given up and the station has finished.
    Ended,
}

/// One call, sent once.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) call: Call,
    pub(crate) sent: Time,
    pub(crate) in_flight: u32,
    pub(crate) place: Place,
    pub(crate) is_given_up: bool,
    pub(crate) demand: f64,
    pub(crate) done_at: Time,
    /// Server seconds that went into it, here and downstream.
    pub(crate) work: f64,
    pub(crate) hint: Option<Duration>,
    pub(crate) is_failing: bool,
}

/// The whole run.
pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) now: Time,
    pub(crate) seed: u64,
    pub(crate) servers: Vec<Server>,
    pub(crate) callers: Vec<Caller>,
    pub(crate) requests: Vec<Request>,
    pub(crate) book: Book,
    again: Vec<Call>,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
}

/// A moment, in seconds after the start.
pub(crate) fn at(seconds: f64) -> Time {
    Time::ZERO + span(seconds)
}

/// Seconds as a span.
pub(crate) fn span(seconds: f64) -> Duration {
    if seconds > 0.0 { Duration::from_secs_f64(seconds.min(1e8)) } else { Duration::ZERO }
}

/// A moment in seconds.
pub(crate) fn seconds(time: Time) -> f64 {
    time.since(Time::ZERO).as_secs_f64()
}

/// An index as it stands in events.
pub(crate) fn small(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Runs a scenario with one controller and one seed, and tells what was seen.
pub(crate) fn run(scenario: &Scenario, controller: &str, seed: u64) -> Book {
    let mut world = World {
        scenario,
        now: Time::ZERO,
        seed,
        servers: scenario.stations.iter().map(Server::new).collect(),
        callers: Vec::new(),
        requests: Vec::new(),
        book: Book::new(scenario),
        again: Vec::new(),
        events: BinaryHeap::new(),
        order: 0,
    };
    world.callers = (0..scenario.clients.len())
        .map(|place| {
            Caller::new(Control::new(controller, scenario, place), &scenario.clients[place], mix2(seed, place as u64))
        })
        .collect();
    world.begin();
    world.go();
    world.book
}

impl World<'_> {
    fn begin(&mut self) {
        for (station, spec) in self.scenario.stations.iter().enumerate() {
            for (index, (when, _)) in spec.changes.iter().enumerate() {
                self.plan(at(*when), Event::Change(small(station), small(index)));
            }
        }
        self.tell_oracles();
        for client in 0..self.callers.len() {
            match self.scenario.clients[client].load {
                Load::Closed(users, think) => {
                    for _ in 0..users {
                        self.think(client, think);
                    }
                }
                Load::Steps(_) | Load::Wave(..) => self.next_arrival(client),
                Load::Caused => {}
            }
        }
    }

    fn go(&mut self) {
        let end = at(self.scenario.seconds);
        while let Some(Reverse((when, _, event))) = self.events.pop() {
            if when >= end {
                break;
            }
            self.now = when;
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(client) => self.arrive(client as usize),
            Event::Again(index) => {
                let call = self.again[index as usize];
                self.offer(call);
            }
            Event::Finish(request) => self.finish(request),
            Event::Shared(station, change) => self.finish_shared(station as usize, change),
            Event::Refused(request) => self.hear_refusal(request),
            Event::Timer(client) => self.timer(client as usize),
            Event::Expire(request) => self.give_up(request),
            Event::Wake(client) => {
                self.callers[client as usize].wakes = Time::MAX;
                self.pump(client as usize);
            }
            Event::Change(station, index) => {
                let change = self.scenario.stations[station as usize].changes[index as usize].1;
                self.change(station as usize, change);
                if matches!(change, Change::Servers(_)) {
                    self.tell_oracles();
                }
            }
        }
    }

    /// Puts an event into the order of time; of one moment, in the order of planning.
    pub(crate) fn plan(&mut self, when: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((when, self.order, event)));
    }

    /// Has a call come again later.
    pub(crate) fn plan_call(&mut self, when: Time, call: Call) {
        self.again.push(call);
        self.plan(when, Event::Again(small(self.again.len() - 1)));
    }

    /// A user thinks, and then calls.
    pub(crate) fn think(&mut self, client: usize, mean: f64) {
        let pause = exponential(mean, &mut self.callers[client].arrivals);
        let when = self.now + span(pause);
        let call = self.new_call(client, when);
        self.plan_call(when, call);
    }

    fn next_arrival(&mut self, client: usize) {
        let peak = self.scenario.clients[client].load.peak();
        if peak > 0.0 {
            let pause = exponential(1.0 / peak, &mut self.callers[client].arrivals);
            self.plan(self.now + span(pause), Event::Arrive(small(client)));
        }
    }

    /// Arrivals are drawn at the highest rate and thinned to the rate of the moment.
    fn arrive(&mut self, client: usize) {
        self.next_arrival(client);
        let load = &self.scenario.clients[client].load;
        let share = load.rate(seconds(self.now), 0.0) / load.peak();
        if self.callers[client].arrivals.unit() < share {
            let call = self.new_call(client, self.now);
            self.offer(call);
        }
    }

    fn new_call(&mut self, client: usize, arrived: Time) -> Call {
        let spec = &self.scenario.clients[client];
        let caller = &mut self.callers[client];
        caller.calls += 1;
        let number = caller.calls;
        let tenant = caller.draw_tenant(spec);
        let deadline = spec.deadline.map_or(Time::MAX, |deadline| arrived + span(deadline));
        Call { client: small(client), number, arrived, attempt: 0, tenant, parent: None, deadline }
    }

    /// What chance decides about one sending of a call.
    pub(crate) fn chance_of(&self, call: &Call) -> Rng {
        Rng::new(mix2(mix2(self.seed, u64::from(call.client) + 1), call.number * 64 + u64::from(call.attempt)))
    }
}
