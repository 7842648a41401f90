//! [`Item`]: what the checks send; each knows when it is dropped, and whether it was shed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_flow::Weight;
use tidegate_flow::queue::{Load, ShedReason};

/// What a check sends. A channel that counts messages takes it as one; one that counts records and bytes asks it.
#[derive(Debug)]
pub struct Item {
    /// Which of the check's producers sent it.
    pub producer: u64,
    /// Counts up for each producer.
    pub number: u64,
    /// How many records it stands for; 1 unless the subject has [`Feature::RecordWeight`](super::Feature).
    pub records: u64,
    /// How many bytes it stands for.
    pub bytes: u64,
    census: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    dropped: AtomicU64,
    shed: AtomicU64,
}

/// Makes items and counts what becomes of them.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<Counts>);

impl Census {
    /// An item of one record and one byte.
    #[must_use]
    pub fn item(&self, number: u64) -> Item {
        self.sized(0, number, 1, 1)
    }

    /// An item of the given weight.
    #[must_use]
    pub fn sized(&self, producer: u64, number: u64, records: u64, bytes: u64) -> Item {
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Item { producer, number, records, bytes, census: Arc::clone(&self.0) }
    }

    /// Items that were made and not yet dropped.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.0.made.load(Ordering::Relaxed) - self.0.dropped.load(Ordering::Relaxed)
    }

    /// Items that the subject said it gave up.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.0.shed.load(Ordering::Relaxed)
    }
}

impl Item {
    /// To be called by the subject when its policy gives this item up, before it drops it.
    pub fn note_shed(&self) {
        self.census.shed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.census.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Load for Item {
    fn weight(&self) -> Weight {
        Weight::new(self.records, self.bytes)
    }

    fn settle_shed(&mut self, _reason: ShedReason) {
        self.note_shed();
    }
}
