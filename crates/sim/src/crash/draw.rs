//! What happens in a round, as data: all of it follows from its seed.

use std::time::Duration;

use super::cases::{CASES, Case};
use super::sink::Mode;
use crate::rng::Rng;

/// What is done to the program, its disk, its clock or its sink. In each round the process is killed and started again.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fault {
    /// SIGKILL at any moment.
    Kill,
    /// SIGKILL at this point of its log.
    At(&'static str),
    /// The sink freezes, and the process is killed meanwhile.
    Frozen,
    /// The sink closes connections, half of them with what it has taken.
    Broken,
    /// The sink answers 503, or closes connections.
    Refusing,
    /// The sink is slow all the time.
    Slow,
    /// The disk is full for a while.
    Full,
    /// What stands behind the last whole frame is garbage when it starts again, and so is a last frame that was not acked.
    TornTail,
    /// The clock is set while it runs, and is another one when it starts again.
    Clock,
}

const OF_A_LOG: [Fault; 8] = [
    Fault::At("append"),
    Fault::At("sync"),
    Fault::At("ack"),
    Fault::At("cursor"),
    Fault::At("unlink"),
    Fault::At("roll"),
    Fault::Full,
    Fault::TornTail,
];
const OF_ALL: [Fault; 3] = [Fault::Kill, Fault::Slow, Fault::Clock];
const OF_A_PEER: [Fault; 3] = [Fault::Frozen, Fault::Broken, Fault::Refusing];

impl Fault {
    /// As the table shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::At(point) => point,
            Self::Frozen => "sink_frozen",
            Self::Broken => "sink_broken",
            Self::Refusing => "sink_refuses",
            Self::Slow => "sink_slow",
            Self::Full => "disk_full",
            Self::TornTail => "torn_tail",
            Self::Clock => "clock",
        }
    }
}

/// Every pipeline with every fault that can befall it.
pub(super) fn pairs() -> Vec<(Case, Fault)> {
    let of = |case: Case| {
        let has_peer = case.sink != super::cases::End::File;
        let log = OF_A_LOG.into_iter().filter(move |_| case.disk);
        let peer = OF_A_PEER.into_iter().filter(move |_| has_peer && case.is_promised());
        let all = OF_ALL.into_iter().filter(move |fault| *fault != Fault::Slow || has_peer);
        all.chain(log).chain(peer).map(move |fault| (case, fault))
    };
    CASES.into_iter().flat_map(of).collect()
}

/// A round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) seed: u64,
    pub(super) case: Case,
    pub(super) fault: Fault,
    /// The sink sends one request at a time.
    pub(super) ordered: bool,
    pub(super) fsync: &'static str,
    /// Which passage of the point kills, and on which side of it.
    pub(super) count: u64,
    pub(super) before: bool,
    /// How long the fault lasts before the process is killed.
    pub(super) lasts: Duration,
    /// The sink while the process is killed at random.
    pub(super) mode: Mode,
    /// A second kill, so long after the start.
    pub(super) again: Option<Duration>,
    /// The shifts of the clock: while it runs, and from the second start on.
    pub(super) shifts: [String; 2],
    pub(super) dice: u64,
}

impl Round {
    /// The round of a seed: the pair is its remainder.
    pub(super) fn draw(seed: u64) -> Self {
        let pairs = pairs();
        let (case, fault) = pairs[usize::try_from(seed % pairs.len() as u64).unwrap_or(0)];
        let mut rng = Rng::new(seed);
        let rare = matches!(fault, Fault::At("unlink" | "roll"));
        let shift = |rng: &mut Rng| {
            let sign = if rng.percent(50) { '-' } else { '+' };
            format!("{sign}{}s", [1, 60, 3_600, 86_400 * 30][rng.below(4)])
        };
        Self {
            seed,
            case,
            fault,
            ordered: case.keeps_order() || rng.percent(60),
            fsync: if rng.percent(30) { "always" } else { "every 5ms" },
            count: rng.from_to(1, if rare { 4 } else { 40 }),
            before: rng.percent(40),
            lasts: Duration::from_millis(rng.from_to(150, 750)),
            mode: if rng.percent(50) { Mode::Slow } else { Mode::Frozen },
            again: rng.percent(40).then(|| Duration::from_millis(rng.from_to(0, 400))),
            shifts: [format!("{}@1s", shift(&mut rng)), shift(&mut rng)],
            dice: rng.next(),
        }
    }
}

/// The seeds of so many rounds: every fault and every pipeline as soon as can be, then every pair.
pub(super) fn seeds(base: u64, rounds: u64, wanted: impl Fn(Case, Fault) -> bool) -> Vec<u64> {
    let pairs = pairs();
    let count = pairs.len() as u64;
    let mut rng = Rng::new(base);
    let mut played: Vec<(Case, Fault, u64)> =
        pairs.iter().map(|(case, fault)| (*case, *fault, 0)).filter(|(case, fault, _)| wanted(*case, *fault)).collect();
    let mut seeds = Vec::new();
    while (seeds.len() as u64) < rounds && !played.is_empty() {
        let of_fault = |fault: Fault| played.iter().filter(|pair| pair.1 == fault).map(|pair| pair.2).sum::<u64>();
        let of_case = |case: Case| played.iter().filter(|pair| pair.0 == case).map(|pair| pair.2).sum::<u64>();
        let cost = |at: usize| {
            let (case, fault, times) = played[at];
            times * 1_000 + of_fault(fault) * 30 + of_case(case) * 20
        };
        let least = (0..played.len()).map(cost).min().unwrap_or(0);
        let best: Vec<usize> = (0..played.len()).filter(|at| cost(*at) == least).collect();
        let at = best[rng.below(best.len())];
        played[at].2 += 1;
        let pair = pairs.iter().position(|pair| (pair.0, pair.1) == (played[at].0, played[at].1)).unwrap_or(0);
        seeds.push((base.wrapping_mul(1_000) + seeds.len() as u64) * count + pair as u64);
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_round() {
        for seed in [0, 1, 4_711] {
            assert_eq!(format!("{:?}", Round::draw(seed)), format!("{:?}", Round::draw(seed)));
        }
    }

    #[test]
    fn twenty_rounds_have_every_fault_and_every_pipeline() {
        let rounds: Vec<Round> = seeds(1, 20, |_, _| true).into_iter().map(Round::draw).collect();
        assert_eq!(rounds.len(), 20);
        for case in CASES {
            assert!(rounds.iter().any(|round| round.case == case), "{}", case.name);
        }
        for fault in OF_A_LOG.into_iter().chain(OF_ALL).chain(OF_A_PEER) {
            assert!(rounds.iter().any(|round| round.fault == fault), "{fault:?}");
        }
    }

    #[test]
    fn many_rounds_play_every_pair() {
        let count = pairs().len();
        let mut all: Vec<_> = seeds(7, count as u64, |_, _| true).into_iter().map(Round::draw).collect();
        all.sort_by_key(|round| (round.case.name, round.fault));
        all.dedup_by_key(|round| (round.case.name, round.fault));
        assert_eq!(all.len(), count);
        assert!(
            seeds(1, 5, |case, _| case.name == "tcp_tcp_disk")
                .into_iter()
                .all(|seed| { Round::draw(seed).case.name == "tcp_tcp_disk" })
        );
    }
}
