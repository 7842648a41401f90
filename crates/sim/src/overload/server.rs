//! The station's side: servers, the queue in front of them, what is refused, and what happens to them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tidegate_control::Answer;
use tidegate_flow::Time;

use super::contestants::Control;
use super::scenario::{Cap, Change, Station};
use super::service::Service;
use super::world::{Event, Place, World, at, seconds, small, span};

/// How long a refusal takes on its way, in seconds: less than most work.
const REFUSAL_SECONDS: f64 = 0.02;

/// The state of one station.
pub(crate) struct Server {
    waiting: VecDeque<u32>,
    servers: u32,
    busy: u32,
    inside: u32,
    slower: f64,
    stalled_until: Time,
    is_black_hole: bool,
    is_refusing: bool,
    failing: f64,
    tokens: f64,
    tokens_at: f64,
    slope_rate: f64,
    /// Work done per request so far where the station shares itself out, and what waits for which amount.
    shared: f64,
    shared_at: f64,
    shared_changes: u64,
    sharing: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Server {
    pub(crate) fn new(spec: &Station) -> Self {
        let tokens = if let Some(Cap::Rate(_, burst) | Cap::Slope(_, burst, _)) = spec.cap { burst } else { 0.0 };
        Self {
            waiting: VecDeque::new(),
            servers: spec.servers,
            busy: 0,
            inside: 0,
            slower: 1.0,
            stalled_until: Time::ZERO,
            is_black_hole: false,
            is_refusing: false,
            failing: 0.0,
            tokens,
            tokens_at: 0.0,
            slope_rate: 0.0,
            shared: 0.0,
            shared_at: 0.0,
            shared_changes: 0,
            sharing: BinaryHeap::new(),
        }
    }

    /// Whether the cap lets one more in; takes its token if so. Else, in how many seconds it might.
    fn lets_in(&mut self, cap: Option<Cap>, now: f64) -> Result<(), f64> {
        let (rate, burst) = match cap {
            None => return Ok(()),
            Some(Cap::Hard(most)) => return if self.inside < most { Ok(()) } else { Err(0.0) },
            Some(Cap::Rate(rate, burst)) => (rate, burst),
            Some(Cap::Slope(rate, burst, growth)) => {
                // What it refuses is a rate that grows faster than it lets its own estimate grow.
                let grown = self.slope_rate.max(rate / 20.0) * (growth * (now - self.tokens_at)).exp();
                self.slope_rate = grown.min(rate);
                (self.slope_rate, burst)
            }
        };
        self.tokens = (self.tokens + rate * (now - self.tokens_at)).min(burst);
        self.tokens_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err((1.0 - self.tokens) / rate)
        }
    }
}

impl World<'_> {
    /// A request reaches its station.
    pub(crate) fn reach(&mut self, id: u32) {
        let call = self.requests[id as usize].call;
        let station = self.scenario.clients[call.client as usize].station;
        let spec = &self.scenario.stations[station];
        let mut chance = self.chance_of(&call);
        let demand = spec.service.draw(&mut chance);
        let now = seconds(self.now);
        let server = &mut self.servers[station];
        if server.is_black_hole {
            self.requests[id as usize].place = Place::Ended;
            return;
        }
        let allowed = if server.is_refusing { Err(1.0) } else { server.lets_in(spec.cap, now) };
        let fails = server.failing > 0.0 && chance.unit() < server.failing;
        if fails || allowed.is_err() {
            let request = &mut self.requests[id as usize];
            request.is_failing = fails;
            request.hint = allowed.err().filter(|_| spec.hints).map(span);
            self.plan(self.now + span(REFUSAL_SECONDS), Event::Refused(id));
            return;
        }
        server.inside += 1;
        self.requests[id as usize].demand = demand;
        if let Service::Cached(share, hit, _) = spec.service
            && chance.unit() < share
        {
            let request = &mut self.requests[id as usize];
            (request.demand, request.place, request.done_at) = (0.0, Place::Serving, self.now + span(hit));
            self.servers[station].busy += 1;
            self.servers[station].servers += 1;
            self.plan(self.now + span(hit), Event::Finish(id));
            return;
        }
        if spec.shares {
            self.join_shared(station, id);
        } else {
            self.servers[station].waiting.push_back(id);
            self.start(station);
        }
    }

    /// Gives work to idle servers, in order of arrival. What has expired is never begun.
    fn start(&mut self, station: usize) {
        loop {
            let server = &mut self.servers[station];
            if server.busy >= server.servers {
                return;
            }
            let Some(id) = server.waiting.pop_front() else { return };
            let request = &mut self.requests[id as usize];
            if request.call.deadline <= self.now {
                server.inside -= 1;
                request.place = Place::Ended;
                continue;
            }
            server.busy += 1;
            request.demand *= server.slower;
            request.place = Place::Serving;
            request.done_at = self.now.max(server.stalled_until) + span(request.demand);
            let done_at = request.done_at;
            self.plan(done_at, Event::Finish(id));
        }
    }

    /// A server may be done: a stall may have moved the end.
    pub(crate) fn finish(&mut self, id: u32) {
        let request = &self.requests[id as usize];
        if request.done_at > self.now {
            let done_at = request.done_at;
            return self.plan(done_at, Event::Finish(id));
        }
        let station = self.scenario.clients[request.call.client as usize].station;
        let server = &mut self.servers[station];
        server.busy -= 1;
        server.inside -= 1;
        if request.demand == 0.0 {
            server.servers -= 1;
        }
        self.served(station, id);
        self.start(station);
    }

    /// The work here is done; there may be more downstream.
    fn served(&mut self, station: usize, id: u32) {
        let now = self.now;
        let request = &mut self.requests[id as usize];
        request.work += request.demand;
        if request.is_given_up || request.call.deadline <= now {
            request.place = Place::Ended;
            return self.book.waste(seconds(now), self.requests[id as usize].work);
        }
        match self.scenario.stations[station].downstream {
            Some((client, count)) => {
                request.place = Place::Joining(count);
                let call = request.call;
                self.cause(client, count, id, call);
            }
            None => self.answer(id, Answer::Ok),
        }
    }

    /// A refusal, or an instant failure, has reached the caller.
    pub(crate) fn hear_refusal(&mut self, id: u32) {
        let request = &self.requests[id as usize];
        let answer = if request.is_failing { Answer::Failed } else { Answer::PushedBack(request.hint) };
        if !request.is_given_up {
            self.answer(id, answer);
        }
    }

    /// Something happens to a station.
    pub(crate) fn change(&mut self, station: usize, change: Change) {
        self.advance_shared(station);
        let server = &mut self.servers[station];
        match change {
            Change::Servers(count) => server.servers = count,
            Change::Slower(factor) => server.slower = factor,
            Change::BlackHole(on) => server.is_black_hole = on,
            Change::Refusing(on) => server.is_refusing = on,
            Change::Failing(share) => server.failing = share,
            Change::Stall(length) => {
                server.stalled_until = self.now + span(length);
                for request in self.requests.iter_mut().rev().take(100_000) {
                    let here = self.scenario.clients[request.call.client as usize].station == station;
                    if here && request.place == Place::Serving && request.done_at > self.now {
                        request.done_at = request.done_at + span(length);
                    }
                }
            }
        }
        self.start(station);
        self.plan_shared(station);
    }

    /// Tells the oracles how things stand.
    pub(crate) fn tell_oracles(&mut self) {
        for (client, caller) in self.callers.iter_mut().enumerate() {
            let station = self.scenario.clients[client].station;
            let spec = &self.scenario.stations[station];
            let most = if let Some(Cap::Hard(most)) = spec.cap { Some(most) } else { None };
            let rate = if let Some(Cap::Rate(rate, _) | Cap::Slope(rate, ..)) = spec.cap { Some(rate) } else { None };
            if let Control::Oracle(oracle) = &mut caller.control {
                oracle.told(self.servers[station].servers, most, rate);
            }
        }
    }

    /// Brings the work of a station that shares itself out up to now.
    fn advance_shared(&mut self, station: usize) {
        let now = seconds(self.now);
        let server = &mut self.servers[station];
        if !server.sharing.is_empty() {
            let count = server.sharing.len() as f64;
            let pace = (f64::from(server.servers) / count).min(1.0) / server.slower;
            server.shared += (now - server.shared_at) * pace;
        }
        server.shared_at = now;
    }

    fn join_shared(&mut self, station: usize, id: u32) {
        self.advance_shared(station);
        let request = &mut self.requests[id as usize];
        request.place = Place::Serving;
        let server = &mut self.servers[station];
        server.sharing.push(Reverse((at(server.shared + request.demand).as_nanos(), id)));
        self.plan_shared(station);
    }

    fn plan_shared(&mut self, station: usize) {
        let server = &mut self.servers[station];
        let Some(Reverse((end, _))) = server.sharing.peek() else { return };
        server.shared_changes += 1;
        let pace = (f64::from(server.servers) / server.sharing.len() as f64).min(1.0) / server.slower;
        let left = (*end as f64 / 1e9 - server.shared).max(0.0) / pace.max(1e-9);
        let change = server.shared_changes;
        self.plan(self.now + span(left + 1e-9), Event::Shared(small(station), change));
    }

    pub(crate) fn finish_shared(&mut self, station: usize, change: u64) {
        if self.servers[station].shared_changes != change {
            return;
        }
        self.advance_shared(station);
        let done = at(self.servers[station].shared + 2e-9).as_nanos();
        while let Some(Reverse((end, id))) = self.servers[station].sharing.peek().copied() {
            if end > done {
                break;
            }
            self.servers[station].sharing.pop();
            self.servers[station].inside -= 1;
            self.served(station, id);
        }
        self.plan_shared(station);
    }
}
