//! [`Meters`]: counters of components beside the ledger: what never became a record, or was done on the way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Every counter of a pipeline's components. Clones are the same.
///
/// A counter belongs to a node and has a name with its unit last (`frames_oversize`, `bytes_read`). The list grows when
/// components are started and never after.
#[derive(Clone, Debug, Default)]
pub struct Meters(Arc<Mutex<Vec<Meter>>>);

/// One counter: of which node, and what it counts.
#[derive(Clone, Debug)]
pub struct Meter {
    /// The node.
    pub node: Arc<str>,
    /// What is counted.
    pub name: &'static str,
    /// How many so far.
    pub counter: Counter,
}

/// A number that only grows. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    count: AtomicU64,
    /// What was counted first, in words.
    first: OnceLock<String>,
}

impl Counter {
    /// Counts so many more.
    pub fn add(&self, more: u64) {
        if more > 0 {
            self.0.count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Counts one more; the first of all is described, for the log.
    pub fn one(&self, describe: impl FnOnce() -> String) {
        self.add(1);
        self.0.first.get_or_init(describe);
    }

    /// The first that was counted, where it was described.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.first.get().map(String::as_str)
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl Meters {
    /// The counter of this node and name; a new one where there is none.
    #[must_use]
    pub fn counter(&self, node: &Arc<str>, name: &'static str) -> Counter {
        let mut meters = self.lock();
        if let Some(meter) = meters.iter().find(|meter| meter.node == *node && meter.name == name) {
            return meter.counter.clone();
        }
        let counter = Counter::default();
        meters.push(Meter { node: Arc::clone(node), name, counter: counter.clone() });
        counter
    }

    /// All counters, in the order in which they were made.
    #[must_use]
    pub fn all(&self) -> Vec<Meter> {
        self.lock().clone()
    }

    /// How many one of them has counted; 0 where there is none.
    #[must_use]
    pub fn get(&self, node: &str, name: &str) -> u64 {
        let meters = self.lock();
        meters.iter().find(|meter| &*meter.node == node && meter.name == name).map_or(0, |meter| meter.counter.get())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_node_and_name() {
        let meters = Meters::default();
        let node = Arc::from("in");
        meters.counter(&node, "bytes_read").add(3);
        meters.clone().counter(&node, "bytes_read").add(4);
        meters.counter(&node, "failed").one(|| "this".to_owned());
        meters.counter(&node, "failed").one(|| "that".to_owned());
        let failed = meters.counter(&node, "failed");
        assert_eq!((failed.get(), failed.first()), (2, Some("this")));
        assert_eq!((meters.get("in", "bytes_read"), meters.get("in", "frames"), meters.all().len()), (7, 0, 2));
    }
}
