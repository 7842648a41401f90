//! `fused_static` and `fused_boxed`: five operators in one task, over what the same closures cost in an iterator chain.

use std::hint::black_box;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidegate::flow::FlowChange;
use tidegate::records;
use tidegate::testkit::lone_context;
use tidegate::{Batch, BoxTransform, Items, Outcome, Records, StageContext, Step, Transform};

use crate::turns::{Case, Row, Target, Value, nanos_per_record};

const BATCH: u64 = 256;

fn add(n: u64) -> u64 {
    n.wrapping_add(7)
}
fn mix(n: u64) -> u64 {
    n ^ (n >> 3)
}
fn scale(n: u64) -> u64 {
    n.wrapping_mul(5)
}
fn odd_enough(n: &u64) -> bool {
    n & 15 != 0
}
fn last(n: u64) -> u64 {
    n.rotate_left(9)
}

pub(crate) fn rows() -> Vec<Row> {
    let target = Target::AtMost(3.0);
    let row = |name, case| Row {
        name,
        unit: "ns/record",
        target,
        value: Value::Over,
        cases: vec![
            case,
            Case::new("plain_iterator", 400, |n| nanos_per_record(1, n, || plain(n))),
            Case::new("futures_stream", 200, |n| nanos_per_record(1, n, || streamed(n))),
        ],
    };
    vec![
        row("fused_static", Case::new("tidegate", 200, |n| nanos_per_record(1, n, || fused(n)))),
        row("fused_boxed", Case::new("tidegate", 100, |n| nanos_per_record(1, n, || boxed(n)))),
    ]
}

/// What every case does around its operators: fills a batch, and looks at every record that is left.
fn plain(records: u64) {
    let mut rows: Vec<u64> = Vec::new();
    for start in (0..records).step_by(BATCH as usize) {
        rows.extend(start..start + BATCH);
        black_box(&mut rows);
        rows.drain(..).map(add).map(mix).filter(odd_enough).map(scale).map(last).for_each(|n| {
            black_box(n);
        });
    }
}

fn streamed(records: u64) {
    let mut rows: Vec<u64> = Vec::new();
    for start in (0..records).step_by(BATCH as usize) {
        rows.extend(start..start + BATCH);
        black_box(&mut rows);
        stream::iter(rows.drain(..))
            .map(add)
            .map(mix)
            .filter(|n| std::future::ready(odd_enough(n)))
            .map(scale)
            .map(last)
            .for_each(|n| {
                black_box(n);
                std::future::ready(())
            })
            .now_or_never()
            .unwrap();
    }
}

fn fused(records_in_all: u64) {
    let chain = records().map(add).map(mix).filter(odd_enough).map(scale).map(last);
    drive(&mut [chain], records_in_all);
}

fn boxed(records_in_all: u64) {
    let mut chain: [BoxTransform<Items<u64>>; 5] = [
        Box::new(records().map(add)),
        Box::new(records().map(mix)),
        Box::new(records().filter(odd_enough)),
        Box::new(records().map(scale)),
        Box::new(records().map(last)),
    ];
    drive(&mut chain, records_in_all);
}

/// Takes batches through the transforms, the way a stage does.
fn drive<T: Transform<Items<u64>, Out = Items<u64>>>(chain: &mut [T], records: u64) {
    let mut cx = lone_context("bench").unwrap();
    chain.iter_mut().for_each(|transform| transform.open(&cx));
    let spares = cx.spares::<Items<u64>>();
    for start in (0..records).step_by(BATCH as usize) {
        let (mut payload, lease) = spares.take().unwrap_or_default();
        payload.extend(start..start + BATCH);
        black_box(&mut payload);
        let mut batch = Batch { lease, ..Batch::detached(payload) };
        count(
            &cx,
            |flows, taken| {
                flows.input += taken;
                flows.held += taken;
            },
            &batch,
        );
        for transform in chain.iter_mut() {
            batch = step(transform, batch, &mut cx);
        }
        count(
            &cx,
            |flows, sent| {
                flows.output += sent;
                flows.held -= sent;
            },
            &batch,
        );
        batch.payload.drain().for_each(|n| {
            black_box(n);
        });
        batch.ticket.settle(Outcome::Delivered);
        spares.put(batch.payload, batch.lease);
    }
}

/// Counts a batch, as the stage around the transforms does.
fn count(cx: &StageContext, change: impl FnOnce(&mut FlowChange, Records), batch: &Batch<Items<u64>>) {
    let records = Records::new(u64::from(batch.records()));
    cx.counter().record(|flows| change(flows, records));
}

fn step<T: Transform<Items<u64>, Out = Items<u64>>>(
    transform: &mut T,
    batch: Batch<Items<u64>>,
    cx: &mut StageContext,
) -> Batch<Items<u64>> {
    let mut out = None;
    let step = transform.process(batch, &mut out, cx);
    assert_eq!(step, Step::Done);
    out.unwrap()
}
