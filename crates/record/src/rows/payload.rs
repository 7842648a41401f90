//! How rows are weighed, split, joined and shared.

use std::sync::Arc;

use tidegate_flow::{Bytes, Payload, Records, Share, Weight};

use super::body::Body;
use super::pieces::Spot;
use super::{Held, Rows};

impl Payload for Rows {
    fn weight(&self) -> Weight {
        let bytes = match &self.held {
            Held::Own(body) => body.bytes,
            Held::Shared(body, range) if range.len() == body.rows.len() => body.bytes,
            Held::Shared(body, range) => body.rows[range.clone()].iter().map(|entry| body.weigh(entry)).sum(),
        };
        Weight::new(self.len() as u64, bytes)
    }

    /// What the lease of the batch pays for: the table and the side buffer. The slabs pay for themselves.
    fn retained_bytes(&self) -> Bytes {
        Bytes::from(self.body().0.heap_bytes())
    }

    fn split_off(&mut self, at: Records) -> Self {
        let at = usize::try_from(at.get()).unwrap_or(usize::MAX).min(self.len());
        match &mut self.held {
            Held::Shared(body, range) => {
                let middle = range.start + at;
                let rest = Self { held: Held::Shared(Arc::clone(body), middle..range.end) };
                range.end = middle;
                rest
            }
            Held::Own(body) => {
                let rest = body.extract(at..body.rows.len());
                // The rest got memory of its own: were all of it kept for the rows in front, both would retain more
                // than was charged for them together.
                *body = body.extract(0..at);
                Self { held: Held::Own(rest) }
            }
        }
    }

    fn append(&mut self, mut other: Self) -> Result<(), Self> {
        if other.is_empty() {
            return Ok(());
        }
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        let (own, other) = (self.own(), other.own());
        let mut spots = Vec::with_capacity(other.pieces.len());
        for piece in other.pieces.iter() {
            spots.push(own.pieces.place(&piece.slab, &piece.origin, piece.ids));
        }
        own.rows.reserve(other.rows.len());
        for entry in &other.rows {
            let Some(spot) = spots.get_mut(entry.piece as usize) else { continue };
            let mut moved = *entry;
            moved.number = match entry.number.checked_add(spot.shift) {
                Some(number) => number,
                // Numbers that far apart are of pieces of their own.
                None => {
                    let Some(piece) = other.pieces.get(entry.piece) else { continue };
                    *spot = Spot { piece: own.pieces.push(piece.clone()), offset: 0, shift: 0 };
                    entry.number
                }
            };
            moved.piece = spot.piece;
            if !entry.is_written {
                let range = entry.range();
                moved.move_to(range.start + spot.offset..range.end + spot.offset);
            }
            own.adopt(other, entry, moved);
        }
        Ok(())
    }

    fn remove_rows(&mut self, rows: &[u32]) {
        if rows.is_empty() {
            return;
        }
        let body = self.own();
        let mut victims = rows.iter().copied().peekable();
        let mut gone = 0;
        let mut kept = 0;
        for number in 0..body.rows.len() {
            let entry = body.rows[number];
            if victims.next_if(|victim| *victim as usize == number).is_some() {
                gone += body.weigh(&entry);
            } else {
                body.rows[kept] = entry;
                kept += 1;
            }
        }
        body.rows.truncate(kept);
        body.bytes -= gone;
        if body.pieces.len() > 1 || kept == 0 {
            body.release_unused();
        }
        body.index.forget();
    }

    fn clear(&mut self) {
        match &mut self.held {
            Held::Own(body) => body.clear(),
            Held::Shared(..) => *self = Self::default(),
        }
    }

    fn shrink_to_fit(&mut self) {
        if let Held::Own(body) = &mut self.held {
            *body = body.extract(0..body.rows.len());
        }
    }
}

impl Share for Rows {
    fn share(&mut self) -> Self {
        if let Held::Own(body) = &mut self.held {
            let range = 0..body.rows.len();
            self.held = Held::Shared(Arc::new(std::mem::take(body)), range);
        }
        let Held::Shared(body, range) = &self.held else { unreachable!("own rows were shared above") };
        Self { held: Held::Shared(Arc::clone(body), range.clone()) }
    }
}

impl Body {
    fn clear(&mut self) {
        self.pieces.clear();
        self.rows.clear();
        self.edits.clear();
        self.text.clear();
        self.bytes = 0;
        self.index.forget();
        if let Some(envelope) = &mut self.envelope {
            envelope.forget();
        }
    }
}
