//! What an edge carries: the [`Payload`] trait, and [`Weigh`] for single records.
//!
//! The core knows a payload only by its weight and by how it is split and joined. Typed rows and byte slabs are two
//! implementations; neither is special.

use std::ops::Range;

use crate::budget::{Account, OverBudget};
use crate::units::{Bytes, Records, Weight};

/// The bytes that one record keeps alive: its inline size plus the heap it owns.
///
/// The default is the inline size, right for types that own no heap. A type that owns heap should add it: a weight
/// that lies makes the memory bound lie.
pub trait Weigh {
    /// The weight of every value of this type where it is always the same; saves a scan per batch.
    const FIXED: Option<usize> = None;

    /// Bytes kept alive by this value.
    fn weigh(&self) -> usize;
}

macro_rules! weigh_inline {
    ($($type:ty),* $(,)?) => {
        $(impl Weigh for $type {
            const FIXED: Option<usize> = Some(size_of::<$type>());
            fn weigh(&self) -> usize {
                size_of::<$type>()
            }
        })*
    };
}

weigh_inline!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    std::time::Duration,
    std::time::Instant,
    &'static str
);

impl Weigh for String {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.capacity()
    }
}

impl Weigh for Box<str> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

impl<T: Weigh> Weigh for Vec<T> {
    fn weigh(&self) -> usize {
        let spare = (self.capacity() - self.len()) * size_of::<T>();
        let rows = match T::FIXED {
            Some(each) => each * self.len(),
            None => self.iter().map(Weigh::weigh).sum(),
        };
        size_of::<Self>() + spare + rows
    }
}

impl<T: Weigh> Weigh for Box<T> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + (**self).weigh()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn weigh(&self) -> usize {
        match self {
            Some(value) => value.weigh().max(size_of::<Self>()),
            None => size_of::<Self>(),
        }
    }
}

impl<T: Weigh, E: Weigh> Weigh for Result<T, E> {
    fn weigh(&self) -> usize {
        match self {
            Ok(value) => value.weigh().max(size_of::<Self>()),
            Err(error) => error.weigh().max(size_of::<Self>()),
        }
    }
}

/// Shared data is charged in full to each holder: never too little, though it may be too much.
impl<T: Weigh> Weigh for std::sync::Arc<T> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + (**self).weigh()
    }
}

macro_rules! weigh_tuple {
    ($($name:ident),+) => {
        impl<$($name: Weigh),+> Weigh for ($($name,)+) {
            const FIXED: Option<usize> =
                if true $(&& $name::FIXED.is_some())+ { Some(size_of::<Self>()) } else { None };
            #[allow(non_snake_case, reason = "one binding per type parameter")]
            fn weigh(&self) -> usize {
                let ($($name,)+) = self;
                let inline: usize = 0 $(+ size_of_val($name))+;
                let total: usize = 0 $(+ $name.weigh())+;
                size_of::<Self>() + total.saturating_sub(inline)
            }
        }
    };
}

weigh_tuple!(A);
weigh_tuple!(A, B);
weigh_tuple!(A, B, C);
weigh_tuple!(A, B, C, D);

/// What a batch carries: a run of records that can be weighed, split and joined.
///
/// Row numbers are 0-based positions within the payload. `split_off` and `append` keep the order of rows.
pub trait Payload: Send + Sized + 'static {
    /// Records, and the bytes they keep in use (slice bytes: what an edge counts as credit).
    fn weight(&self) -> Weight;

    /// Bytes that stay allocated as long as this payload lives and that its batch's lease pays for. Where that pays for
    /// all, at least `weight().bytes`; less for a payload on slabs with a lease of their own, which are not counted here.
    fn retained_bytes(&self) -> Bytes {
        self.weight().bytes
    }

    /// Keeps the first `at` rows and returns the rest. `at` is at most the number of rows.
    fn split_off(&mut self, at: Records) -> Self;

    /// Appends the rows of `other`, or gives it back when the two cannot be joined (different slabs).
    ///
    /// # Errors
    /// `other` itself, unchanged.
    fn append(&mut self, other: Self) -> Result<(), Self>;

    /// Removes the rows whose numbers are listed (ascending, distinct).
    fn remove_rows(&mut self, rows: &[u32]);

    /// Moves the charge that the payload itself carries (a slab pays for its own bytes) to another account. Payloads
    /// whose batch holds the lease have nothing to do.
    ///
    /// # Errors
    /// The account has no room; nothing has changed then.
    fn rebind(&mut self, _to: &Account) -> Result<(), OverBudget> {
        Ok(())
    }

    /// Drops the rows and keeps the allocation, so that the payload can be filled again.
    fn clear(&mut self) {}

    /// Gives back what is allocated beyond the rows, as far as that is possible.
    fn shrink_to_fit(&mut self) {}

    /// Whether other batches may hold the same rows, so that taking or changing them copies them first: memory that
    /// nobody has paid for. See [`make_own`](Self::make_own).
    fn is_shared(&self) -> bool {
        false
    }

    /// Copies rows that are shared, so that they belong to this payload alone; moves them where nobody else holds them
    /// any more. Afterwards it retains what its rows weigh; whoever calls this has paid for that.
    fn make_own(&mut self) {}

    /// How many rows, from the first on, weigh at most `bytes` together; at least one, if there is one.
    fn rows_within(&self, _bytes: Bytes) -> Records {
        self.weight().records
    }
}

/// A payload whose rows can be held by several batches at once, as a fork needs.
pub trait Share: Payload {
    /// Another handle on the same rows. The memory is shared, not copied, until one side changes its rows.
    #[must_use]
    fn share(&mut self) -> Self;
}

/// A payload whose rows can be written as bytes and read back, as a durable edge needs.
pub trait Stored: Payload + Default {
    /// How far rows `rows` come in `room` bytes as [`store`](Self::store) writes them: the number after the last that is within,
    /// and a bound of the bytes up to there. At least one row where there is one, whatever it takes.
    fn stored_within(&self, rows: Range<u32>, room: Bytes) -> (u32, Bytes);

    /// Appends rows `rows` as bytes. The form is that of files on disk: what one version writes, later ones read.
    fn store(&self, rows: Range<u32>, out: &mut Vec<u8>);

    /// Appends rows that [`store`](Self::store) wrote as `bytes`: from row `from` of them on, until they end or `self`
    /// weighs `room` in either unit; at least one where there is one. Returns the number after the last row that was
    /// appended; `None` where the bytes are none that `store` wrote, and `self` may then hold any part of them.
    fn restore(&mut self, bytes: &[u8], from: u32, room: Weight) -> Option<u32>;
}
