//! [`Recent`]: a bounded map that forgets the key used least recently.

use std::collections::HashMap;
use std::hash::Hash;

/// Values for at most so many keys. Where there are more, the key that was used least recently is forgotten.
#[derive(Debug)]
pub struct Recent<K, V> {
    capacity: usize,
    places: HashMap<K, usize>,
    /// The entries, as a list from the key used last to the one used least recently.
    nodes: Vec<Node<K, V>>,
    first: usize,
    last: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    before: usize,
    behind: usize,
}

/// No place.
const NOWHERE: usize = usize::MAX;

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    /// The bytes that one key takes, with its part of the table.
    pub const KEY_BYTES: usize = size_of::<Node<K, V>>() + 2 * (size_of::<K>() + size_of::<usize>() + 1);

    /// No keys yet. Holds at most `capacity`, at least 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { capacity, places: HashMap::new(), nodes: Vec::new(), first: NOWHERE, last: NOWHERE }
    }

    /// The value of `key`, made by `fresh` where it is not known, and whether it was. Counts as a use.
    pub fn get_or_insert_with(&mut self, key: K, fresh: impl FnOnce() -> V) -> (&mut V, bool) {
        let known = self.places.get(&key).copied();
        let place = known.unwrap_or_else(|| self.add(key, fresh()));
        if self.first != place {
            self.unlink(place);
            self.link_first(place);
        }
        (&mut self.nodes[place].value, known.is_some())
    }

    /// The value of `key`, where it is known. Counts as no use.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let place = self.places.get(&key)?;
        Some(&mut self.nodes[*place].value)
    }

    /// Every key with its value, the one used least recently first.
    pub fn iter_from_oldest(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut place = self.last;
        std::iter::from_fn(move || {
            let node = self.nodes.get(place)?;
            place = node.before;
            Some((&node.key, &node.value))
        })
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no key was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A new key, in the place of the one used least recently where all places are taken.
    fn add(&mut self, key: K, value: V) -> usize {
        let node = Node { key, value, before: NOWHERE, behind: NOWHERE };
        let place = if self.nodes.len() < self.capacity {
            self.nodes.push(node);
            self.nodes.len() - 1
        } else {
            let place = self.last;
            self.unlink(place);
            self.places.remove(&self.nodes[place].key);
            self.nodes[place] = node;
            place
        };
        self.places.insert(key, place);
        self.link_first(place);
        place
    }

    fn unlink(&mut self, place: usize) {
        let (before, behind) = (self.nodes[place].before, self.nodes[place].behind);
        match before {
            NOWHERE => self.first = behind,
            before => self.nodes[before].behind = behind,
        }
        match behind {
            NOWHERE => self.last = before,
            behind => self.nodes[behind].before = before,
        }
    }

    fn link_first(&mut self, place: usize) {
        let second = std::mem::replace(&mut self.first, place);
        self.nodes[place].before = NOWHERE;
        self.nodes[place].behind = second;
        match second {
            NOWHERE => self.last = place,
            second => self.nodes[second].before = place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_used_least_recently_is_forgotten() {
        let mut recent = Recent::new(3);
        let known = |recent: &mut Recent<u32, u32>, key| recent.get_or_insert_with(key, || key * 10).1;
        assert_eq!([1, 2, 3].map(|key| known(&mut recent, key)), [false; 3]);
        assert!(known(&mut recent, 1), "and now used again");
        assert!(!known(&mut recent, 4));
        assert!(!known(&mut recent, 2), "2 had to go for 4");
        assert_eq!([1, 4, 2].map(|key| known(&mut recent, key)), [true; 3]);
        assert_eq!(*recent.get_or_insert_with(4, || 0).0, 40);
        assert_eq!(recent.len(), 3);
    }

    #[test]
    fn it_is_the_same_as_a_plain_list() {
        for capacity in [1, 2, 7] {
            let (mut recent, mut plain) = (Recent::new(capacity), Vec::<u64>::new());
            let mut random = 9_u64;
            for _ in 0..2_000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let key = (random >> 33) % 10;
                let at = plain.iter().position(|old| *old == key);
                assert_eq!(recent.get_or_insert_with(key, || ()).1, at.is_some());
                if let Some(at) = at {
                    plain.remove(at);
                }
                plain.insert(0, key);
                plain.truncate(capacity);
                let (mut listed, mut place) = (Vec::new(), recent.first);
                while place != NOWHERE {
                    listed.push(recent.nodes[place].key);
                    place = recent.nodes[place].behind;
                }
                assert_eq!(listed, plain);
                listed.reverse();
                assert_eq!(recent.iter_from_oldest().map(|(key, ())| *key).collect::<Vec<_>>(), listed);
            }
        }
    }
}
