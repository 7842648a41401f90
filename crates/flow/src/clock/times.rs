//! What a stage's clock shows: the time spent in each state, and the longest single stall.

use super::StageState;
use crate::graph::EdgeId;
use crate::time::Time;
use std::time::Duration;

/// Every state but the blocked ones, of which there is one for each edge.
const UNBLOCKED: [StageState; 7] = [
    StageState::Idle,
    StageState::Ready,
    StageState::Busy,
    StageState::BudgetWait,
    StageState::SettleWait,
    StageState::External,
    StageState::Throttled,
];

/// One uninterrupted stretch in one state.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// How long it lasted, or has lasted so far.
    pub duration: Duration,
    /// In which state. Never [`StageState::Idle`]: having no input is no stall. A long `Busy` is one poll that kept
    /// the thread; a long `Ready` is a stage that got no CPU.
    pub state: StageState,
    /// When it began.
    pub at: Time,
}

/// The time that a stage spent in each state from `started` to `until`. The sum over all states is exactly
/// `until - started`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTimes {
    /// Where the account begins.
    pub started: Time,
    /// Where it ends.
    pub until: Time,
    /// Time without input.
    pub idle: Duration,
    /// Time waiting for a CPU.
    pub ready: Duration,
    /// Time being polled.
    pub busy: Duration,
    /// Time waiting for room in an edge: the sum of `blocked_by`.
    pub blocked: Duration,
    /// The same by edge, for the edges on which any time was spent. [`EdgeId::UNLISTED`] stands for edges that the
    /// clock was not told of.
    pub blocked_by: Vec<(EdgeId, Duration)>,
    /// Time waiting for memory of the budget.
    pub budget_wait: Duration,
    /// Time waiting for room in the settle window.
    pub settle_wait: Duration,
    /// Time waiting for something outside the pipeline.
    pub external: Duration,
    /// Time held by a rate limit.
    pub throttled: Duration,
    /// The longest stretch in one state other than idle, the one going on included. Polls that did no work do not
    /// interrupt a wait.
    pub longest_stall: Option<Stall>,
    /// What the stage is doing at `until`.
    pub state: StageState,
    /// Since when.
    pub state_since: Time,
    /// Whether the stage is over; its account then ends where it did.
    pub finished: bool,
}

impl StageTimes {
    /// An account in which no time has been booked: the caller adds what makes up `until - started`.
    #[must_use]
    pub fn new(started: Time, until: Time) -> Self {
        Self {
            started,
            until,
            idle: Duration::ZERO,
            ready: Duration::ZERO,
            busy: Duration::ZERO,
            blocked: Duration::ZERO,
            blocked_by: Vec::new(),
            budget_wait: Duration::ZERO,
            settle_wait: Duration::ZERO,
            external: Duration::ZERO,
            throttled: Duration::ZERO,
            longest_stall: None,
            state: StageState::Idle,
            state_since: started,
            finished: false,
        }
    }

    /// The time that the account covers.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.until - self.started
    }

    /// The sum over all states; equal to [`window`](Self::window).
    #[must_use]
    pub fn total(&self) -> Duration {
        self.idle + self.blocked + self.own()
    }

    /// The time for which the stage itself accounts: all but idle (it waited for upstream) and blocked (it waited for
    /// downstream).
    #[must_use]
    pub fn own(&self) -> Duration {
        self.ready + self.busy + self.budget_wait + self.settle_wait + self.external + self.throttled
    }

    /// `part` of the window, from 0 to 1; 0 for an empty window.
    #[must_use]
    pub fn share(&self, part: Duration) -> f64 {
        let window = self.window().as_secs_f64();
        if window > 0.0 { (part.as_secs_f64() / window).min(1.0) } else { 0.0 }
    }

    /// The time in `state`.
    #[must_use]
    pub fn in_state(&self, state: StageState) -> Duration {
        match state {
            StageState::Idle => self.idle,
            StageState::Ready => self.ready,
            StageState::Busy => self.busy,
            StageState::Blocked(edge) => self.blocked_on(edge),
            StageState::BudgetWait => self.budget_wait,
            StageState::SettleWait => self.settle_wait,
            StageState::External => self.external,
            StageState::Throttled => self.throttled,
        }
    }

    /// The time blocked on `edge`.
    #[must_use]
    pub fn blocked_on(&self, edge: EdgeId) -> Duration {
        self.blocked_by.iter().filter(|(on, _)| *on == edge).map(|(_, time)| *time).sum()
    }

    /// Adds `time` in `state`, as a test or a simulation does that builds an account by hand.
    #[must_use]
    pub fn with(mut self, state: StageState, time: Duration) -> Self {
        self.add(state, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self
    }

    /// What happened since `earlier`, a snapshot of the same clock. The sum over all states is again exactly the
    /// window, from `earlier.until` to `until`.
    ///
    /// A snapshot books what is going on to the state that is seen, and a late wake-up or a poll that turns out to
    /// have done no work can book a little of that elsewhere afterwards. A state that would have lost time so shows
    /// zero here, and the difference is taken from the state that gained most.
    ///
    /// Of the stalls, the clock remembers only the longest ever. It is shown as far as it lies within the window; so
    /// is the one that is going on; shorter ones that ended within the window are not known.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut window = Self::new(earlier.until, self.until.max(earlier.until));
        let mut owed = Duration::ZERO;
        for state in self.states_of_either(earlier) {
            let (now, then) = (self.in_state(state), earlier.in_state(state));
            window = window.with(state, now.saturating_sub(then));
            owed += then.saturating_sub(now);
        }
        window.pay(owed);
        for stall in self.longest_stall.into_iter().chain(self.open_stall()) {
            let from = stall.at.max(window.started);
            let nanos = (stall.at + stall.duration).since(from).as_nanos();
            window.offer_stall(stall.state, from.as_nanos(), u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        window.state = self.state;
        window.state_since = self.state_since;
        window.finished = self.finished;
        window
    }

    fn open_stall(&self) -> Option<Stall> {
        (self.state != StageState::Idle && !self.finished).then(|| Stall {
            duration: self.until - self.state_since,
            state: self.state,
            at: self.state_since,
        })
    }

    /// The states without an edge, and one blocked state for each edge that either account lists.
    fn states_of_either(&self, other: &Self) -> Vec<StageState> {
        let mut edges: Vec<EdgeId> = self.blocked_by.iter().chain(&other.blocked_by).map(|(edge, _)| *edge).collect();
        edges.sort_unstable();
        edges.dedup();
        UNBLOCKED.into_iter().chain(edges.into_iter().map(StageState::Blocked)).collect()
    }

    /// Takes `owed` from the states, largest first.
    fn pay(&mut self, mut owed: Duration) {
        if owed.is_zero() {
            return;
        }
        let mut states = self.states_of_either(self);
        states.sort_by_key(|state| std::cmp::Reverse(self.in_state(*state)));
        for state in states {
            let part = owed.min(self.in_state(state));
            *self.total_mut(state) -= part;
            if let StageState::Blocked(_) = state {
                self.blocked -= part;
            }
            owed -= part;
        }
        self.blocked_by.retain(|(_, time)| !time.is_zero());
    }

    pub(super) fn add(&mut self, state: StageState, nanos: u64) {
        if nanos == 0 {
            return;
        }
        let time = Duration::from_nanos(nanos);
        *self.total_mut(state) += time;
        if let StageState::Blocked(_) = state {
            self.blocked += time;
        }
    }

    /// Takes the stall over if it is the longest so far.
    pub(super) fn offer_stall(&mut self, state: StageState, at: u64, nanos: u64) {
        let longest = self.longest_stall.map_or(Duration::ZERO, |stall| stall.duration);
        let duration = Duration::from_nanos(nanos);
        if duration > longest {
            self.longest_stall = Some(Stall { duration, state, at: Time::from_nanos(at) });
        }
    }

    /// The total of a state; for a blocked state that of its edge, which is a part of `blocked`.
    fn total_mut(&mut self, state: StageState) -> &mut Duration {
        match state {
            StageState::Idle => &mut self.idle,
            StageState::Ready => &mut self.ready,
            StageState::Busy => &mut self.busy,
            StageState::Blocked(edge) => self.edge_mut(edge),
            StageState::BudgetWait => &mut self.budget_wait,
            StageState::SettleWait => &mut self.settle_wait,
            StageState::External => &mut self.external,
            StageState::Throttled => &mut self.throttled,
        }
    }

    fn edge_mut(&mut self, edge: EdgeId) -> &mut Duration {
        let place = self.blocked_by.iter().position(|(on, _)| *on == edge).unwrap_or_else(|| {
            self.blocked_by.push((edge, Duration::ZERO));
            self.blocked_by.len() - 1
        });
        &mut self.blocked_by[place].1
    }
}
