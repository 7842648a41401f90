//! [`Shed`]: what a component may shed, said before it runs.

/// Something that a component may shed, and how that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// What: "lines longer than 100 KiB".
    pub what: String,
    /// The name that it is counted under: a reason in the ledger, or a counter of the component.
    pub counted: &'static str,
    /// Which records that are.
    pub hits: Hits,
}

/// Which records a component sheds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Hits {
    /// Any, when there are too many of them.
    Any,
    /// Those that are as it says, however few there are.
    Unfit,
}

impl Shed {
    /// Any record, when there are too many.
    #[must_use]
    pub fn any(what: impl Into<String>, counted: &'static str) -> Self {
        Self { what: what.into(), counted, hits: Hits::Any }
    }

    /// Records that are so.
    #[must_use]
    pub fn unfit(what: impl Into<String>, counted: &'static str) -> Self {
        Self { what: what.into(), counted, hits: Hits::Unfit }
    }
}
