//! The closures of generated operators. Each notes what it does to a record before it does it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Items, Nack, Outcome};
use tidegate_runtime::Router;

use crate::record::Rec;
use crate::rng::mix2;

/// What the first operator behind a junction does to what passes.
#[derive(Copy, Clone, Debug, Default)]
pub struct Mark {
    /// A step on the way of the record.
    pub step: u64,
    /// Whether this is one part more than there was before.
    pub is_more: bool,
    /// Whether nobody waits for what passes.
    pub side: bool,
}

impl Mark {
    /// The closure.
    pub fn apply(self) -> impl FnMut(Rec) -> Rec + Clone + Send + 'static {
        move |mut record| {
            record.side |= self.side;
            if self.is_more {
                let book = Arc::clone(record.book());
                book.parts(&record, 1);
            }
            record.through(self.step)
        }
    }
}

/// Chance of a stage: its number keeps its choices apart from those of others.
#[derive(Copy, Clone, Debug)]
pub struct Salt(pub u64);

/// A transformation that changes weights, and panics now and then.
pub fn change(salt: Salt, panics: u64) -> impl FnMut(Rec) -> Rec + Clone + Send + 'static {
    move |record| {
        if record.hits(mix2(salt.0, 1), panics) {
            record.book().ended(&record, Outcome::Returned);
            panic!("planned: an operator panicked");
        }
        match record.fate(salt.0) % 4 {
            0 => {
                let half = record.weight() / 2;
                record.weighing(half)
            }
            1 if record.weight() < 100 => {
                let more = record.weight() + 28;
                record.weighing(more)
            }
            _ => record,
        }
    }
}

/// The same as a call that takes a while.
pub fn call(salt: Salt, panics: u64) -> impl FnMut(Rec) -> Pin<Box<dyn Future<Output = Rec> + Send>> + Send + 'static {
    let change = change(salt, panics);
    move |record| {
        let mut change = change.clone();
        Box::pin(async move {
            let takes = record.fate(mix2(salt.0, 4)) % 4;
            if takes > 0 {
                tokio::time::sleep(Duration::from_millis(takes)).await;
            }
            change(record)
        })
    }
}

/// [`branch`], for all rows of a batch at once.
pub struct ByRow(pub Salt, pub u64);

impl Router<Items<Rec>> for ByRow {
    fn route(&mut self, payload: &Items<Rec>, branches: &mut Vec<usize>) {
        branches.extend(payload.as_slice().iter().map(branch(self.0, self.1)));
    }
}

/// A filter that drops one of about eight.
pub fn keep(salt: Salt) -> impl FnMut(&Rec) -> bool + Send + 'static {
    move |record| {
        let kept = !record.hits(salt.0, 8);
        if !kept {
            record.book().ended(record, Outcome::Filtered);
        }
        kept
    }
}

/// The same as a `filter_map`.
pub fn keep_some(salt: Salt) -> impl FnMut(Rec) -> Option<Rec> + Send + 'static {
    let mut keep = keep(salt);
    move |record| keep(&record).then_some(record)
}

/// Refuses one of about so many.
pub fn attempt(salt: Salt, refuses: u64) -> impl FnMut(Rec) -> Result<Rec, Nack> + Send + 'static {
    move |record| {
        if record.hits(salt.0, refuses) {
            record.book().ended(&record, Outcome::Returned);
            return Err(Nack::permanent("planned: refused"));
        }
        Ok(record)
    }
}

/// Gives one of about so many back, for the dead letter port.
pub fn attempt_or(salt: Salt, refuses: u64) -> impl FnMut(Rec) -> Result<Rec, (Rec, Nack)> + Send + 'static {
    move |record| {
        if record.hits(salt.0, refuses) {
            return Err((record, Nack::permanent("planned: a dead letter")));
        }
        Ok(record)
    }
}

/// Whether a record is diverted.
pub fn chosen(salt: Salt) -> impl FnMut(&Rec) -> bool + Send + 'static {
    move |record| record.hits(salt.0, 5)
}

/// Which branch a record takes.
pub fn branch(salt: Salt, branches: u64) -> impl FnMut(&Rec) -> usize + Send + 'static {
    move |record| usize::try_from(record.fate(salt.0) % branches).unwrap_or(0)
}

/// Makes none to four of each, and panics in the middle now and then.
pub fn expand(salt: Salt, panics: u64) -> impl FnMut(Rec) -> Children + Send + 'static {
    move |record| {
        let count = match record.fate(mix2(salt.0, 2)) % 8 {
            0 => 0,
            1..=4 => 1,
            5 | 6 => 2,
            _ => 4,
        };
        let fails = count > 0 && record.hits(mix2(salt.0, 3), panics);
        let book = Arc::clone(record.book());
        match count {
            0 => book.ended(&record, Outcome::Filtered),
            count => book.parts(&record, count - 1),
        }
        Children { record, made: 0, count: count.unsigned_abs(), fails, salt }
    }
}

/// The records made of one.
pub struct Children {
    record: Rec,
    made: u64,
    count: u64,
    fails: bool,
    salt: Salt,
}

impl Iterator for Children {
    type Item = Rec;

    fn next(&mut self) -> Option<Rec> {
        if self.made == self.count {
            return None;
        }
        self.made += 1;
        if self.fails && self.made == self.count {
            // The last one is not made: its part ends here, refused.
            self.record.book().ended(&self.record, Outcome::Returned);
            panic!("planned: an iterator panicked");
        }
        Some(self.record.clone().through(mix2(self.salt.0, self.made)))
    }
}
