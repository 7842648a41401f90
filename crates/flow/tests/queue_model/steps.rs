//! What is done to an edge, at random.

use proptest::prelude::*;
use tidegate_flow::queue::{EdgeSpec, OnFull, SampleRate};
use tidegate_flow::{Bytes, Weight};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send { who: usize, records: u64, bytes: u64, lane: u8, bucket: u8, expires_in: Option<u64> },
    TrySend { who: usize, records: u64, bytes: u64, lane: u8 },
    Resend { who: usize },
    Cancel { who: usize },
    Room { who: usize },
    Take,
    TakeAll,
    Window { records: u64, bytes: u64 },
    Wait { nanos: u64 },
    Memory { free: bool },
    Control,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = 0..4_usize;
    let records = prop_oneof![8 => 1..5_u64, 1 => 10..60_u64];
    let bytes = prop_oneof![8 => 0..60_u64, 1 => 100..3000_u64];
    prop_oneof![
        12 => (who.clone(), records.clone(), bytes.clone(), 0..5_u8, 0..6_u8, prop::option::weighted(0.2, 0..50_u64))
            .prop_map(|(who, records, bytes, lane, bucket, expires_in)| Step::Send {
                who, records, bytes, lane, bucket, expires_in
            }),
        2 => (who.clone(), records, bytes, 0..3_u8)
            .prop_map(|(who, records, bytes, lane)| Step::TrySend { who, records, bytes, lane }),
        3 => who.clone().prop_map(|who| Step::Resend { who }),
        2 => who.clone().prop_map(|who| Step::Cancel { who }),
        1 => who.prop_map(|who| Step::Room { who }),
        10 => Just(Step::Take),
        1 => Just(Step::TakeAll),
        1 => (1..40_u64, 1..800_u64).prop_map(|(records, bytes)| Step::Window { records, bytes }),
        2 => (0..40_u64).prop_map(|nanos| Step::Wait { nanos }),
        1 => any::<bool>().prop_map(|free| Step::Memory { free }),
        1 => Just(Step::Control),
    ]
}

fn policy() -> impl Strategy<Value = OnFull> {
    prop_oneof![
        4 => Just(OnFull::Block { max: None }),
        1 => Just(OnFull::DropNewest),
        2 => Just(OnFull::DropOldest),
        1 => (0..=10_u8).prop_map(|tenths| OnFull::Sample(SampleRate::Ratio(f64::from(tenths) / 10.0))),
        1 => Just(OnFull::Sample(SampleRate::RisingWithFill)),
        1 => Just(OnFull::Fail),
        1 => Just(OnFull::Divert),
    ]
}

pub(crate) fn spec() -> impl Strategy<Value = EdgeSpec> {
    let floors = prop_oneof![
        2 => Just(vec![0]),
        1 => Just(vec![0, 0]),
        1 => Just(vec![0, 20]),
        1 => Just(vec![10, 20, 0, 30]),
    ];
    let buckets = prop_oneof![Just(1_u8), Just(3_u8)];
    (policy(), floors, buckets, 1..40_u64, 1..800_u64).prop_map(|(when_full, floors, buckets, records, bytes)| {
        EdgeSpec::new("model")
            .window(Weight::new(records, bytes))
            .on_full(when_full)
            .lanes(&floors)
            .buckets(buckets)
            .quantum(Bytes::new(50))
            .control_capacity(1000)
    })
}
