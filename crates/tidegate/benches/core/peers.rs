//! What the rows are compared with: channels without credit in bytes, budget, acknowledgement or accounts of anything.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use tokio::runtime::Runtime;

/// The room that everybody is given, in records: that of an edge by default, but no more than 256 batches.
pub(crate) const fn room(size: u64) -> u64 {
    if size < 16 { 256 * size } else { 4096 }
}

/// The same in batches.
fn room_in_batches(size: u64) -> usize {
    usize::try_from(room(size) / size).unwrap_or(1)
}

/// The operators of `pipeline3`, the same for everybody.
pub(crate) fn change(n: u64) -> u64 {
    n.wrapping_mul(3).wrapping_add(1)
}

/// Keeps seven of eight.
pub(crate) fn keep(n: &u64) -> bool {
    n & 7 != 0
}

/// The two channels behind one face.
pub(crate) trait Channel<T>: 'static {
    type Tx: Send + 'static;
    type Rx: Send + 'static;
    fn make(room: usize) -> (Self::Tx, Self::Rx);
    fn send(tx: &mut Self::Tx, value: T) -> impl Future<Output = ()> + Send;
    fn recv(rx: &mut Self::Rx) -> impl Future<Output = Option<T>> + Send;
}

pub(crate) struct Tokio;
pub(crate) struct Crossfire;

impl<T: Send + 'static> Channel<T> for Tokio {
    type Tx = tokio::sync::mpsc::Sender<T>;
    type Rx = tokio::sync::mpsc::Receiver<T>;

    fn make(room: usize) -> (Self::Tx, Self::Rx) {
        tokio::sync::mpsc::channel(room)
    }

    async fn send(tx: &mut Self::Tx, value: T) {
        tx.send(value).await.unwrap_or_else(|_| panic!("the receiver is there"));
    }

    async fn recv(rx: &mut Self::Rx) -> Option<T> {
        rx.recv().await
    }
}

impl<T: Send + Unpin + 'static> Channel<T> for Crossfire {
    type Tx = crossfire::AsyncTx<crossfire::spsc::Array<T>>;
    type Rx = crossfire::AsyncRx<crossfire::spsc::Array<T>>;

    fn make(room: usize) -> (Self::Tx, Self::Rx) {
        crossfire::spsc::bounded_async(room)
    }

    async fn send(tx: &mut Self::Tx, value: T) {
        tx.send(value).await.unwrap_or_else(|_| panic!("the receiver is there"));
    }

    async fn recv(rx: &mut Self::Rx) -> Option<T> {
        rx.recv().await.ok()
    }
}

/// One hop, record by record.
pub(crate) fn hop_items<C: Channel<u64>>(runtime: &Runtime, records: u64, size: u64) {
    let (mut tx, mut rx) = C::make(usize::try_from(room(size)).unwrap());
    runtime.block_on(async {
        let sender = tokio::spawn(async move {
            for n in 0..records {
                C::send(&mut tx, n).await;
            }
        });
        let receiver = tokio::spawn(async move {
            let mut sum = 0_u64;
            while let Some(n) = C::recv(&mut rx).await {
                sum = sum.wrapping_add(n);
            }
            black_box(sum);
        });
        sender.await.unwrap();
        receiver.await.unwrap();
    });
}

/// One hop, in vectors of `size` records that go back to the sender over a shared list.
pub(crate) fn hop_again<C: Channel<Vec<u64>>>(runtime: &Runtime, records: u64, size: u64) {
    let (mut tx, mut rx) = C::make(room_in_batches(size));
    let made: Vec<Vec<u64>> = (0..2 * room_in_batches(size)).map(|_| (0..size).collect()).collect();
    let idle = Arc::new(Mutex::new(made));
    let back = Arc::clone(&idle);
    runtime.block_on(async {
        let sender = tokio::spawn(async move {
            for _ in 0..records / size {
                let batch = idle.lock().unwrap().pop().unwrap();
                C::send(&mut tx, batch).await;
            }
        });
        let receiver = tokio::spawn(async move {
            let mut sum = 0_u64;
            while let Some(batch) = C::recv(&mut rx).await {
                sum = batch.iter().fold(sum, |sum, n| sum.wrapping_add(*n));
                back.lock().unwrap().push(batch);
            }
            black_box(sum);
        });
        sender.await.unwrap();
        receiver.await.unwrap();
    });
}

/// One hop, in vectors of `size` records, each made by the sender and freed by the receiver.
pub(crate) fn hop_batches<C: Channel<Vec<u64>>>(runtime: &Runtime, records: u64, size: u64) {
    let (mut tx, mut rx) = C::make(room_in_batches(size));
    runtime.block_on(async {
        let sender = tokio::spawn(async move {
            for start in (0..records).step_by(usize::try_from(size).unwrap()) {
                C::send(&mut tx, (start..start + size).collect()).await;
            }
        });
        let receiver = tokio::spawn(async move {
            let mut sum = 0_u64;
            while let Some(batch) = C::recv(&mut rx).await {
                sum = sum.wrapping_add(batch.into_iter().fold(0, u64::wrapping_add));
            }
            black_box(sum);
        });
        sender.await.unwrap();
        receiver.await.unwrap();
    });
}

/// Three tasks and two channels, record by record.
pub(crate) fn pipeline_items<C: Channel<u64>>(runtime: &Runtime, records: u64) {
    let ((mut tx, mut middle_rx), (mut middle_tx, mut rx)) = (C::make(4096), C::make(4096));
    runtime.block_on(async {
        let tasks = [
            tokio::spawn(async move {
                for n in 0..records {
                    C::send(&mut tx, change(n)).await;
                }
            }),
            tokio::spawn(async move {
                while let Some(n) = C::recv(&mut middle_rx).await {
                    if keep(&n) {
                        C::send(&mut middle_tx, n).await;
                    }
                }
            }),
            tokio::spawn(async move {
                while let Some(n) = C::recv(&mut rx).await {
                    black_box(n);
                }
            }),
        ];
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Three tasks and two channels, in vectors of `size` records that are changed in place.
pub(crate) fn pipeline_batches<C: Channel<Vec<u64>>>(runtime: &Runtime, records: u64, size: u64) {
    let room = room_in_batches(size);
    let ((mut tx, mut middle_rx), (mut middle_tx, mut rx)) = (C::make(room), C::make(room));
    runtime.block_on(async {
        let tasks = [
            tokio::spawn(async move {
                for start in (0..records).step_by(usize::try_from(size).unwrap()) {
                    C::send(&mut tx, (start..start + size).map(change).collect()).await;
                }
            }),
            tokio::spawn(async move {
                while let Some(mut batch) = C::recv(&mut middle_rx).await {
                    batch.retain(keep);
                    C::send(&mut middle_tx, batch).await;
                }
            }),
            tokio::spawn(async move {
                while let Some(batch) = C::recv(&mut rx).await {
                    for n in batch {
                        black_box(n);
                    }
                }
            }),
        ];
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// The same operators as a chain of streams: one task and no queue at all.
pub(crate) fn pipeline_stream(runtime: &Runtime, records: u64) {
    let chain = stream::iter(0..records).map(change).filter(|n| std::future::ready(keep(n)));
    runtime.block_on(chain.for_each(|n| {
        black_box(n);
        std::future::ready(())
    }));
}
