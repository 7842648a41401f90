//! [`Pieces`]: the slabs that the rows of a batch stand in, each with the origin of its rows, in the order of the rows.

use std::sync::Arc;

use tidegate_flow::Slab;

use crate::id::Ids;
use crate::origin::Origin;

/// A range of a slab, and where its rows come from. The slab is empty where the rows stand in the side buffer.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) slab: Slab,
    pub(crate) origin: Arc<Origin>,
    /// By what its rows are known, where they are.
    pub(crate) ids: Option<Ids>,
}

/// Where rows can stand.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) piece: u32,
    /// Of their slab in the piece.
    pub(crate) offset: usize,
    /// What their numbers have to be more, to be of the ids of the piece.
    pub(crate) shift: u32,
}

/// The pieces of a batch. Most have one, which needs no allocation: so the parts of a batch that is split never need
/// more memory together than the whole, as their leases do not either.
#[derive(Clone, Default)]
pub(crate) struct Pieces {
    first: Option<Piece>,
    more: Vec<Piece>,
}

impl Pieces {
    pub(crate) fn get(&self, number: u32) -> Option<&Piece> {
        match number {
            0 => self.first.as_ref(),
            _ => self.more.get(number as usize - 1),
        }
    }

    /// The bytes of a piece.
    #[inline]
    pub(crate) fn bytes(&self, number: u32) -> &[u8] {
        self.get(number).map_or(&[][..], |piece| &piece.slab[..])
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.first.iter().chain(&self.more)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Piece> {
        self.first.iter_mut().chain(&mut self.more)
    }

    pub(crate) fn push(&mut self, piece: Piece) -> u32 {
        let number = super::body::narrow(self.len());
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.more.push(piece),
        }
        number
    }

    /// Where the bytes of `slab` can stand: in the last piece where that stands in the same buffer and not behind it, and
    /// its rows come from there and are counted so; else in a new one.
    pub(crate) fn place(&mut self, slab: &Slab, origin: &Arc<Origin>, ids: Option<Ids>) -> Spot {
        let number = super::body::narrow(self.len());
        if let Some(last) = self.more.last_mut().or(self.first.as_mut())
            && (Arc::ptr_eq(&last.origin, origin) || last.origin == *origin)
            && let Some(shift) = shift(last.ids, ids)
            && let Some(offset) = last.slab.extend_over(slab)
        {
            return Spot { piece: number - 1, offset, shift };
        }
        let piece = self.push(Piece { slab: slab.clone(), origin: Arc::clone(origin), ids });
        Spot { piece, offset: 0, shift: 0 }
    }

    /// Keeps the pieces `from..to`.
    pub(crate) fn extract(&self, from: usize, to: usize) -> Self {
        let mut own = Self { first: None, more: Vec::with_capacity((to - from).saturating_sub(1)) };
        self.iter().skip(from).take(to - from).for_each(|piece| {
            own.push(piece.clone());
        });
        own
    }

    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.more.clear();
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.more.capacity() * size_of::<Piece>()
    }
}

/// What rows with the ids `more` have to add to be rows with the ids `own`; `None` where they cannot be.
fn shift(own: Option<Ids>, more: Option<Ids>) -> Option<u32> {
    match (own, more) {
        (None, None) => Some(0),
        (Some(own), Some(more)) => own.shift(more),
        (Some(_), None) | (None, Some(_)) => None,
    }
}
