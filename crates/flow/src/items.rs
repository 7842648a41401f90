//! [`Items`]: the payload of typed rows, a `Vec<T>` that knows its weight and can be shared by the branches of a fork.
//!
//! Rows are owned until a fork shares them; a shared run of rows is cloned row by row when a branch takes them out,
//! and moved instead when it is the last holder.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::payload::{Payload, Share, Stored, Weigh};
use crate::units::{Bytes, Records, Weight};

/// Rows of type `T`, and what they weigh.
pub struct Items<T> {
    rows: Rows<T>,
    /// The sum of the rows' weights; kept so that a hop never scans the rows.
    bytes: u64,
}

enum Rows<T> {
    Owned(Vec<T>),
    Shared(Box<dyn SharedRows<T>>),
}

impl<T: Weigh> Items<T> {
    /// No rows, with room for `capacity` of them.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { rows: Rows::Owned(Vec::with_capacity(capacity)), bytes: 0 }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// Never; rows that are shared with a fork's sibling are first copied out.
    pub fn push(&mut self, row: T) {
        self.bytes += row.weigh() as u64;
        self.owned().push(row);
    }

    /// Makes room for `more` rows, so that this many can be pushed without another allocation.
    pub fn reserve(&mut self, more: usize) {
        self.owned().reserve(more);
    }

    /// Changes the rows as a vector and weighs them anew; also where `change` panics. Free for rows of a fixed weight,
    /// one pass over all rows for others.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<T>)) {
        change(Reweighed(self).0.owned());
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Owned(rows) => rows.len(),
            Rows::Shared(rows) => rows.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the rows keep alive.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes::new(self.bytes)
    }

    /// The rows, to read.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match &self.rows {
            Rows::Owned(rows) => rows,
            Rows::Shared(rows) => rows.as_slice(),
        }
    }

    /// Takes every row out and leaves this empty; the allocation stays with the returned vector.
    #[must_use]
    pub fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(self.owned())
    }

    /// Takes the rows out one by one and keeps the allocation.
    pub fn drain(&mut self) -> std::vec::Drain<'_, T> {
        self.bytes = 0;
        self.owned().drain(..)
    }

    /// The rows as an owned vector, copied out first where they are shared.
    fn owned(&mut self) -> &mut Vec<T> {
        if let Rows::Shared(shared) = &mut self.rows {
            self.rows = Rows::Owned(shared.take());
        }
        match &mut self.rows {
            Rows::Owned(rows) => rows,
            Rows::Shared(_) => unreachable!("shared rows were copied out above"),
        }
    }
}

impl<T: Weigh> Default for Items<T> {
    fn default() -> Self {
        Self { rows: Rows::Owned(Vec::new()), bytes: 0 }
    }
}

impl<T: Weigh> From<Vec<T>> for Items<T> {
    fn from(rows: Vec<T>) -> Self {
        let bytes = weigh_rows(&rows);
        Self { rows: Rows::Owned(rows), bytes }
    }
}

impl<T: Weigh> Extend<T> for Items<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, rows: I) {
        match T::FIXED {
            Some(_) => self.edit(|all| all.extend(rows)),
            None => rows.into_iter().for_each(|row| self.push(row)),
        }
    }
}

/// Weighs the rows when it is dropped.
struct Reweighed<'a, T: Weigh>(&'a mut Items<T>);

impl<T: Weigh> Drop for Reweighed<'_, T> {
    fn drop(&mut self) {
        self.0.bytes = weigh_rows(self.0.as_slice());
    }
}

impl<T: Weigh> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        rows.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Weigh + fmt::Debug> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

fn weigh_rows<T: Weigh>(rows: &[T]) -> u64 {
    match T::FIXED {
        Some(each) => (each * rows.len()) as u64,
        None => rows.iter().map(|row| row.weigh() as u64).sum(),
    }
}

impl<T: Weigh + Send + 'static> Payload for Items<T> {
    fn weight(&self) -> Weight {
        Weight::new(self.len() as u64, self.bytes)
    }

    fn retained_bytes(&self) -> Bytes {
        match &self.rows {
            Rows::Owned(rows) => Bytes::new(self.bytes + ((rows.capacity() - rows.len()) * size_of::<T>()) as u64),
            Rows::Shared(_) => Bytes::new(self.bytes),
        }
    }

    fn split_off(&mut self, at: Records) -> Self {
        let at = usize::try_from(at.get()).unwrap_or(usize::MAX).min(self.len());
        let rest = match &mut self.rows {
            Rows::Owned(rows) => {
                let rest = rows.split_off(at);
                // The rest got memory of its own. Were the whole allocation kept for a few rows in front, both would
                // retain more than was charged for them together.
                rows.shrink_to_fit();
                Rows::Owned(rest)
            }
            Rows::Shared(rows) => Rows::Shared(rows.split_off(at)),
        };
        let mut rest = Self { rows: rest, bytes: 0 };
        rest.bytes = weigh_rows(rest.as_slice());
        self.bytes -= rest.bytes;
        rest
    }

    /// Shared rows do not join: that would copy them, and nobody has paid for the copy.
    fn append(&mut self, mut other: Self) -> Result<(), Self> {
        if self.is_shared() || other.is_shared() {
            return Err(other);
        }
        self.bytes += other.bytes;
        let mut rows = other.take();
        self.owned().append(&mut rows);
        Ok(())
    }

    fn remove_rows(&mut self, rows: &[u32]) {
        if rows.is_empty() {
            return;
        }
        if rows.len() == self.len() {
            return self.clear();
        }
        let owned = self.owned();
        let mut victims = rows.iter().map(|row| *row as usize).peekable();
        let mut number = 0;
        owned.retain(|_| {
            let gone = victims.peek() == Some(&number);
            if gone {
                victims.next();
            }
            number += 1;
            !gone
        });
        self.bytes = weigh_rows(self.as_slice());
    }

    fn clear(&mut self) {
        self.bytes = 0;
        match &mut self.rows {
            Rows::Owned(rows) => rows.clear(),
            Rows::Shared(_) => self.rows = Rows::Owned(Vec::new()),
        }
    }

    fn shrink_to_fit(&mut self) {
        if let Rows::Owned(rows) = &mut self.rows {
            rows.shrink_to_fit();
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self.rows, Rows::Shared(_))
    }

    fn make_own(&mut self) {
        self.owned();
    }

    fn rows_within(&self, bytes: Bytes) -> Records {
        let mut left = bytes.get();
        let fitting = self.as_slice().iter().take_while(|row| match left.checked_sub(row.weigh() as u64) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
        Records::from(fitting.count().max(1).min(self.len()))
    }
}

impl<T: Weigh + Clone + Send + Sync + 'static> Share for Items<T> {
    fn share(&mut self) -> Self {
        if let Rows::Owned(rows) = &mut self.rows {
            let rows = Arc::new(std::mem::take(rows));
            self.rows = Rows::Shared(Box::new(View { range: 0..rows.len(), rows }));
        }
        let Rows::Shared(rows) = &self.rows else { unreachable!("owned rows were shared above") };
        Self { rows: Rows::Shared(rows.share()), bytes: self.bytes }
    }
}

/// Each text has its length, four bytes with the lowest first, before it.
impl Stored for Items<String> {
    fn stored_within(&self, rows: Range<u32>, room: Bytes) -> (u32, Bytes) {
        let (mut until, mut bytes) = (rows.start, Bytes::ZERO);
        for text in &self.as_slice()[rows.start as usize..rows.end as usize] {
            let more = bytes + Bytes::from(4 + text.len());
            if until > rows.start && more > room {
                break;
            }
            (until, bytes) = (until + 1, more);
        }
        (until, bytes)
    }

    fn store(&self, rows: Range<u32>, out: &mut Vec<u8>) {
        for text in &self.as_slice()[rows.start as usize..rows.end as usize] {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn restore(&mut self, bytes: &[u8], from: u32, room: Weight) -> Option<u32> {
        let (mut rest, mut row) = (bytes, 0);
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            if row >= from {
                let weight = self.weight();
                if row > from && (weight.records >= room.records || weight.bytes >= room.bytes) {
                    return Some(row);
                }
                self.push(String::from_utf8(text.to_vec()).ok()?);
            }
            row += 1;
        }
        rest.is_empty().then_some(row)
    }
}

/// A view on rows that other batches hold too. A trait object, so that `Items<T>` asks neither `Clone` nor `Sync` of
/// rows that are never shared.
trait SharedRows<T>: Send {
    fn len(&self) -> usize;
    fn as_slice(&self) -> &[T];
    fn split_off(&mut self, at: usize) -> Box<dyn SharedRows<T>>;
    fn share(&self) -> Box<dyn SharedRows<T>>;
    /// The rows of this view, moved when it is the last holder of all of them, else cloned.
    fn take(&mut self) -> Vec<T>;
}

struct View<T> {
    rows: Arc<Vec<T>>,
    range: Range<usize>,
}

impl<T: Clone + Send + Sync + 'static> SharedRows<T> for View<T> {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn as_slice(&self) -> &[T] {
        &self.rows[self.range.clone()]
    }

    fn split_off(&mut self, at: usize) -> Box<dyn SharedRows<T>> {
        let middle = self.range.start + at;
        let rest = Self { rows: Arc::clone(&self.rows), range: middle..self.range.end };
        self.range.end = middle;
        Box::new(rest)
    }

    fn share(&self) -> Box<dyn SharedRows<T>> {
        Box::new(Self { rows: Arc::clone(&self.rows), range: self.range.clone() })
    }

    fn take(&mut self) -> Vec<T> {
        let range = std::mem::replace(&mut self.range, 0..0);
        match Arc::get_mut(&mut self.rows) {
            Some(rows) if range.len() == rows.len() => std::mem::take(rows),
            _ => self.rows[range].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_follows_every_change() {
        let mut items: Items<String> = ["a", "bb", "ccc"].map(String::from).into_iter().collect();
        let whole = items.weight();
        let rest = items.split_off(Records::new(1));
        assert_eq!(items.weight() + rest.weight(), whole);
        items.append(rest).ok();
        assert_eq!(items.weight(), whole);
        items.remove_rows(&[0, 2]);
        assert_eq!(items.as_slice(), ["bb"]);
        assert_eq!(items.bytes().get(), "bb".to_string().weigh() as u64);
    }

    #[test]
    fn the_parts_of_a_split_retain_no_more_than_the_whole() {
        let mut rest: Items<u64> = (0..256).collect();
        let whole = rest.retained_bytes();
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let behind = rest.split_off(Records::new(1));
            parts.push(std::mem::replace(&mut rest, behind));
        }
        assert_eq!(parts.iter().map(Payload::retained_bytes).sum::<Bytes>(), whole);
    }

    #[test]
    fn a_shared_run_is_cloned_by_all_but_the_last_holder() {
        let mut first: Items<u64> = (0..4).collect();
        let mut second = first.share();
        let tail = second.split_off(Records::new(2));
        assert_eq!(second.as_slice(), [0, 1]);
        assert_eq!(tail.as_slice(), [2, 3]);
        drop((second, tail));
        let before = first.as_slice().as_ptr();
        let rows = first.take();
        assert_eq!(rows, [0, 1, 2, 3]);
        assert_eq!(rows.as_ptr(), before, "the last holder of all rows moves them");
    }

    #[test]
    fn shared_rows_join_only_once_they_are_made_own() {
        let mut first: Items<u64> = (0..3).collect();
        let mut second = first.share();
        let second_alone = |second: &Items<u64>| !second.is_shared() && second.as_slice() == [0, 1, 2];
        second = first.append(second).unwrap_err();
        assert!(first.is_shared() && second.is_shared(), "nothing was copied");
        second.make_own();
        assert!(second_alone(&second));
        let mut owned: Items<u64> = std::iter::once(7).collect();
        first = owned.append(first).unwrap_err();
        assert!(owned.append(second).is_ok());
        assert_eq!((owned.as_slice(), first.as_slice()), ([7, 0, 1, 2].as_slice(), [0, 1, 2].as_slice()));
    }

    #[test]
    fn rows_within_counts_what_fits_and_at_least_one() {
        let items: Items<u64> = (0..4).collect();
        let within = |bytes| items.rows_within(Bytes::new(bytes)).get();
        assert_eq!([within(0), within(8), within(23), within(24), within(1_000)], [1, 1, 2, 3, 4]);
        assert_eq!(Items::<u64>::default().rows_within(Bytes::new(8)).get(), 0);
    }

    #[test]
    fn changing_a_shared_run_leaves_its_sibling_alone() {
        let mut first: Items<u64> = (0..3).collect();
        let second = first.share();
        first.remove_rows(&[1]);
        assert_eq!(first.as_slice(), [0, 2]);
        assert_eq!(second.as_slice(), [0, 1, 2]);
    }
}
