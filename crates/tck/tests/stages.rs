//! The operators, sources and sinks of tidegate under the kit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]

use std::ops::Range;
use std::sync::PoisonError;

use tidegate_flow::{EdgeSpec, Items, Nack};
use tidegate_runtime::sink::{for_each, try_for_each};
use tidegate_runtime::source;
use tidegate_runtime::{EdgeFlow, Sink, Source};
use tidegate_tck::stage::{Received, SinkUnderTest, SourceUnderTest, TransformUnderTest};

/// The record at which the closures panic.
const POISON: u64 = 1_000_000;

macro_rules! transform {
    ($name:ident, $module:ident, |$flow:ident, $to:ident| $attach:expr, |$number:ident| $outputs:expr $(, $($more:tt)*)?) => {
        struct $name;

        impl TransformUnderTest for $name {
            type In = u64;
            type Out = u64;
            const NAME: &'static str = stringify!($module);

            fn attach($flow: EdgeFlow<Items<u64>>, $to: EdgeSpec) -> EdgeFlow<Items<u64>> {
                $attach
            }

            fn record(number: u64) -> u64 {
                number
            }

            fn outputs($number: u64) -> Vec<u64> {
                $outputs
            }

            $($($more)*)?
        }

        tidegate_tck::stage_suite!($module, $name);
    };
}

fn tested(number: u64) -> u64 {
    assert!(number != POISON, "the poisoned record");
    number
}

transform! { Pass, pass, |flow, to| flow.edge(to), |number| vec![number] }
transform! {
    Map, map, |flow, to| flow.map(|number| tested(number) * 2).edge(to), |number| vec![number * 2],
    fn poison() -> Option<u64> { Some(POISON) }
}
transform! {
    Filter, filter, |flow, to| flow.filter(|number| !tested(*number).is_multiple_of(3)).edge(to),
    |number| if !number.is_multiple_of(3) { vec![number] } else { vec![] },
    fn poison() -> Option<u64> { Some(POISON) }
}
transform! { FilterAll, filter_all, |flow, to| flow.filter(|_| false).edge(to), |_number| vec![] }
transform! {
    FilterMap, filter_map,
    |flow, to| flow.filter_map(|number| tested(number).is_multiple_of(2).then_some(number + 1)).edge(to),
    |number| if number.is_multiple_of(2) { vec![number + 1] } else { vec![] },
    fn poison() -> Option<u64> { Some(POISON) }
}
transform! {
    TryMap, try_map, |flow, to| flow.try_map(refuse_poison).edge(to), |number| vec![number],
    fn poison() -> Option<u64> { Some(POISON) }
}
transform! {
    Chain, chain,
    |flow, to| flow.map(|n| n + 1).filter(|n| tested(*n).is_multiple_of(2)).map(|n| n / 2).edge(to),
    |number| if number % 2 == 1 { vec![number.div_ceil(2)] } else { vec![] },
    fn poison() -> Option<u64> { Some(POISON - 1) }
}
transform! {
    FlatMap, flat_map, |flow, to| flow.flat_map(expand).edge(to), |number| expand(number).collect(),
    fn poison() -> Option<u64> { Some(POISON) }
    fn bulk() -> Option<(u64, usize)> { Some((MANY, COUNT)) }
}
transform! {
    TwoStages, two_stages,
    |flow, to| flow.map(|n| n + 1).edge(EdgeSpec::new("between").records(8)).map(|n| tested(n) * 2).edge(to),
    |number| vec![(number + 1) * 2],
    fn poison() -> Option<u64> { Some(POISON - 1) }
}

/// The record that becomes very many.
const MANY: u64 = COUNT as u64;
const COUNT: usize = 200_000;

fn expand(number: u64) -> Range<u64> {
    if number == MANY { 0..MANY } else { 0..tested(number) % 4 }
}

fn refuse_poison(number: u64) -> Result<u64, Nack> {
    if number == POISON { Err(Nack::permanent("poisoned")) } else { Ok(number) }
}

/// `source::iter`.
struct Iter;

impl SourceUnderTest for Iter {
    type Record = u64;
    const NAME: &'static str = "source::iter";

    fn make(records: Option<u64>) -> impl Source<Payload = Items<u64>> {
        source::iter(0..records.unwrap_or(u64::MAX))
    }

    fn number(record: &u64) -> u64 {
        *record
    }
}

tidegate_tck::source_suite!(iter, Iter);

/// `source::stream`, over a stream that is not always ready.
struct Stream;

impl SourceUnderTest for Stream {
    type Record = u64;
    const NAME: &'static str = "source::stream";

    fn make(records: Option<u64>) -> impl Source<Payload = Items<u64>> {
        let last = records.unwrap_or(u64::MAX);
        source::stream(futures_util::stream::unfold(0, move |number| async move {
            if number % 7 == 3 {
                tokio::task::yield_now().await;
            }
            (number < last).then_some((number, number + 1))
        }))
    }

    fn number(record: &u64) -> u64 {
        *record
    }
}

tidegate_tck::source_suite!(stream, Stream);

fn write_down(received: &Received, number: u64) {
    received.lock().unwrap_or_else(PoisonError::into_inner).push(tested(number));
}

/// `sink::for_each`.
struct Each;

impl SinkUnderTest for Each {
    type Record = u64;
    const NAME: &'static str = "sink::for_each";

    fn make(received: Received) -> impl Sink<Items<u64>> {
        for_each(move |number| write_down(&received, number))
    }

    fn record(number: u64) -> u64 {
        number
    }

    fn poison() -> Option<u64> {
        Some(POISON)
    }
}

tidegate_tck::sink_suite!(each, Each);

/// `sink::try_for_each`.
struct TryEach;

impl SinkUnderTest for TryEach {
    type Record = u64;
    const NAME: &'static str = "sink::try_for_each";

    fn make(received: Received) -> impl Sink<Items<u64>> {
        try_for_each(move |number: &u64| {
            if *number == POISON {
                return Err(Nack::permanent("poisoned"));
            }
            write_down(&received, *number);
            Ok(())
        })
    }

    fn record(number: u64) -> u64 {
        number
    }

    fn poison() -> Option<u64> {
        Some(POISON)
    }
}

tidegate_tck::sink_suite!(try_each, TryEach);
