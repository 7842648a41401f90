//! [`Jitter`]: how the pauses between tries are scattered, so that senders that failed together do not come back
//! together.

use std::time::Duration;

/// How the pauses between tries are scattered.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all: each pause is as long as its backoff says. The default.
    #[default]
    None,
    /// Each pause is anywhere from nothing to what its backoff says ("full jitter": Brooker, "Exponential Backoff And
    /// Jitter", AWS Architecture Blog, 2015). What a receiver asked for is still the least.
    Full {
        /// Where the chain of random choices begins; the same number gives the same pauses. Each of several sinks side
        /// by side has a chain of its own.
        seed: u64,
    },
}

/// The golden ratio, by which one chain is told from the next.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

impl Jitter {
    /// The jitter of one of several sinks side by side.
    pub(crate) fn of_sink(self, number: usize) -> Self {
        match self {
            Self::None => Self::None,
            Self::Full { seed } => Self::Full { seed: seed ^ STRIDE.rotate_left(17).wrapping_mul(number as u64) },
        }
    }

    /// The next pause, of at most `whole`.
    pub(crate) fn next(&mut self, whole: Duration) -> Duration {
        let Self::Full { seed } = self else { return whole };
        // SplitMix64 (Steele, Lea and Flood, 2014).
        *seed = seed.wrapping_add(STRIDE);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let share = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        whole.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_from_nothing_to_the_whole() {
        let whole = Duration::from_secs(10);
        let mut jitter = Jitter::Full { seed: 7 };
        let pauses: Vec<_> = (0..1_000).map(|_| jitter.next(whole)).collect();
        assert!(pauses.iter().all(|pause| *pause < whole));
        for tenth in 0..10 {
            let range = Duration::from_secs(tenth)..Duration::from_secs(tenth + 1);
            let inside = pauses.iter().filter(|pause| range.contains(pause)).count();
            assert!((60..140).contains(&inside), "{inside} of 1000 in {range:?}");
        }
    }

    #[test]
    fn without_it_pauses_are_whole_and_with_it_each_sink_has_its_own() {
        let whole = Duration::from_secs(10);
        assert_eq!(Jitter::None.next(whole), whole);
        let first = |number| Jitter::Full { seed: 7 }.of_sink(number).next(whole);
        assert_eq!(first(0), first(0), "the same seed");
        assert_ne!(first(0), first(1));
        assert_ne!(first(1), first(2));
    }
}
