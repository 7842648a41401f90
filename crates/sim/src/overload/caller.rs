//! The client's side: calls wait for the limiter for a while, are sent, answered, given up, tried again.
//!
//! What waits is served by class, and within a class from one tenant after the other. Where the same tenant asks for more
//! than fits, its own calls run out of patience, and nobody else's.

use std::collections::VecDeque;
use std::time::Duration;

use tidegate_control::{Admit, Answer, Done};
use tidegate_flow::Time;

use super::contestants::Control;
use super::scenario::{Client, Load};
use super::world::{Call, Event, Place, Request, World, seconds, small, span};
use crate::rng::Rng;

/// The first wait before a call is tried again, in seconds; it doubles, and is jittered in full.
const BACKOFF_SECONDS: f64 = 0.1;

/// How a call ended for its caller.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Good,
    /// Never sent.
    Shed,
    /// Sent, and no good came of it.
    Bad,
}

/// The state of one client.
pub(crate) struct Caller {
    pub(crate) control: Control,
    pub(crate) in_flight: u32,
    pub(crate) arrivals: Rng,
    pub(crate) calls: u64,
    pub(crate) wakes: Time,
    /// By class, by tenant: what waits; and whose turn it is in each class.
    waiting: Vec<Vec<(u32, VecDeque<Call>)>>,
    turns: Vec<usize>,
    chances: Rng,
    timers: VecDeque<(Time, u32)>,
    is_timer_planned: bool,
}

impl Caller {
    pub(crate) fn new(control: Control, spec: &Client, seed: u64) -> Self {
        let classes = spec.tenants.iter().map(|(_, class)| class + 1).max().unwrap_or(1);
        let mut waiting: Vec<Vec<(u32, VecDeque<Call>)>> = vec![Vec::new(); classes];
        for (tenant, (_, class)) in spec.tenants.iter().enumerate() {
            waiting[*class].push((small(tenant), VecDeque::new()));
        }
        if spec.tenants.is_empty() {
            waiting[0].push((0, VecDeque::new()));
        }
        let mut arrivals = Rng::new(seed);
        let chances = arrivals.split();
        Self {
            control,
            in_flight: 0,
            arrivals,
            calls: 0,
            wakes: Time::MAX,
            waiting,
            turns: vec![0; classes],
            chances,
            timers: VecDeque::new(),
            is_timer_planned: false,
        }
    }

    /// Whose call the next one is.
    pub(crate) fn draw_tenant(&mut self, spec: &Client) -> u32 {
        let total: f64 = spec.tenants.iter().map(|(share, _)| share).sum();
        if spec.tenants.len() < 2 {
            return 0;
        }
        let mut at = self.arrivals.unit() * total;
        for (tenant, (share, _)) in spec.tenants.iter().enumerate() {
            if at < *share {
                return small(tenant);
            }
            at -= share;
        }
        0
    }

    /// The next call in turn, taken out; those that waited too long go to `late`.
    fn take(&mut self, now: Time, patience: Duration, late: &mut Vec<Call>) -> Option<Call> {
        for (class, turn) in self.waiting.iter_mut().zip(&mut self.turns) {
            for step in 0..class.len() {
                let at = (*turn + step) % class.len();
                let queue = &mut class[at].1;
                while let Some(call) = queue.pop_front() {
                    if call.arrived + patience < now || call.deadline <= now {
                        late.push(call);
                    } else {
                        *turn = (at + 1) % class.len();
                        return Some(call);
                    }
                }
            }
        }
        None
    }

    fn queue(&mut self, tenant: u32) -> Option<&mut VecDeque<Call>> {
        let queues = self.waiting.iter_mut().flatten();
        queues.filter(|(owner, _)| *owner == tenant).map(|(_, queue)| queue).next()
    }
}

impl World<'_> {
    /// A call asks to be sent.
    pub(crate) fn offer(&mut self, call: Call) {
        let client = call.client as usize;
        if call.attempt == 0 {
            self.book.offered(seconds(self.now), &call);
        }
        let patience = span(self.scenario.clients[client].patience);
        let mut late = Vec::new();
        if let Some(queue) = self.callers[client].queue(call.tenant) {
            while queue.front().is_some_and(|front| front.arrived + patience < self.now) {
                late.extend(queue.pop_front());
            }
            queue.push_back(call);
        }
        self.shed_all(late);
        self.pump(client);
    }

    fn shed_all(&mut self, late: Vec<Call>) {
        for call in late {
            self.end(call, Ending::Shed);
        }
    }

    /// Sends what the limiter lets through.
    pub(crate) fn pump(&mut self, client: usize) {
        let patience = span(self.scenario.clients[client].patience);
        loop {
            let now = self.now;
            let caller = &mut self.callers[client];
            let mut late = Vec::new();
            let next = caller.take(now, patience, &mut late);
            let chance = caller.chances.unit();
            let decision = next.map(|call| (call, caller.control.limiter().admit(now, caller.in_flight, chance)));
            self.shed_all(late);
            match decision {
                None => return,
                Some((call, Admit::Send)) => self.send(call),
                Some((call, Admit::Refuse)) => self.end(call, Ending::Shed),
                Some((call, Admit::Wait)) => return self.put_back(call),
                Some((call, Admit::Until(when))) => {
                    self.put_back(call);
                    if when < self.callers[client].wakes {
                        self.callers[client].wakes = when;
                        self.plan(when.max(now), Event::Wake(small(client)));
                    }
                    return;
                }
            }
        }
    }

    /// A call that was taken goes back to the front, and its tenant keeps its turn.
    fn put_back(&mut self, call: Call) {
        let caller = &mut self.callers[call.client as usize];
        for (class, turn) in caller.waiting.iter_mut().zip(&mut caller.turns) {
            if let Some(at) = class.iter().position(|(owner, _)| *owner == call.tenant) {
                *turn = at;
                class[at].1.push_front(call);
            }
        }
    }

    fn send(&mut self, call: Call) {
        let client = call.client as usize;
        let timeout = span(self.scenario.clients[client].timeout);
        let id = small(self.requests.len());
        let now = self.now;
        let caller = &mut self.callers[client];
        caller.in_flight += 1;
        let in_flight = caller.in_flight;
        caller.control.limiter().sent(now, in_flight);
        self.requests.push(Request {
            call,
            sent: now,
            in_flight,
            place: Place::Waiting,
            is_given_up: false,
            demand: 0.0,
            done_at: Time::ZERO,
            work: 0.0,
            hint: None,
            is_failing: false,
        });
        self.book.sent(seconds(now));
        if call.deadline < now + timeout {
            self.plan(call.deadline, Event::Expire(id));
        } else {
            self.callers[client].timers.push_back((now + timeout, id));
            self.plan_timer(client);
        }
        self.reach(id);
    }

    fn plan_timer(&mut self, client: usize) {
        let caller = &mut self.callers[client];
        if let Some((when, _)) = caller.timers.front()
            && !caller.is_timer_planned
        {
            caller.is_timer_planned = true;
            let when = *when;
            self.plan(when, Event::Timer(small(client)));
        }
    }

    /// The oldest timer: gives up what is late, and forgets what was answered meanwhile.
    pub(crate) fn timer(&mut self, client: usize) {
        self.callers[client].is_timer_planned = false;
        while let Some((when, id)) = self.callers[client].timers.front().copied() {
            let is_over = self.requests[id as usize].is_given_up;
            if !is_over && when > self.now {
                break;
            }
            self.callers[client].timers.pop_front();
            if !is_over {
                self.give_up(id);
            }
        }
        self.plan_timer(client);
    }

    /// Nobody waits for this request any longer; the station goes on with it.
    pub(crate) fn give_up(&mut self, id: u32) {
        if !self.requests[id as usize].is_given_up {
            self.answer(id, Answer::TimedOut);
        }
    }

    /// A request ends for its caller.
    pub(crate) fn answer(&mut self, id: u32, answer: Answer) {
        let now = self.now;
        let request = &mut self.requests[id as usize];
        let was_joining = matches!(request.place, Place::Joining(_));
        // From here on nobody waits for it; what a server still does for it is wasted.
        request.is_given_up = true;
        if answer != Answer::TimedOut || was_joining {
            request.place = Place::Ended;
        }
        let (call, sent, in_flight) = (request.call, request.sent, request.in_flight);
        let work = std::mem::take(&mut request.work);
        let client = call.client as usize;
        let caller = &mut self.callers[client];
        caller.in_flight -= 1;
        let (out, chance) = (caller.in_flight, caller.chances.unit());
        caller.control.limiter().done(&Done { now, sent, in_flight, answer }, out, chance);
        self.book.answered(seconds(now), seconds(sent), answer, call.parent.is_none());
        let is_good = answer == Answer::Ok;
        match call.parent.filter(|_| is_good) {
            Some(parent) if !self.requests[parent as usize].is_given_up => self.requests[parent as usize].work += work,
            None if is_good => self.book.useful(seconds(now), work),
            _ => self.book.waste(seconds(now), work),
        }
        self.end(call, if is_good { Ending::Good } else { Ending::Bad });
        self.pump(client);
    }

    /// A call ends, or is tried again.
    fn end(&mut self, call: Call, ending: Ending) {
        let spec = &self.scenario.clients[call.client as usize];
        if ending != Ending::Good && call.attempt < spec.retries && call.deadline > self.now {
            let mut chance = self.chance_of(&call);
            let most = BACKOFF_SECONDS * f64::from(1_u32 << call.attempt.min(10));
            let again = self.now + span(most * chance.split().unit());
            return self.plan_call(again, Call { attempt: call.attempt + 1, arrived: again, ..call });
        }
        self.book.ended(seconds(self.now), &call, ending);
        if let Load::Closed(_, think) = spec.load {
            self.think(call.client as usize, think);
        }
        if let Some(parent) = call.parent {
            self.join(parent, ending);
        }
    }

    /// A request needs answers from downstream.
    pub(crate) fn cause(&mut self, client: usize, count: u32, parent: u32, of: Call) {
        for _ in 0..count {
            let caller = &mut self.callers[client];
            caller.calls += 1;
            let number = caller.calls;
            let call =
                Call { client: small(client), number, arrived: self.now, attempt: 0, parent: Some(parent), ..of };
            self.offer(call);
        }
    }

    /// One of the answers that a request waits for has come, or never will.
    fn join(&mut self, parent: u32, ending: Ending) {
        let request = &mut self.requests[parent as usize];
        if request.is_given_up {
            return;
        }
        match (request.place, ending) {
            (Place::Joining(1), Ending::Good) => self.answer(parent, Answer::Ok),
            (Place::Joining(left), Ending::Good) => request.place = Place::Joining(left - 1),
            // Pressure travels: what was shed below is refused above.
            (Place::Joining(_), Ending::Shed | Ending::Bad) => self.answer(parent, Answer::PushedBack(None)),
            _ => {}
        }
    }
}
