//! [`FairQueue`]: what waits for a permit, in the order in which it is to be served: class, then fairness, then deadline.
//!
//! * **Classes** are strict: the lowest number first. When the queue is full, the newcomer pushes out the last of the
//!   highest class in it, if that is below its own; so the first class is never shed while its load fits.
//! * Within a class, **tenants** share by cost, in virtual time (start-time fair queueing: P. Goyal et al., "Start-time
//!   Fair Queuing", SIGCOMM 1996). A tenant that asks for ten times its share waits ten times as long, and the others do
//!   not notice. A tenant that was away gets no credit for that.
//! * Within a tenant, the **earliest deadline** first; those without one behind, in the order in which they came. What is
//!   past its deadline comes out as expired and is never started.
//!
//! Bounded: so many items, and as many tenants. Each operation takes time in the logarithm of that.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use tidegate_flow::Time;

/// Classes of priority. 0 is served first.
pub const CLASSES: usize = 4;

/// What is to be queued.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Place {
    /// Below [`CLASSES`]; what is above counts as the last.
    pub class: usize,
    /// Who asks: any number, a hash of a name for example.
    pub tenant: u64,
    /// What it costs, in any unit that is the same for all: requests, bytes, tokens. At least a millionth.
    pub cost: f64,
    /// When it is of no use any more; [`Time::MAX`] for never.
    pub deadline: Time,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// To be served.
    Serve(T),
    /// Past its deadline: not to be started.
    Expired(T),
}

/// What a full queue did with a newcomer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed<T> {
    /// It is in.
    In,
    /// It is in, and this one of a class below was pushed out.
    Instead(T),
    /// There was nothing below it: it is shed itself.
    Full(T),
}

/// A bounded queue that is fair between tenants. See the module.
#[derive(Debug)]
pub struct FairQueue<T> {
    classes: [Class<T>; CLASSES],
    capacity: usize,
    len: usize,
    next: u64,
}

#[derive(Debug)]
struct Class<T> {
    /// The start tag of what was served last.
    now: f64,
    tenants: HashMap<u64, Tenant<T>>,
    /// The tenants that have something, by the start tag of what is next of each, then by number.
    turns: BTreeMap<(Tag, u64), ()>,
}

#[derive(Debug)]
struct Tenant<T> {
    waiting: BinaryHeap<Reverse<Waiting<T>>>,
    /// The finish tag of what was served last.
    finish: f64,
    /// Its place in the turns.
    tag: Tag,
}

#[derive(Debug)]
struct Waiting<T> {
    deadline: Time,
    number: u64,
    cost: f64,
    item: T,
}

/// A virtual time: in the order of its value.
#[derive(Copy, Clone, Debug, PartialEq)]
struct Tag(f64);

impl Eq for Tag {}

impl PartialOrd for Tag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tag {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.deadline, self.number).cmp(&(other.deadline, other.number))
    }
}

impl<T> Class<T> {
    fn new() -> Self {
        Self { now: 0.0, tenants: HashMap::new(), turns: BTreeMap::new() }
    }

    fn push(&mut self, tenant: u64, waiting: Waiting<T>) {
        let now = self.now;
        let of = self.tenants.entry(tenant).or_insert_with(|| Tenant {
            waiting: BinaryHeap::new(),
            finish: now,
            tag: Tag(now),
        });
        if of.waiting.is_empty() {
            of.tag = Tag(of.finish.max(now));
            self.turns.insert((of.tag, tenant), ());
        }
        of.waiting.push(Reverse(waiting));
    }

    /// The next one; what is past its deadline takes no turn from its tenant.
    fn pop(&mut self, now: Time) -> Option<Next<T>> {
        let (tag, number) = *self.turns.first_key_value()?.0;
        self.turns.pop_first();
        let tenant = self.tenants.get_mut(&number)?;
        let Reverse(first) = tenant.waiting.pop()?;
        let is_expired = first.deadline <= now;
        if !is_expired {
            self.now = tag.0;
            tenant.finish = tag.0 + first.cost;
        }
        let finish = tenant.finish.max(self.now);
        if tenant.waiting.is_empty() {
            // Nothing is remembered of a tenant that has had no more than its share.
            if tenant.finish <= self.now {
                self.tenants.remove(&number);
            }
        } else {
            tenant.tag = Tag(if is_expired { tag.0 } else { finish });
            self.turns.insert((tenant.tag, number), ());
        }
        Some(if is_expired { Next::Expired(first.item) } else { Next::Serve(first.item) })
    }

    /// Takes out the last of the tenant that would be served last.
    fn evict(&mut self) -> Option<T> {
        let (tag, number) = *self.turns.last_key_value()?.0;
        let tenant = self.tenants.get_mut(&number)?;
        let mut waiting = std::mem::take(&mut tenant.waiting).into_sorted_vec();
        // Reversed: the first of the sorted ones is the last to be served.
        let last = (!waiting.is_empty()).then(|| waiting.remove(0))?;
        tenant.waiting = waiting.into();
        if tenant.waiting.is_empty() {
            self.turns.remove(&(tag, number));
        }
        Some(last.0.item)
    }

    /// Forgets tenants that wait for nothing, so that there are never more than `most`.
    fn forget(&mut self, most: usize) {
        if self.tenants.len() > most {
            let now = self.now;
            self.tenants.retain(|_, tenant| !tenant.waiting.is_empty() || tenant.finish > now);
        }
        if self.tenants.len() > most {
            self.tenants.retain(|_, tenant| !tenant.waiting.is_empty());
        }
    }
}

impl<T> FairQueue<T> {
    /// An empty one for `capacity` items, 1 at least.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { classes: std::array::from_fn(|_| Class::new()), capacity: capacity.max(1), len: 0, next: 0 }
    }

    /// Items that wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Queues `item`.
    pub fn push(&mut self, place: Place, item: T) -> Pushed<T> {
        let class = place.class.min(CLASSES - 1);
        let mut pushed_out = None;
        if self.len >= self.capacity {
            let below = (class + 1..CLASSES).rev().find(|below| !self.classes[*below].turns.is_empty());
            let Some(below) = below else { return Pushed::Full(item) };
            pushed_out = self.classes[below].evict();
            self.len -= usize::from(pushed_out.is_some());
        }
        let cost = if place.cost > 1e-6 { place.cost.min(1e12) } else { 1e-6 };
        let waiting = Waiting { deadline: place.deadline, number: self.next, cost, item };
        self.next += 1;
        self.classes[class].push(place.tenant, waiting);
        self.classes[class].forget(2 * self.capacity);
        self.len += 1;
        match pushed_out {
            Some(item) => Pushed::Instead(item),
            None => Pushed::In,
        }
    }

    /// Takes the next one out.
    pub fn pop(&mut self, now: Time) -> Option<Next<T>> {
        let next = self.classes.iter_mut().find_map(|class| class.pop(now))?;
        self.len -= 1;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Time = Time::from_nanos(10);

    fn place(class: usize, tenant: u64, cost: f64) -> Place {
        Place { class, tenant, cost, deadline: Time::MAX }
    }

    fn served(queue: &mut FairQueue<u64>, count: usize) -> Vec<u64> {
        let pop = |_| match queue.pop(Time::ZERO) {
            Some(Next::Serve(item)) => item,
            other => panic!("{other:?}"),
        };
        (0..count).map(pop).collect()
    }

    #[test]
    fn a_greedy_tenant_waits_for_itself_and_shares_are_by_cost() {
        let mut queue = FairQueue::new(1_000);
        (0..100).for_each(|_| assert_eq!(queue.push(place(0, 1, 1.0), 1), Pushed::In));
        (0..4).for_each(|_| assert_eq!(queue.push(place(0, 2, 1.0), 2), Pushed::In));
        (0..4).for_each(|_| assert_eq!(queue.push(place(0, 3, 2.0), 3), Pushed::In));
        let first: Vec<u64> = served(&mut queue, 10);
        let count = |tenant| first.iter().filter(|item| **item == tenant).count();
        assert_eq!((count(1), count(2), count(3)), (4, 4, 2), "{first:?}");
        assert!(served(&mut queue, 98).ends_with(&[1; 90]) && queue.is_empty());
    }

    #[test]
    fn a_tenant_that_was_away_has_saved_up_nothing() {
        let mut queue = FairQueue::new(1_000);
        (0..100).for_each(|_| assert_eq!(queue.push(place(0, 1, 1.0), 1), Pushed::In));
        served(&mut queue, 50);
        (0..50).for_each(|_| assert_eq!(queue.push(place(0, 2, 1.0), 2), Pushed::In));
        let next = served(&mut queue, 20);
        assert_eq!(next.iter().filter(|item| **item == 2).count(), 10, "{next:?}");
    }

    #[test]
    fn classes_are_strict_and_a_full_queue_sheds_from_below() {
        let mut queue = FairQueue::new(3);
        assert_eq!(queue.push(place(2, 1, 1.0), 20), Pushed::In);
        assert_eq!(queue.push(place(3, 1, 1.0), 30), Pushed::In);
        assert_eq!(queue.push(place(3, 1, 1.0), 31), Pushed::In);
        assert_eq!(queue.push(place(3, 1, 1.0), 32), Pushed::Full(32), "nothing is below it");
        assert_eq!(queue.push(place(0, 1, 1.0), 0), Pushed::Instead(31), "the last of the last class");
        assert_eq!(queue.push(place(0, 1, 1.0), 1), Pushed::Instead(30));
        assert_eq!(queue.push(place(9, 1, 1.0), 9), Pushed::Full(9), "an unknown class is the last");
        assert_eq!(queue.push(place(0, 1, 1.0), 2), Pushed::Instead(20));
        assert_eq!(queue.push(place(0, 1, 1.0), 3), Pushed::Full(3));
        assert_eq!(served(&mut queue, 3), [0, 1, 2]);
        assert_eq!(queue.pop(Time::ZERO), None);
    }

    #[test]
    fn within_a_tenant_the_earliest_deadline_is_first_and_what_is_late_is_not_started() {
        let mut queue = FairQueue::new(10);
        let mut push = |deadline: u64, item| {
            let deadline = if deadline == 0 { Time::MAX } else { Time::from_nanos(deadline) };
            assert_eq!(queue.push(Place { deadline, ..place(0, 1, 5.0) }, item), Pushed::In);
        };
        [(0, 1), (30, 2), (5, 3), (20, 4), (0, 5)].into_iter().for_each(|(deadline, item)| push(deadline, item));
        let all: Vec<_> = std::iter::from_fn(|| queue.pop(SOON)).collect();
        assert_eq!(all, [Next::Expired(3), Next::Serve(4), Next::Serve(2), Next::Serve(1), Next::Serve(5)]);
    }

    #[test]
    fn tenants_that_wait_for_nothing_are_forgotten() {
        let mut queue = FairQueue::new(8);
        for tenant in 0..100_000 {
            assert_eq!(queue.push(place(0, tenant, 1.0), tenant), Pushed::In);
            assert_eq!(served(&mut queue, 1), [tenant]);
        }
        assert!(queue.classes[0].tenants.len() <= 17, "{}", queue.classes[0].tenants.len());
    }
}
