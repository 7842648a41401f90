//! [`WindowSpec`]: how much a source may have unsettled, and why a bad one is refused.

use std::fmt;

use crate::units::{Bytes, mib};

/// The most priority lanes a window can have.
pub const MAX_LANES: u8 = 4;
/// The most slots a lane can have.
pub const MAX_SLOTS: u32 = 1 << 20;

/// How much a source may have opened and not yet settled.
///
/// The window must hold at least what the buffers on any path behind the source can hold, or a slow branch stops its
/// siblings; the plan checks that.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Groups that may be unsettled at once, per lane; 1 to [`MAX_SLOTS`]. Default 1024.
    pub slots: u32,
    /// Bytes that may be unsettled at once, over all lanes; at least 1. An empty window admits a group of any weight.
    /// Default 64 MiB.
    pub bytes: Bytes,
    /// Priority lanes, 1 to [`MAX_LANES`]. Default 1.
    pub lanes: u8,
}

impl Default for WindowSpec {
    fn default() -> Self {
        Self { slots: 1024, bytes: mib(64), lanes: 1 }
    }
}

impl WindowSpec {
    /// Checks every limit.
    ///
    /// # Errors
    /// Names the first one that cannot work, and what to write instead.
    pub fn check(&self) -> Result<(), WindowError> {
        if self.slots == 0 || self.slots > MAX_SLOTS {
            return Err(WindowError::Slots(self.slots));
        }
        if self.bytes.is_zero() {
            return Err(WindowError::NoBytes);
        }
        if self.lanes == 0 || self.lanes > MAX_LANES {
            return Err(WindowError::Lanes(self.lanes));
        }
        Ok(())
    }
}

/// Why a settle window was refused. An error of the configuration; trying again does not help.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// No slots per lane, or too many.
    Slots(u32),
    /// No bytes.
    NoBytes,
    /// No lanes, or too many.
    Lanes(u8),
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots(0) => {
                f.write_str("a settle window without slots would never let a record in: set at least 1 slot per lane")
            }
            Self::Slots(slots) => {
                write!(f, "a settle window of {slots} slots per lane: set at most {MAX_SLOTS}, in larger batches")
            }
            Self::NoBytes => f.write_str("a settle window of 0 bytes: set at least the size of one batch"),
            Self::Lanes(lanes) => write!(f, "a settle window of {lanes} lanes: set 1 to {MAX_LANES}"),
        }
    }
}

impl std::error::Error for WindowError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_windows_are_refused_with_advice() {
        let good = WindowSpec::default();
        assert_eq!(good.check(), Ok(()));
        for (spec, said) in [
            (WindowSpec { slots: 0, ..good }, "at least 1 slot"),
            (WindowSpec { slots: MAX_SLOTS + 1, ..good }, "at most 1048576"),
            (WindowSpec { bytes: Bytes::ZERO, ..good }, "at least the size of one batch"),
            (WindowSpec { lanes: 0, ..good }, "set 1 to 4"),
            (WindowSpec { lanes: 5, ..good }, "set 1 to 4"),
        ] {
            let refused = spec.check().map_err(|error| error.to_string());
            assert!(refused.as_ref().is_err_and(|text| text.contains(said)), "{spec:?}: {refused:?}");
        }
    }
}
