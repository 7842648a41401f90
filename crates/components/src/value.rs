//! Values with a unit: [`ByteSize`], [`Period`], [`Rate`] and [`Share`]. Each is written as a plain number in its base unit, as in
//! Vector, or as text with a unit; a value that is neither is refused with an example.

mod bytes;
mod number;
mod period;
mod rate;
mod share;

pub use self::bytes::ByteSize;
pub use self::period::Period;
pub use self::rate::Rate;
pub use self::share::Share;
