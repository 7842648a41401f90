//! [`Throttle`]: lets records pass at a rate. Shaping delays what is over it, enforcing sheds it.

use std::hash::{DefaultHasher, Hash, Hasher};

use tidegate_flow::{Batch, Bytes, Items, Lease, Payload, ShedReason, Time, Weigh};

use super::bucket::{KeyedBuckets, MAX_KEYS, TokenBucket};
use crate::context::StageContext;
use crate::faults::{Faults, ask_rows};
use crate::transform::{Step, Transform};

/// What a throttle does with records that are over its rate.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OverRate {
    /// Delays them; the pressure travels upstream. What is allowed of a batch goes on at once.
    Shape,
    /// Sheds them, counted with the reason `throttle`.
    Enforce,
}

/// A rate, and what happens to what is over it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct ThrottleSpec {
    /// Units of cost a second: records, unless another cost is given. Above zero.
    pub rate: f64,
    /// Units that may pass at once after a pause. Above zero. A record that costs more passes when as much as this has
    /// been saved up, and is paid off before the next. Timers fire on the millisecond, so that a shaper whose burst is
    /// below a thousandth of its rate stays below its rate too.
    pub burst: f64,
    /// What happens to the rest.
    pub over: OverRate,
    /// For a rate per key: how many keys are remembered, 1 to 10 000; beyond that, the key used least recently is
    /// forgotten and begins with a full burst when it comes back.
    pub keys: usize,
}

impl ThrottleSpec {
    /// Delays what is over `rate` a second. The burst is a tenth of it, and at least 1.
    #[must_use]
    pub const fn shape(rate: f64) -> Self {
        Self { rate, burst: (rate / 10.0).max(1.0), over: OverRate::Shape, keys: MAX_KEYS }
    }

    /// Sheds what is over `rate` a second. The burst is a tenth of it, and at least 1.
    #[must_use]
    pub const fn enforce(rate: f64) -> Self {
        Self { over: OverRate::Enforce, ..Self::shape(rate) }
    }

    /// Lets so many units pass at once after a pause.
    #[must_use]
    pub const fn burst(mut self, burst: f64) -> Self {
        self.burst = burst;
        self
    }

    /// Remembers so many keys.
    #[must_use]
    pub const fn keys(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// What is wrong with it, and what to do.
    pub(crate) fn fault(&self) -> Option<String> {
        let usable = |number: f64| number.is_finite() && number > 0.0;
        if !usable(self.rate) || !usable(self.burst) {
            return Some(format!(
                "a throttle of {} a second with a burst of {} lets nothing pass; give both a value above zero",
                self.rate, self.burst
            ));
        }
        if !(1..=MAX_KEYS).contains(&self.keys) {
            return Some(format!("a throttle cannot remember {} keys; choose 1 to {MAX_KEYS}", self.keys));
        }
        None
    }
}

/// What records cost, in the units of a throttle's rate.
pub trait Cost<P>: Send + 'static {
    /// What every record costs, where it is always the same.
    fn each(&self) -> Option<f64> {
        None
    }

    /// Pushes the cost of each row, in row order. Not called where [`each`](Cost::each) says it all. A cost that is
    /// negative or no number is none. A panic costs the row whose cost would have come next, and no other.
    fn of_rows(&mut self, payload: &P, costs: &mut Vec<f64>);
}

/// Every record costs 1.
#[derive(Copy, Clone, Debug, Default)]
pub struct PerRecord;

impl<P> Cost<P> for PerRecord {
    fn each(&self) -> Option<f64> {
        Some(1.0)
    }

    fn of_rows(&mut self, _payload: &P, _costs: &mut Vec<f64>) {}
}

/// A record costs what it weighs, in bytes.
#[derive(Copy, Clone, Debug, Default)]
pub struct ByBytes;

impl<T: Weigh> Cost<Items<T>> for ByBytes {
    fn of_rows(&mut self, payload: &Items<T>, costs: &mut Vec<f64>) {
        costs.extend(payload.as_slice().iter().map(|record| record.weigh() as f64));
    }
}

/// A record costs what a closure says.
#[derive(Copy, Clone, Debug)]
pub struct ByRecord<F>(pub F);

impl<T: Weigh, F: FnMut(&T) -> f64 + Send + 'static> Cost<Items<T>> for ByRecord<F> {
    fn of_rows(&mut self, payload: &Items<T>, costs: &mut Vec<f64>) {
        costs.extend(payload.as_slice().iter().map(&mut self.0));
    }
}

/// One rate for all records.
pub struct Throttle<P: Payload, C> {
    spec: ThrottleSpec,
    cost: C,
    bucket: TokenBucket,
    costs: Vec<f64>,
    rest: Option<Delayed<P>>,
    faults: Faults,
}

/// Rows that wait for their turn.
struct Delayed<P> {
    batch: Batch<P>,
    /// Which of the costs is that of the first row.
    first: usize,
    /// When the first row may pass.
    due: Time,
}

impl<P: Payload, C: Cost<P>> Throttle<P, C> {
    /// A throttle on its own, for pipelines put together at run time. The caller has made sure that the rate and the
    /// burst of `spec` are above zero.
    #[must_use]
    pub fn new(spec: ThrottleSpec, cost: C) -> Self {
        let bucket = TokenBucket::new(spec.rate, spec.burst, Time::ZERO);
        Self { spec, cost, bucket, costs: Vec::new(), rest: None, faults: Faults::default() }
    }

    /// Its bucket.
    pub const fn bucket(&mut self) -> &mut TokenBucket {
        &mut self.bucket
    }

    /// Sends on what the rate allows of the batch, and keeps the rest. The first row counts from when it was due, so
    /// that a timer that fires late does not lower the rate.
    fn shape(&mut self, delayed: Delayed<P>, out: &mut Option<Batch<P>>, now: Time) -> Step {
        let Delayed { mut batch, first, due } = delayed;
        let costs = &self.costs[first..];
        let mut at = due.min(now);
        let passes = |cost: &&f64| self.bucket.try_take(**cost, std::mem::replace(&mut at, now));
        let allowed = costs.iter().take_while(passes).count();
        let Some(next) = costs.get(allowed) else {
            *out = Some(batch);
            return Step::Done;
        };
        let due = self.bucket.ready_at(*next);
        if allowed > 0 {
            let rest = batch.split_off(u32::try_from(allowed).unwrap_or(u32::MAX));
            *out = Some(std::mem::replace(&mut batch, rest));
        }
        self.rest = Some(Delayed { batch, first: first + allowed, due });
        Step::WaitUntil(due)
    }
}

/// Says what each row of a batch costs. Those whose cost panics leave it.
fn weigh<P: Payload, C: Cost<P>>(
    cost: &mut C,
    batch: &mut Batch<P>,
    costs: &mut Vec<f64>,
    faults: &mut Faults,
    cx: &StageContext,
) {
    match cost.each() {
        Some(each) => {
            costs.clear();
            costs.resize(batch.records() as usize, each);
        }
        None => drop(ask_rows(batch, costs, faults, cx, |payload, costs| cost.of_rows(payload, costs))),
    }
}

/// Sheds the listed rows of a batch and passes on what is left.
fn shed<P: Payload>(mut batch: Batch<P>, rows: &[u32], out: &mut Option<Batch<P>>, cx: &StageContext) {
    cx.shed_rows(&mut batch, rows, ShedReason::Throttle);
    if batch.records() > 0 {
        *out = Some(batch);
    }
}

impl<P: Payload, C: Cost<P>> Transform<P> for Throttle<P, C> {
    type Out = P;

    fn process(&mut self, mut input: Batch<P>, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        weigh(&mut self.cost, &mut input, &mut self.costs, &mut self.faults, cx);
        let step = match self.spec.over {
            _ if input.records() == 0 => Step::Done,
            OverRate::Shape => self.shape(Delayed { batch: input, first: 0, due: cx.now() }, out, cx.now()),
            OverRate::Enforce => {
                let costs = self.costs.iter().zip(0..);
                let over = costs.filter(|(cost, _)| !self.bucket.try_take(**cost, cx.now()));
                let over: Vec<u32> = over.map(|(_, row)| row).collect();
                shed(input, &over, out, cx);
                Step::Done
            }
        };
        self.faults.or(step)
    }

    fn resume(&mut self, out: &mut Option<Batch<P>>, cx: &mut StageContext) -> Step {
        match self.rest.take() {
            Some(delayed) => self.shape(delayed, out, cx.now()),
            None => Step::Done,
        }
    }
}

/// A rate for each key: sheds what is over it.
///
/// **Holds** 10 000 keys at most, each by a 64-bit hash, charged as a holding of the stage for as long as it runs. Two
/// keys with one hash share a rate; among 10 000 keys that happens once in 10^11.
pub struct ThrottleBy<C, F> {
    buckets: KeyedBuckets,
    capacity: Bytes,
    cost: C,
    key: F,
    costs: Vec<f64>,
    /// The hash of the key of each row.
    hashes: Vec<u64>,
    faults: Faults,
    /// Pays for the keys.
    lease: Lease,
}

impl<C, F> ThrottleBy<C, F> {
    pub(crate) fn new(spec: ThrottleSpec, cost: C, key: F) -> Self {
        let buckets = KeyedBuckets::new(spec.rate, spec.burst, spec.keys);
        let (costs, hashes, faults) = (Vec::new(), Vec::new(), Faults::default());
        Self { buckets, capacity: Self::holding(&spec), cost, key, costs, hashes, faults, lease: Lease::none() }
    }

    /// The most that the keys take.
    pub(crate) fn holding(spec: &ThrottleSpec) -> Bytes {
        // Tables double, so that up to twice the keys are allocated.
        Bytes::new((spec.keys.min(MAX_KEYS) * KeyedBuckets::KEY_BYTES * 2) as u64)
    }
}

impl<T, K, C, F> Transform<Items<T>> for ThrottleBy<C, F>
where
    T: Weigh + Send + 'static,
    K: Hash,
    C: Cost<Items<T>>,
    F: FnMut(&T) -> K + Send + 'static,
{
    type Out = Items<T>;

    fn open(&mut self, cx: &StageContext) {
        // The plan has reserved it.
        self.lease = cx.held().try_lease(self.capacity).unwrap_or_default();
    }

    fn process(
        &mut self,
        mut input: Batch<Items<T>>,
        out: &mut Option<Batch<Items<T>>>,
        cx: &mut StageContext,
    ) -> Step {
        let Self { buckets, cost, key, costs, hashes, faults, .. } = self;
        weigh(cost, &mut input, costs, faults, cx);
        let without_key = ask_rows(&mut input, hashes, faults, cx, |payload, hashes| {
            hashes.extend(payload.as_slice().iter().map(|record| {
                let mut hasher = DefaultHasher::new();
                key(record).hash(&mut hasher);
                hasher.finish()
            }));
        });
        for row in without_key.into_iter().rev() {
            costs.remove(row as usize);
        }
        let rows = costs.iter().zip(hashes.iter()).zip(0..);
        let over = rows.filter(|((cost, hash), _)| !buckets.try_take(**hash, **cost, cx.now()));
        let over: Vec<u32> = over.map(|(_, row)| row).collect();
        shed(input, &over, out, cx);
        self.faults.next()
    }
}
