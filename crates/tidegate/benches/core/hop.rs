//! `hop_N`: a batch of N records, with its ticket, its lease and a charge to the account of the edge, sent and received
//! between two tasks; it then goes back to the sender over a shared list, which is part of the figure. `life_N`: the whole
//! life of a batch around one hop: a group is opened, a lease taken, the payload filled, sent, received, emptied, settled,
//! and its memory kept for the next.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tidegate::edge::{EdgeBudget, EdgeClock, EdgeRx, EdgeTx, Event, Surroundings, edge_in};
use tidegate::flow::{Account, AccountSpec, Meta, Spares, StageClock, Window, WindowSpec};
use tidegate::{Batch, Budget, Bytes, EdgeSpec, Items, Outcome, Payload as _, Time, Weight, mib};
use tokio::runtime::Runtime;

use crate::peers::{self, Crossfire, Tokio};
use crate::turns::{Case, Row, Target, Value, nanos_per_record, runtime};

pub(crate) fn rows() -> Vec<Row> {
    let (most, none) = (Target::AtMost, Target::None);
    vec![
        row("hop_1", &HOP, 1, 1, most(250.0)),
        row("hop_64", &HOP, 64, 1, most(10.0)),
        row("hop_256", &HOP, 256, 1, most(4.0)),
        row("hop_1_2t", &HOP, 1, 2, none),
        row("hop_64_2t", &HOP, 64, 2, none),
        row("hop_256_2t", &HOP, 256, 2, none),
        row("life_1", &LIFE, 1, 1, none),
        row("life_64", &LIFE, 64, 1, none),
        row("life_256", &LIFE, 256, 1, none),
    ]
}

/// What moves so many records in batches of such a size.
type Work = fn(&Runtime, u64, u64);

/// The same for us, tokio in batches, and crossfire in batches.
struct Kind {
    ours: Work,
    mpsc: Work,
    crossfire: Work,
}

const HOP: Kind = Kind { ours: hop, mpsc: peers::hop_again::<Tokio>, crossfire: peers::hop_again::<Crossfire> };
const LIFE: Kind = Kind { ours: life, mpsc: peers::hop_batches::<Tokio>, crossfire: peers::hop_batches::<Crossfire> };

fn row(name: &'static str, kind: &Kind, size: u64, threads: usize, target: Target) -> Row {
    let shared = Arc::new(runtime(threads));
    let case = |label, millions: u64, work: Work| {
        let shared = Arc::clone(&shared);
        // Two threads that wake each other are slow with small batches.
        let millions = if threads == 2 { millions.div_ceil(3) } else { millions };
        Case::new(label, millions, move |n| {
            let n = n.next_multiple_of(size);
            nanos_per_record(threads, n, || work(&shared, n, size))
        })
    };
    let batched = match size {
        1 => 5,
        64 => 100,
        _ => 200,
    };
    Row {
        name,
        unit: "ns/record",
        target,
        value: Value::First,
        cases: vec![
            case("tidegate", batched, kind.ours),
            case("mpsc_item", 10, peers::hop_items::<Tokio>),
            case("mpsc_batch", batched, kind.mpsc),
            case("crossfire_item", 10, peers::hop_items::<Crossfire>),
            case("crossfire_batch", batched, kind.crossfire),
        ],
    }
}

/// The clock of a stage: edges read the time that the stage read when it was polled.
struct CachedClock(StageClock);

impl EdgeClock for CachedClock {
    fn now(&self) -> Time {
        self.0.now()
    }
}

/// The accounts of two edges in a row: a batch that one pays for is charged to the other when it enters.
struct Charged([Account; 2]);

impl EdgeBudget<Batch<Items<u64>>> for Charged {
    fn charge(&self, batch: &mut Batch<Items<u64>>) -> bool {
        let [first, second] = &self.0;
        let paid_by_first = batch.lease.account().is_some_and(|account| account.is(first));
        batch.lease.rebind(if paid_by_first { second } else { first }).is_ok()
    }

    fn wake_when_free(&self, _batch: &Batch<Items<u64>>, waker: &Waker) {
        if self.0.iter().any(|account| account.poll_room(&mut Context::from_waker(waker), Bytes::new(1)).is_ready()) {
            waker.wake_by_ref();
        }
    }
}

/// What a batch needs around it.
struct Around {
    intake: Account,
    spares: Spares<Items<u64>>,
    window: Window<u64>,
    tx: EdgeTx<Batch<Items<u64>>>,
    rx: EdgeRx<Batch<Items<u64>>>,
}

fn around(size: u64) -> Around {
    let budget = Budget::new(mib(16)).child("bench", mib(16));
    let account = |name| budget.account(name, AccountSpec::holding(mib(2))).unwrap();
    let clock = Arc::new(CachedClock(StageClock::new(Time::ZERO, &[])));
    let charged = Charged([account("edge"), account("next edge")]);
    let surroundings = Surroundings { clock, budget: Some(Arc::new(charged)) };
    let (tx, rx) = edge_in(EdgeSpec::new("hop").records(peers::room(size)), surroundings).unwrap();
    Around {
        intake: account("intake"),
        spares: Spares::new(account("spares"), 1024),
        window: Window::new(WindowSpec { slots: 8192, bytes: mib(8), lanes: 4 }).unwrap(),
        tx,
        rx,
    }
}

impl Around {
    /// A batch that was read and paid for.
    fn batch(&self, start: u64, size: u64) -> Batch<Items<u64>> {
        let (mut payload, old) = self.spares.take().unwrap_or_default();
        drop(old);
        let mut lease = self.intake.try_lease(Bytes::new(size * 8)).unwrap();
        payload.extend(start..start + size);
        lease.resize(payload.retained_bytes()).unwrap();
        let weight = Weight::new(size, size * 8);
        let ticket = self.window.try_open(0, weight, Some(start + size), Time::ZERO).unwrap();
        Batch { payload, ticket, lease, meta: Meta::default() }
    }
}

fn hop(runtime: &Runtime, records: u64, size: u64) {
    let mut around = around(size);
    let made: Vec<_> = (0..2 * peers::room(size) / size).map(|number| around.batch(number * size, size)).collect();
    let idle = Arc::new(Mutex::new(made));
    let back = Arc::clone(&idle);
    let (_, closed) = edge_in(EdgeSpec::new("nothing"), Surroundings::default()).unwrap();
    let mut rx = std::mem::replace(&mut around.rx, closed);
    let send = async move {
        for _ in 0..records / size {
            let mut slot = idle.lock().unwrap().pop();
            assert!(slot.is_some(), "the edge holds no more than half of the batches");
            around.tx.send(&mut slot).await.unwrap();
        }
        around
    };
    let receive = async move {
        let mut sum = 0_u64;
        while let Event::Batch(batch) = rx.recv().await {
            sum = batch.payload.as_slice().iter().fold(sum, |sum, n| sum.wrapping_add(*n));
            back.lock().unwrap().push(batch);
        }
        black_box(sum);
    };
    run(runtime, async { drop(send.await) }, receive);
}

fn run(
    runtime: &Runtime,
    send: impl Future<Output = ()> + Send + 'static,
    receive: impl Future<Output = ()> + Send + 'static,
) {
    runtime.block_on(async {
        let (sender, receiver) = (tokio::spawn(send), tokio::spawn(receive));
        sender.await.unwrap();
        receiver.await.unwrap();
    });
}

fn life(runtime: &Runtime, records: u64, size: u64) {
    let mut around = around(size);
    let (_, closed) = edge_in(EdgeSpec::new("nothing"), Surroundings::default()).unwrap();
    let mut rx = std::mem::replace(&mut around.rx, closed);
    let (spares, window) = (around.spares.clone(), around.window.clone());
    let send = async move {
        for number in 0..records / size {
            let mut slot = Some(around.batch(number * size, size));
            around.tx.send(&mut slot).await.unwrap();
        }
    };
    let receive = async move {
        let mut sum = 0_u64;
        while let Event::Batch(batch) = rx.recv().await {
            let Batch { mut payload, ticket, lease, .. } = batch;
            sum = sum.wrapping_add(payload.drain().fold(0, u64::wrapping_add));
            spares.put(payload, lease);
            ticket.settle(Outcome::Delivered);
        }
        black_box((sum, window.take_settled()));
    };
    run(runtime, send, receive);
}
