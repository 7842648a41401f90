//! `settle`: opening a group and settling its ticket, per record of a batch of 64, with commits taken as they come.

use std::hint::black_box;

use tidegate::flow::{Window, WindowSpec};
use tidegate::{Outcome, Time, Weight, mib};

use crate::turns::{Case, Row, Target, Value, nanos_per_record};

const BATCH: u64 = 64;

pub(crate) fn row() -> Row {
    Row {
        name: "settle",
        unit: "ns/record",
        target: Target::AtMost(1.0),
        value: Value::First,
        cases: vec![Case::new("tidegate", 1000, |n| nanos_per_record(1, n, || open_and_settle(n)))],
    }
}

fn open_and_settle(records: u64) {
    let window: Window<u64> = Window::new(WindowSpec { slots: 1024, bytes: mib(16), lanes: 4 }).unwrap();
    let weight = Weight::new(BATCH, BATCH * 8);
    // Sixteen batches are in flight at a time, and settle in the order in which they came.
    let mut in_flight = std::collections::VecDeque::with_capacity(16);
    for batch in 0..records / BATCH {
        if in_flight.len() == 16 {
            let ticket: tidegate::flow::Ticket = in_flight.pop_front().unwrap();
            ticket.settle(Outcome::Delivered);
        }
        in_flight.push_back(window.try_open(0, weight, Some(batch), Time::ZERO).unwrap());
        if batch % 16 == 0 {
            black_box(window.take_settled());
        }
    }
    in_flight.into_iter().for_each(|ticket| ticket.settle(Outcome::Delivered));
}
