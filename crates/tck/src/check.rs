//! [`Check`]: one named check, how it ends, and the virtual time it runs in.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long, in virtual time, a check may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(30 * 24 * 3600);

/// How a check ended when it did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// The subject says that it lacks what the check is about.
    NotApplicable {
        /// What it lacks.
        feature: String,
        /// Why, in the words of the subject.
        why: String,
    },
    /// The subject broke the rule: what was expected and what was seen.
    Failed(String),
}

/// What a check gives: `Ok` where the rule holds.
pub type Checked = Result<(), Unmet>;

/// One check of a suite, tied to a subject.
#[derive(Copy, Clone)]
pub struct Check {
    /// Its number and sentence, as the test is called: `c03_zero_demand_means_zero_deliveries`.
    pub name: &'static str,
    /// Runs it. Takes no real time worth speaking of, and may be run again.
    pub run: fn() -> Checked,
}

impl Check {
    /// The number in front of the name: `c03`.
    #[must_use]
    pub fn number(&self) -> &'static str {
        self.name.split('_').next().unwrap_or(self.name)
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotApplicable { feature, why } => write!(f, "not applicable: no {feature}: {why}"),
            Self::Failed(what) => write!(f, "failed: {what}"),
        }
    }
}

/// Fails the test where the check failed. A check that is not applicable passes here, and is named with its reason by
/// the test `not_applicable` of the same suite.
///
/// # Panics
/// Where the check failed, with what was seen.
pub fn assert_holds(name: &str, checked: &Checked) {
    if let Err(Unmet::Failed(what)) = checked {
        panic!("{name}: {what}");
    }
}

thread_local! {
    /// Whether checks only say if they are applicable.
    static ASKED_ONLY: Cell<bool> = const { Cell::new(false) };
}

impl Check {
    /// Why the check is not applicable, if it is not; without running it.
    #[must_use]
    pub fn not_applicable(&self) -> Option<Unmet> {
        ASKED_ONLY.set(true);
        let answer = (self.run)();
        ASKED_ONLY.set(false);
        answer.err()
    }
}

/// Writes each check that is not applicable with its reason to the standard error.
///
/// # Panics
/// Where nothing at all is applicable: such a suite shows nothing.
pub fn list_not_applicable(subject: &str, checks: &[Check]) {
    let mut left_out = 0;
    for check in checks {
        if let Some(unmet) = check.not_applicable() {
            left_out += 1;
            // To the stream itself, so that the list is seen even where all tests pass.
            drop(writeln!(std::io::stderr(), "{subject}: {} is {unmet}", check.name));
        }
    }
    assert!(left_out < checks.len(), "{subject}: no check is applicable, so nothing was shown");
}

/// Whether checks only say if they are applicable.
pub(crate) fn only_asks() -> bool {
    ASKED_ONLY.get()
}

/// Runs a check in virtual time, on one thread; a panic or a hang is a failure.
pub(crate) fn in_virtual_time(check: impl Future<Output = Checked>) -> Checked {
    if ASKED_ONLY.get() {
        return Ok(());
    }
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| Unmet::Failed(format!("no runtime: {error}")))?;
        runtime.block_on(async {
            let hung = || Err(Unmet::Failed("it hangs: nobody is woken any more".to_owned()));
            tokio::time::timeout(HUNG, check).await.unwrap_or_else(|_| hung())
        })
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(Unmet::Failed(panic_text(&*panic))))
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.unwrap_or_else(|| "(no message)".to_owned()))
}

/// The future's answer, or `Err` after `limit` of virtual time.
///
/// Unlike tokio's `timeout` it does not poll the future once more when the time is up: that would hide that nobody had
/// woken it.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Result<F::Output, ()> {
    tokio::select! {
        biased;
        () = tokio::time::sleep(limit) => Err(()),
        value = future => Ok(value),
    }
}

/// Ends a check as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::check::Unmet::Failed(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

/// Random numbers that are the same in every run (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Gives way to other tasks, or not.
    pub(crate) async fn maybe_yield(&mut self) {
        for _ in 0..self.below(3) {
            tokio::task::yield_now().await;
        }
    }
}

/// The checks of one group by name: as tests, or as a table of [`Check`]s. Not for use by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! __checks {
    (tests $area:ident $group:ident $subject:ty; $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                $crate::check::assert_holds(stringify!($check), &$crate::$area::$group::$check::<$subject>());
            }
        )*
    };
    (table $area:ident $group:ident $subject:ty; $($check:ident)*) => {
        vec![$($crate::check::Check { name: stringify!($check), run: $crate::$area::$group::$check::<$subject> }),*]
    };
}

/// The tests of one subject: `suite`, then the list of its checks, then its name.
#[doc(hidden)]
#[macro_export]
macro_rules! __suite {
    ($name:ident, $area:ident, $checks:ident, $kind:ident, $subject:ty, $list:ident) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "the subject may be named by a path of its own")]
            use super::*;
            $crate::$list!(list tests $subject);

            #[test]
            fn not_applicable() {
                let name = <$subject as $crate::$area::$kind>::NAME;
                $crate::check::list_not_applicable(name, &$crate::$area::$checks::all::<$subject>());
            }
        }
    };
}
