//! [`Saved`]: a throttle whose keys go on after a restart with what they had.
//!
//! The step copies the levels of its buckets to where they are saved from, once in each period in which it had something to
//! do and when it ends: no lock is taken for a record.
//!
//! ```text
//! version of this form: 1 (1 byte)
//! how old the levels were when they were written, in nanoseconds (8)
//! keys: how many (4), each: hash (8), tokens as a float (8), the one used least recently first
//! ```
//!
//! Numbers are little-endian.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::{Batch, Bytes, Lease, Time, Weight};
use tidegate_runtime::checkpoint::{Bell, Restored, State};
use tidegate_runtime::stage::Ended;
use tidegate_runtime::{StageContext, Step, Transform};

use crate::Rows;
use crate::checkpoints::{Gate, Place, Put, Take};
use crate::contract::{BuildContext, BuiltTransform};
use crate::value::Period;

/// What the state is, in the head of its file: "thro".
const FORM: u32 = u32::from_le_bytes(*b"thro");

const VERSION: u8 = 1;

/// What a key takes, here and in a checkpoint.
const LEVEL_BYTES: usize = 16;

/// What stands before the keys.
const HEAD_BYTES: usize = 13;

/// Whose buckets can be saved.
pub(super) trait Levels {
    /// Calls `each` with every key and its tokens.
    fn levels(&mut self, now: Time, each: &mut dyn FnMut(u64, f64));

    /// Goes on with the tokens that a key had so long ago.
    fn restore(&mut self, key: u64, tokens: f64, age: Duration, now: Time);
}

/// Whether and where a throttle is saved.
pub(super) struct Saving {
    place: Place,
    period: Option<Period>,
    runs: bool,
    node: Arc<str>,
}

impl Saving {
    pub(super) fn of(period: Option<Period>, cx: &BuildContext) -> Self {
        Self { place: Place::of(cx), period, runs: cx.runs, node: Arc::clone(&cx.node) }
    }

    /// The step, saved where that is wanted; of at most so many keys.
    pub(super) fn around<S>(self, step: S, holds: Weight, keys: usize) -> BuiltTransform
    where
        S: Transform<Rows, Out = Rows> + Levels,
    {
        let Self { place, period, runs, node } = self;
        let Some(period) = period else { return BuiltTransform::holding(step, holds) };
        // The levels, and a copy to be written.
        let most = Bytes::from(HEAD_BYTES + keys * LEVEL_BYTES);
        let own = most + most;
        let holds = Weight { bytes: holds.bytes + own, ..holds };
        let saved = Saved {
            step,
            desk: Arc::default(),
            place: runs.then_some((place, most, node)),
            period,
            gate: Gate::default(),
            own,
            lease: Lease::none(),
            seen: Time::ZERO,
            copied: Time::ZERO,
            is_stale: false,
        };
        BuiltTransform::holding(saved, holds)
    }
}

/// A throttle, and where its levels are saved from.
struct Saved<S: Levels> {
    step: S,
    desk: Arc<Desk>,
    place: Option<(Place, Bytes, Arc<str>)>,
    period: Period,
    gate: Gate,
    own: Bytes,
    lease: Lease,
    seen: Time,
    copied: Time,
    /// Whether it has worked since.
    is_stale: bool,
}

/// Where the levels are saved from, and what was restored until the step has taken it.
#[derive(Default)]
struct Desk(Mutex<Paper>);

#[derive(Default)]
struct Paper {
    levels: Vec<(u64, f64)>,
    at: Time,
    is_changed: bool,
    restored: Option<(Vec<(u64, f64)>, Duration)>,
    bell: Option<Bell>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Paper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for Desk {
    fn restore(&self, saved: Restored<'_>) -> Result<(), String> {
        let mut from = Take(saved.bytes);
        let mut read = || {
            let (version, age, count) = (from.u8()?, from.duration()?, from.u32()?);
            let mut levels = Vec::new();
            for _ in 0..count {
                levels.push((from.u64()?, from.f64()?));
            }
            (version == VERSION && from.is_empty()).then_some((levels, age))
        };
        let (levels, age) = read().ok_or("its state cannot be read")?;
        self.lock().restored = Some((levels, age.saturating_add(saved.age)));
        Ok(())
    }

    /// Not before the step goes on with what was restored: it would be lost.
    fn is_changed(&self) -> bool {
        let paper = self.lock();
        paper.is_changed && paper.restored.is_none()
    }

    fn put_down(&self, now: Time, into: &mut Vec<u8>) {
        let mut paper = self.lock();
        paper.is_changed = false;
        into.put_u8(VERSION);
        into.put_duration(now.since(paper.at));
        into.put_u32(u32::try_from(paper.levels.len()).unwrap_or(u32::MAX));
        for (key, tokens) in &paper.levels {
            into.put_u64(*key);
            into.put_f64(*tokens);
        }
    }

    fn written(&self, durable: bool) {
        self.lock().is_changed |= !durable;
    }
}

impl<S: Levels> Saved<S> {
    /// Goes on with what was restored, once.
    fn take_over(&mut self, now: Time) {
        let restored = self.desk.lock().restored.take();
        if let Some((levels, age)) = restored {
            levels.into_iter().for_each(|(key, tokens)| self.step.restore(key, tokens, age, now));
        }
    }

    fn copy(&mut self) {
        let mut paper = self.desk.lock();
        if paper.restored.is_some() {
            return;
        }
        let Paper { levels, at, is_changed, bell, .. } = &mut *paper;
        levels.clear();
        self.step.levels(self.seen, &mut |key, tokens| levels.push((key, tokens)));
        (*at, *is_changed, self.copied) = (self.seen, true, self.seen);
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    fn worked(&mut self, cx: &StageContext) {
        self.seen = cx.now();
        self.is_stale = self.seen < self.copied + self.period.get();
        if !self.is_stale {
            self.copy();
        }
    }
}

impl<S: Levels> Drop for Saved<S> {
    /// A last copy, before the keeper hears that the step is gone. Not of one that never was given anything.
    fn drop(&mut self) {
        if self.seen > Time::ZERO {
            self.copy();
        }
    }
}

impl<S: Transform<Rows, Out = Rows> + Levels> Transform<Rows> for Saved<S> {
    type Out = Rows;

    fn open(&mut self, cx: &StageContext) {
        // The plan has reserved it.
        self.lease = cx.held().try_lease(self.own).unwrap_or_default();
        self.step.open(cx);
        if let Some((place, most, node)) = self.place.take() {
            let keeper = place.spec(FORM, most, self.period).keep(&node, Arc::<Desk>::clone(&self.desk), cx);
            self.desk.lock().bell = Some(keeper.bell());
            self.gate = Gate::of(keeper);
        }
    }

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.gate.hold(input);
        self.resume(out, cx)
    }

    fn resume(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let input = match self.gate.pass() {
            Ok(input) => input,
            Err(step) => return step,
        };
        let step = match input {
            Some(input) => {
                self.take_over(cx.now());
                self.step.process(input, out, cx)
            }
            None => self.step.resume(out, cx),
        };
        self.worked(cx);
        step
    }

    fn flush(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let step = self.step.flush(out, cx);
        self.worked(cx);
        step
    }

    fn lull(&mut self, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        self.step.lull(out, cx)
    }

    fn poll_side(&mut self, task: &mut Context<'_>, cx: &mut StageContext) -> Poll<Result<(), Ended>> {
        if self.gate.is_holding() { self.gate.poll_side(task) } else { self.step.poll_side(task, cx) }
    }

    fn wake_at(&self) -> Option<Time> {
        let copy_at = self.is_stale.then(|| self.copied + self.period.get());
        self.step.wake_at().into_iter().chain(copy_at).min()
    }

    fn holds_back(&self) -> bool {
        self.step.holds_back()
    }

    fn may_hold_back(&self) -> bool {
        self.step.may_hold_back()
    }

    fn takes_rows(&self) -> bool {
        self.step.takes_rows()
    }

    fn batches_in_hand(&self) -> u32 {
        self.step.batches_in_hand()
    }
}
