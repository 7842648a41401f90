//! [`ShedReason`]: why overload cost a record its life. Losses without a reason are not counted anywhere.

use std::fmt;

use crate::units::Records;

/// Which policy gave a record up. Each is something that the user wrote.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ShedReason {
    /// The edge was full and takes nothing new (`drop_newest`).
    DropNewest = 0,
    /// The edge was full and gave up the oldest (`drop_oldest`).
    DropOldest = 1,
    /// The edge thins out what it takes (`sample`).
    Sample = 2,
    /// The edge was full and fails the stage before it (`fail`).
    Fail = 3,
    /// The producer was blocked for longer than `block { max }` allows.
    BlockTimeout = 4,
    /// A throttle that enforces its rate.
    Throttle = 5,
    /// A stage chose to shed under pressure.
    Pressure = 6,
    /// The memory budget had no lease for it.
    Memory = 7,
    /// Lost before it could be read: kernel drops, a truncated file.
    Ingress = 8,
}

impl ShedReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::DropNewest,
        Self::DropOldest,
        Self::Sample,
        Self::Fail,
        Self::BlockTimeout,
        Self::Throttle,
        Self::Pressure,
        Self::Memory,
        Self::Ingress,
    ];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
            Self::Sample => "sample",
            Self::Fail => "fail",
            Self::BlockTimeout => "block_timeout",
            Self::Throttle => "throttle",
            Self::Pressure => "pressure",
            Self::Memory => "memory",
            Self::Ingress => "ingress",
        }
    }
}

impl fmt::Display for ShedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number of shed records for each reason.
#[derive(Copy, Clone, Default, PartialEq, Eq)]
pub struct ShedCounts([u64; ShedReason::ALL.len()]);

impl ShedCounts {
    /// How many were shed for this reason.
    #[must_use]
    pub const fn get(&self, reason: ShedReason) -> Records {
        Records::new(self.0[reason as usize])
    }

    /// Counts `records` more.
    pub fn add(&mut self, reason: ShedReason, records: Records) {
        self.0[reason as usize] += records.get();
    }

    /// Counts everything that `other` counts.
    pub fn add_all(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// All reasons together.
    #[must_use]
    pub fn total(&self) -> Records {
        Records::new(self.0.iter().sum())
    }

    /// Each reason with its number.
    pub fn iter(&self) -> impl Iterator<Item = (ShedReason, Records)> {
        ShedReason::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }
}

impl fmt::Debug for ShedCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|(_, records)| !records.is_zero());
        f.debug_map().entries(counted.map(|(reason, records)| (reason.name(), records.get()))).finish()
    }
}
