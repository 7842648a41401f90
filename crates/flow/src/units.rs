//! Quantities with their units in the type: [`Bytes`], [`Records`], and both together as a [`Weight`].
//!
//! Adding saturates at the maximum (a limit of `u64::MAX` means "effectively unbounded" and must stay usable);
//! subtracting below zero is a bug in the caller and panics in every build, because a credit or budget that wraps
//! round silently is the one error that this project must never make. Use `saturating_sub` where zero is meant.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest value; as a limit it means "effectively unbounded".
            pub const MAX: Self = Self(u64::MAX);

            /// This many.
            #[must_use]
            pub const fn new(count: u64) -> Self {
                Self(count)
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Whether this is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// `self - other`, or zero where that would be negative.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// `self - other`, or `None` where that would be negative.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(left) => Some(Self(left)),
                    None => None,
                }
            }
        }

        impl From<usize> for $name {
            fn from(count: usize) -> Self {
                Self(count as u64)
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            /// # Panics
            /// Where `other` is larger than `self`.
            #[track_caller]
            fn sub(self, other: Self) -> Self {
                match self.0.checked_sub(other.0) {
                    Some(left) => Self(left),
                    None => panic!("{} - {} is below zero", self, other),
                }
            }
        }

        impl SubAssign for $name {
            #[track_caller]
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self::ZERO, |total, value| total + value)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self)
            }
        }
    };
}

quantity! {
    /// A number of bytes.
    Bytes
}

quantity! {
    /// A number of records.
    Records
}

/// `count` KiB.
#[must_use]
pub const fn kib(count: u64) -> Bytes {
    Bytes(count * 1024)
}

/// `count` MiB.
#[must_use]
pub const fn mib(count: u64) -> Bytes {
    Bytes(count * 1024 * 1024)
}

/// `count` GiB.
#[must_use]
pub const fn gib(count: u64) -> Bytes {
    Bytes(count * 1024 * 1024 * 1024)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STEPS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        if *self == Self::MAX {
            return f.write_str("unbounded");
        }
        for (size, unit) in STEPS {
            if self.0 >= size {
                #[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
                let value = self.0 as f64 / size as f64;
                return if self.0.is_multiple_of(size) {
                    write!(f, "{value:.0} {unit}")
                } else {
                    write!(f, "{value:.1} {unit}")
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MAX => f.write_str("unbounded records"),
            Self(1) => f.write_str("1 record"),
            Self(count) => write!(f, "{count} records"),
        }
    }
}

/// What something weighs, in both units at once. Credit, windows and fill are always counted in both: a bound on
/// records alone does not bound memory, and a bound on bytes alone does not bound work.
#[derive(Copy, Clone, Default, PartialEq, Eq, Hash)]
pub struct Weight {
    /// How many records.
    pub records: Records,
    /// How many bytes.
    pub bytes: Bytes,
}

impl Weight {
    /// Weighs nothing.
    pub const ZERO: Self = Self { records: Records::ZERO, bytes: Bytes::ZERO };
    /// Effectively unbounded in both units.
    pub const MAX: Self = Self { records: Records::MAX, bytes: Bytes::MAX };

    /// `records` and `bytes` together.
    #[must_use]
    pub const fn new(records: u64, bytes: u64) -> Self {
        Self { records: Records::new(records), bytes: Bytes::new(bytes) }
    }

    /// Whether both units are zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.records.is_zero() && self.bytes.is_zero()
    }

    /// Whether `self` fits within `limit` in *both* units.
    #[must_use]
    pub const fn fits(self, limit: Self) -> bool {
        self.records.get() <= limit.records.get() && self.bytes.get() <= limit.bytes.get()
    }

    /// Unit by unit, `self - other` or zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self { records: self.records.saturating_sub(other.records), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    /// Unit by unit, the larger of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { records: self.records.max(other.records), bytes: self.bytes.max(other.bytes) }
    }

    /// Unit by unit, the smaller of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { records: self.records.min(other.records), bytes: self.bytes.min(other.bytes) }
    }
}

impl Add for Weight {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Weight {
    type Output = Self;
    #[track_caller]
    fn sub(self, other: Self) -> Self {
        Self { records: self.records - other.records, bytes: self.bytes - other.bytes }
    }
}

impl SubAssign for Weight {
    #[track_caller]
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Weight {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::ZERO, |total, value| total + value)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.records, self.bytes)
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_people_write_them() {
        let shown: Vec<String> = [Bytes::new(7), kib(1), Bytes::new(1536), mib(256), gib(2), Bytes::MAX]
            .iter()
            .map(Bytes::to_string)
            .collect();
        assert_eq!(shown, ["7 B", "1 KiB", "1.5 KiB", "256 MiB", "2 GiB", "unbounded"]);
    }

    #[test]
    fn weight_fits_only_in_both_units() {
        let limit = Weight::new(10, 100);
        assert!(Weight::new(10, 100).fits(limit));
        assert!(!Weight::new(11, 1).fits(limit));
        assert!(!Weight::new(1, 101).fits(limit));
    }

    #[test]
    fn adding_to_the_maximum_stays_at_the_maximum() {
        assert_eq!(Bytes::MAX + Bytes::new(1), Bytes::MAX);
    }

    #[test]
    #[should_panic(expected = "is below zero")]
    fn subtracting_below_zero_panics() {
        let _ = Records::new(1) - Records::new(2);
    }
}
