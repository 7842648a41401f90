//! Settlement against a plain reference model.
//!
//! The model keeps every row as an object of its own: a forked or expanded row waits for its children, a joined row
//! for all outputs of the join, and a record ends with the worst of what its rows ended with. Random sequences of every
//! operation on tickets run on both; after each step all counts, the window's bounds, wake-ups and reports must agree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![cfg(not(tidegate_loom))]

mod settle_model {
    pub(crate) mod reference;
    pub(crate) mod system;
}

use proptest::prelude::*;
use settle_model::system::{Op, System};
use tidegate_flow::{Nack, Outcome, Verdict};

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => prop::sample::select(Outcome::ALL.to_vec()).prop_map(Verdict::from),
        1 => (0u8..100).prop_map(|cause| Nack::transient(format!("slow {cause}")).into()),
        1 => (0u8..100).prop_map(|cause| Nack::permanent(format!("bad {cause}")).into()),
        4 => Just(Verdict::from(Outcome::Delivered)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let ticket = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0usize..2, 0u8..2, 0u32..7, 0u64..140, any::<bool>(), any::<bool>()).prop_map(
            |(source, lane, records, bytes, positioned, watched)| Op::Open {
                source, lane, records, bytes, positioned, watched
            }
        ),
        1 => (0u32..4, any::<bool>()).prop_map(|(records, observed)| Op::Detached { records, observed }),
        4 => (ticket(), ticket()).prop_map(|(ticket, at)| Op::Split { ticket, at }),
        4 => (ticket(), ticket()).prop_map(|(to, from)| Op::Append { to, from }),
        5 => (ticket(), any::<u64>(), verdict()).prop_map(|(ticket, mask, verdict)| Op::SettleRows {
            ticket, mask, verdict
        }),
        4 => (ticket(), prop::collection::vec(0u32..4, 1..5)).prop_map(|(ticket, counts)| Op::Expand {
            ticket, counts
        }),
        4 => (ticket(), 0usize..4).prop_map(|(ticket, required)| Op::Fork { ticket, required }),
        2 => (prop::collection::vec(ticket(), 0..4), 0u32..4).prop_map(|(tickets, outputs)| Op::Join {
            tickets, outputs
        }),
        7 => (ticket(), verdict()).prop_map(|(ticket, verdict)| Op::Settle { ticket, verdict }),
        1 => ticket().prop_map(|ticket| Op::Drop { ticket }),
        4 => (0usize..2).prop_map(|source| Op::Take { source }),
    ]
}

/// How many random sequences: enough to kill every planted bug within seconds; `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(600);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn settlement_agrees_with_the_model(ops in prop::collection::vec(op(), 1..80)) {
        let mut system = System::new();
        for op in ops {
            system.apply(op);
            system.check();
        }
        system.drop_everything();
    }
}
