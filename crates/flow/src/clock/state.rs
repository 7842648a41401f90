//! The states of a stage, the waits that lead to them, and both as words that fit one atomic.

use crate::graph::EdgeId;
use std::fmt;

/// What a stage is doing: exactly one of these at any time.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum StageState {
    /// It has no input.
    Idle,
    /// It could go on and waits for a CPU: woken but not yet polled, or it yielded.
    Ready,
    /// It is being polled.
    Busy,
    /// It waits for room in this edge.
    Blocked(EdgeId),
    /// It waits for memory of the budget.
    BudgetWait,
    /// It waits for room in the settle window: too much is in flight unsettled.
    SettleWait,
    /// It waits for something outside the pipeline: a remote, a disk, a device.
    External,
    /// A rate limit that the user set holds it.
    Throttled,
}

impl StageState {
    /// Whether it waits for something other than input or a CPU.
    #[must_use]
    pub const fn is_held(self) -> bool {
        !matches!(self, Self::Idle | Self::Ready | Self::Busy)
    }

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Blocked(_) => "blocked",
            Self::BudgetWait => "budget_wait",
            Self::SettleWait => "settle_wait",
            Self::External => "external",
            Self::Throttled => "throttled",
        }
    }
}

impl fmt::Display for StageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a primitive is about to wait for. Ordered by severity: when several are announced in one poll, the last in
/// this list wins.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// For input.
    Idle,
    /// For something outside the pipeline.
    External,
    /// For a rate limit.
    Throttled,
    /// For room in the settle window.
    SettleWindow,
    /// For memory of the budget.
    Budget,
    /// For room in this edge.
    Blocked(EdgeId),
}

/// The states as words, so that a state is one atomic: the code in the upper half, the edge in the lower. The codes of
/// the waits rise with their severity; `READY` is 0 because "no wait announced" means "yielded, so ready".
pub(super) mod code {
    pub(in crate::clock) const READY: u64 = 0;
    pub(in crate::clock) const IDLE: u64 = 1;
    pub(in crate::clock) const EXTERNAL: u64 = 2;
    pub(in crate::clock) const THROTTLED: u64 = 3;
    pub(in crate::clock) const SETTLE_WAIT: u64 = 4;
    pub(in crate::clock) const BUDGET_WAIT: u64 = 5;
    pub(in crate::clock) const BUSY: u64 = 6;
    /// Last, so that the states before it index the table of totals.
    pub(in crate::clock) const BLOCKED: u64 = 7;

    pub(in crate::clock) const fn of(word: u64) -> u64 {
        word >> 32
    }

    pub(in crate::clock) const fn word(code: u64) -> u64 {
        code << 32
    }

    /// Whether a wake-up ends this state.
    pub(in crate::clock) const fn is_wait(word: u64) -> bool {
        !matches!(of(word), READY | BUSY)
    }
}

/// How many states have one total each; blocked time has one per edge instead.
#[allow(clippy::cast_possible_truncation, reason = "a code is less than 8")]
pub(super) const TOTALS: usize = code::BLOCKED as usize;

impl Wait {
    pub(super) const fn word(self) -> u64 {
        match self {
            Self::Idle => code::word(code::IDLE),
            Self::External => code::word(code::EXTERNAL),
            Self::Throttled => code::word(code::THROTTLED),
            Self::SettleWindow => code::word(code::SETTLE_WAIT),
            Self::Budget => code::word(code::BUDGET_WAIT),
            Self::Blocked(edge) => code::word(code::BLOCKED) | edge.get() as u64,
        }
    }
}

/// The state that a word stands for.
pub(super) fn state_of(word: u64) -> StageState {
    match code::of(word) {
        code::READY => StageState::Ready,
        code::IDLE => StageState::Idle,
        code::EXTERNAL => StageState::External,
        code::THROTTLED => StageState::Throttled,
        code::SETTLE_WAIT => StageState::SettleWait,
        code::BUDGET_WAIT => StageState::BudgetWait,
        code::BUSY => StageState::Busy,
        _ => StageState::Blocked(EdgeId::new(u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX))),
    }
}
