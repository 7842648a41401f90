//! Whether a plan's minima fit the budget, and the error that spells out the sum when they do not.

use std::error::Error;
use std::fmt;

use crate::units::Bytes;

/// One line of a [`PlanSum`]: an edge or a holding and what it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLine {
    /// The edge or holding, as the user knows it.
    pub name: Box<str>,
    /// What the minimum is for: "one maximal batch", "explicit max_size", "overdraft".
    pub what: Box<str>,
    /// The bytes it must have.
    pub minimum: Bytes,
}

/// The minima of a plan beside the budget that must hold them. Its `Display` is a table with the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSum {
    total: Bytes,
    lines: Vec<PlanLine>,
}

impl PlanSum {
    /// An empty plan for a budget of `total`.
    #[must_use]
    pub const fn new(total: Bytes) -> Self {
        Self { total, lines: Vec::new() }
    }

    /// Adds what one edge or holding must have.
    pub fn add(&mut self, name: impl Into<Box<str>>, what: impl Into<Box<str>>, minimum: Bytes) {
        self.lines.push(PlanLine { name: name.into(), what: what.into(), minimum });
    }

    /// The lines, in the order in which they were added.
    #[must_use]
    pub fn lines(&self) -> &[PlanLine] {
        &self.lines
    }

    /// The budget.
    #[must_use]
    pub const fn total(&self) -> Bytes {
        self.total
    }

    /// The sum of the minima.
    #[must_use]
    pub fn sum(&self) -> Bytes {
        self.lines.iter().map(|line| line.minimum).sum()
    }

    /// By how much the minima exceed the budget; zero where they fit.
    #[must_use]
    pub fn short(&self) -> Bytes {
        self.sum().saturating_sub(self.total)
    }

    /// What is left to float; zero where nothing is, or where the minima do not fit.
    #[must_use]
    pub fn floating(&self) -> Bytes {
        self.total.saturating_sub(self.sum())
    }

    /// Refuses a plan that does not fit.
    ///
    /// # Errors
    /// [`BudgetError::Minima`] with the whole sum.
    pub fn check(self) -> Result<(), BudgetError> {
        if self.short().is_zero() { Ok(()) } else { Err(BudgetError::Minima(Box::new(self))) }
    }
}

impl fmt::Display for PlanSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.lines.iter().map(|line| line.name.chars().count()).chain([6]).max().unwrap_or(6);
        for line in &self.lines {
            writeln!(f, "  {:width$}  {:>10}  {}", line.name, line.minimum.to_string(), line.what)?;
        }
        writeln!(f, "  {:width$}  {:>10}", "sum", self.sum().to_string())?;
        write!(f, "  {:width$}  {:>10}", "budget", self.total.to_string())
    }
}

/// Checks that the minima of a plan, as (name, what for, bytes), fit in `total`.
///
/// # Errors
/// [`BudgetError::Minima`]: a message of several lines that lists each edge and holding, its minimum, the sum, the
/// budget, and what to change.
pub fn check_minima(total: Bytes, minima: &[(&str, &str, Bytes)]) -> Result<(), BudgetError> {
    let mut plan = PlanSum::new(total);
    for &(name, what, minimum) in minima {
        plan.add(name, what, minimum);
    }
    plan.check()
}

/// Why a plan or an account was refused. Whose fault: the configuration's. Trying again does not help, except for
/// [`NoRoom`](Self::NoRoom) where floating memory that is in use now stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetError {
    /// The minima of the plan exceed the budget.
    Minima(Box<PlanSum>),
    /// One account's reservation does not fit in a pool.
    NoRoom {
        /// The pool that is too small.
        pool: Box<str>,
        /// The account that was refused.
        account: Box<str>,
        /// What it had to reserve (more).
        needed: Bytes,
        /// What other accounts have reserved there.
        reserved: Bytes,
        /// What the pool has left now.
        free: Bytes,
        /// The size of the pool.
        total: Bytes,
    },
    /// An account with a maximum below its minimum.
    MaximumBelowMinimum {
        /// The account.
        account: Box<str>,
        /// Its minimum: one maximal batch or frame.
        minimum: Bytes,
        /// Its maximum.
        maximum: Bytes,
    },
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minima(plan) => {
                writeln!(f, "the memory budget is too small by {}:", plan.short())?;
                writeln!(f, "{plan}")?;
                write!(f, "raise the budget to at least {}", plan.sum())?;
                match plan.lines.iter().max_by_key(|line| line.minimum) {
                    Some(line) => write!(f, ", or lower the largest part: {} ({})", line.name, line.what),
                    None => Ok(()),
                }
            }
            Self::NoRoom { pool, account, needed, reserved, free, total } => {
                let verdict = if *needed > total.saturating_sub(*reserved) {
                    "raise the budget, or lower the maximal batch or `max_size` of an edge or holding in it"
                } else {
                    "floating memory that is in use stands in the way: try again when less is in flight"
                };
                write!(
                    f,
                    "{account} has to reserve {needed}, but pool {pool} has {free} left ({total} in all, {reserved} \
                     reserved by others); {verdict}"
                )
            }
            Self::MaximumBelowMinimum { account, minimum, maximum } => write!(
                f,
                "{account} has a maximum of {maximum}, but must hold one maximal batch or frame of {minimum}; raise \
                 its maximum to at least {minimum}, or lower the size of a batch or frame"
            ),
        }
    }
}

impl Error for BudgetError {}
