//! [`Rec`]: the record that every generated pipeline carries, and how much of it is alive.

use std::sync::Arc;

use tidegate_flow::Weigh;

use crate::book::Book;
use crate::rng::mix2;

/// What every record weighs before its bytes.
#[allow(clippy::cast_possible_wrap, reason = "a record is small")]
const INLINE: i64 = size_of::<Rec>() as i64;

/// A record that knows where it came from and which way it took. It has no bytes, only their weight; what is alive is
/// summed up in the [`Book`], so that it can be compared with what the budget charges.
pub struct Rec {
    /// The source it came from.
    pub source: u8,
    /// Its number there, from 1.
    pub id: u64,
    /// What it went through: equal for two records only if they are the same part of the same record.
    pub path: u64,
    /// Whether it is a copy that no source waits for: behind a tap or a best-effort branch.
    pub side: bool,
    weight: u32,
    book: Arc<Book>,
}

impl Rec {
    /// A new record of a source.
    #[must_use]
    pub fn new(source: u8, id: u64, weight: u32, book: &Arc<Book>) -> Self {
        book.live(INLINE + i64::from(weight));
        Self { source, id, path: 0, side: false, weight, book: Arc::clone(book) }
    }

    /// The notes of the run.
    #[must_use]
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// The weight of its bytes.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The same record with another weight.
    #[must_use]
    pub fn weighing(mut self, weight: u32) -> Self {
        self.book.live(i64::from(weight) - i64::from(self.weight));
        self.weight = weight;
        self
    }

    /// The same record one step further on its way.
    #[must_use]
    pub fn through(mut self, step: u64) -> Self {
        self.path = mix2(self.path, step);
        self
    }

    /// A number that stays the same however often the record is looked at.
    #[must_use]
    pub fn fate(&self, salt: u64) -> u64 {
        mix2(mix2(u64::from(self.source), self.id), mix2(self.path, salt))
    }

    /// Whether this is one of about every `every` records; never, where `every` is zero.
    #[must_use]
    pub fn hits(&self, salt: u64, every: u64) -> bool {
        every > 0 && self.fate(salt).is_multiple_of(every)
    }
}

impl Clone for Rec {
    fn clone(&self) -> Self {
        self.book.live(INLINE + i64::from(self.weight));
        Self { book: Arc::clone(&self.book), ..*self }
    }
}

impl Drop for Rec {
    fn drop(&mut self) {
        self.book.live(-INLINE - i64::from(self.weight));
    }
}

impl Weigh for Rec {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.weight as usize
    }
}
