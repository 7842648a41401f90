//! [`Few`]: a list that keeps its first entry inline.
//!
//! Nearly every ticket has one part and nearly every part one run of rows, so the common case must not allocate.

/// A list whose first entry needs no heap. `rest` is empty whenever `first` is.
///
/// The rest is a pointer and not a vector in place: tickets move with every batch, and each word of them is copied.
#[derive(Debug)]
pub(super) struct Few<T> {
    first: Option<T>,
    #[allow(clippy::box_collection, reason = "two words less in every ticket")]
    rest: Option<Box<Vec<T>>>,
}

impl<T> Few<T> {
    /// An empty list; allocates nothing.
    pub(super) const fn new() -> Self {
        Self { first: None, rest: None }
    }

    /// A list of one; allocates nothing.
    #[inline]
    pub(super) const fn one(entry: T) -> Self {
        Self { first: Some(entry), rest: None }
    }

    /// Whether there is no entry.
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether there is no more than one entry.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }

    /// The entry, to change, where there is exactly one.
    #[inline]
    pub(super) fn only_mut(&mut self) -> Option<&mut T> {
        if self.is_single() { self.first.as_mut() } else { None }
    }

    /// How many entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Adds `entry` at the end; the second entry is the first one that allocates.
    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.get_or_insert_default().push(entry);
        }
    }

    /// Removes the last entry.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        self.rest.as_mut().and_then(|rest| rest.pop()).or_else(|| self.first.take())
    }

    /// The entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest.map_or_else(Vec::new, |rest| *rest))
    }
}

impl<T: Clone> Clone for Few<T> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), rest: self.rest.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_across_the_inline_border() {
        let mut list = Few::new();
        for entry in 0..4 {
            list.push(entry);
        }
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(list.len(), 4);
        assert_eq!(
            [list.pop(), list.pop(), list.pop(), list.pop(), list.pop()],
            [Some(3), Some(2), Some(1), Some(0), None]
        );
        assert!(list.is_empty());
    }
}
