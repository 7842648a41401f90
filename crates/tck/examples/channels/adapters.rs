//! What it takes to put a channel under the kit: a few lines for each.

use tidegate_tck::edge::{EdgeUnderTest, Feature, Got, Item, Refused, RxUnderTest, Spec, TxUnderTest};
use tokio::sync::mpsc;

const ONLY_COUNTS: &str = "it counts messages, not what they weigh";
const ONLY_BLOCKS: &str = "a full channel makes its producers wait; there is no other policy";
const FIXED: &str = "its capacity is fixed";
const NO_CAUSE: &str = "it ends, but not with a cause";
const NO_CONTROL: &str = "it has one queue";
const SILENT: &str = "it does not say how full is too full";
const NO_READY: &str = "there is no waiting for room without an item";
const ALLOCATES: &str = "it allocates its whole capacity when it is made";
const NO_CLOSE: &str = "its consumer can only be dropped";

/// What none of the channels has.
macro_rules! lacks {
    ($($more:expr),*) => {
        &[
            (Feature::Bytes, ONLY_COUNTS),
            (Feature::RecordWeight, ONLY_COUNTS),
            (Feature::Resize, FIXED),
            (Feature::Failure, NO_CAUSE),
            (Feature::Control, NO_CONTROL),
            (Feature::Pressure, SILENT),
            (Feature::DropNewest, ONLY_BLOCKS),
            (Feature::DropOldest, ONLY_BLOCKS),
            (Feature::Sample, ONLY_BLOCKS),
            (Feature::FailFast, ONLY_BLOCKS),
            (Feature::Divert, ONLY_BLOCKS),
            $($more),*
        ]
    };
}

fn capacity(spec: Spec) -> usize {
    usize::try_from(spec.window.records).unwrap_or(usize::MAX)
}

fn received(item: Option<Item>) -> Got {
    item.map_or(Got::Completed, Got::Item)
}

/// Gives a refused item back to its owner.
fn back(slot: &mut Option<Item>, item: Item, why: Refused) -> Result<(), Refused> {
    *slot = Some(item);
    Err(why)
}

/// `tokio::sync::mpsc` with `send`.
pub(crate) struct Tokio;

pub(crate) struct TokioTx(mpsc::Sender<Item>);
pub(crate) struct TokioRx(mpsc::Receiver<Item>);

impl EdgeUnderTest for Tokio {
    type Tx = TokioTx;
    type Rx = TokioRx;
    const NAME: &'static str = "tokio mpsc, send";
    const LACKS: &'static [(Feature, &'static str)] = lacks![
        (Feature::Ready, "only `reserve` waits for room; see the other column"),
        (Feature::AnyWindow, "its capacity is at most `Semaphore::MAX_PERMITS`")
    ];

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let (tx, rx) = mpsc::channel(capacity(spec));
        (TokioTx(tx), TokioRx(rx))
    }
}

fn tokio_try_send(tx: &mpsc::Sender<Item>, slot: &mut Option<Item>) -> Result<(), Refused> {
    let Some(item) = slot.take() else { return Ok(()) };
    tx.try_send(item).or_else(|error| match error {
        mpsc::error::TrySendError::Full(item) => back(slot, item, Refused::Full),
        mpsc::error::TrySendError::Closed(item) => back(slot, item, Refused::Closed),
    })
}

impl TxUnderTest for TokioTx {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.send(item).await.or_else(|error| back(slot, error.0, Refused::Closed))
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        tokio_try_send(&self.0, slot)
    }

    fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

impl RxUnderTest for TokioRx {
    async fn recv(&mut self) -> Got {
        received(self.0.recv().await)
    }

    fn close(&mut self) {
        self.0.close();
    }
}

/// `tokio::sync::mpsc` with `reserve`: a producer that was told of room holds a permit until it sends.
pub(crate) struct TokioReserve;

pub(crate) struct TokioReserveTx {
    tx: mpsc::Sender<Item>,
    permit: Option<mpsc::OwnedPermit<Item>>,
}

impl EdgeUnderTest for TokioReserve {
    type Tx = TokioReserveTx;
    type Rx = TokioRx;
    const NAME: &'static str = "tokio mpsc, reserve";
    const LACKS: &'static [(Feature, &'static str)] =
        lacks![(Feature::AnyWindow, "its capacity is at most `Semaphore::MAX_PERMITS`")];

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let (tx, rx) = mpsc::channel(capacity(spec));
        (TokioReserveTx { tx, permit: None }, TokioRx(rx))
    }
}

impl TxUnderTest for TokioReserveTx {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        if self.permit.is_none() {
            self.ready().await;
        }
        let (Some(permit), Some(item)) = (self.permit.take(), slot.take_if(|_| !self.tx.is_closed())) else {
            return Err(Refused::Closed);
        };
        permit.send(item);
        Ok(())
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        tokio_try_send(&self.tx, slot)
    }

    fn another(&self) -> Self {
        Self { tx: self.tx.clone(), permit: None }
    }

    async fn ready(&mut self) {
        self.permit = self.tx.clone().reserve_owned().await.ok();
    }
}

/// `async_channel`.
pub(crate) struct AsyncChannel;

pub(crate) struct AsyncChannelTx(async_channel::Sender<Item>);
pub(crate) struct AsyncChannelRx(async_channel::Receiver<Item>);

impl EdgeUnderTest for AsyncChannel {
    type Tx = AsyncChannelTx;
    type Rx = AsyncChannelRx;
    const NAME: &'static str = "async-channel";
    const LACKS: &'static [(Feature, &'static str)] =
        lacks![(Feature::Ready, NO_READY), (Feature::AnyWindow, ALLOCATES)];

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let (tx, rx) = async_channel::bounded(capacity(spec));
        (AsyncChannelTx(tx), AsyncChannelRx(rx))
    }
}

impl TxUnderTest for AsyncChannelTx {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.send(item).await.or_else(|error| back(slot, error.0, Refused::Closed))
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.try_send(item).or_else(|error| match error {
            async_channel::TrySendError::Full(item) => back(slot, item, Refused::Full),
            async_channel::TrySendError::Closed(item) => back(slot, item, Refused::Closed),
        })
    }

    fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

impl RxUnderTest for AsyncChannelRx {
    async fn recv(&mut self) -> Got {
        received(self.0.recv().await.ok())
    }

    fn close(&mut self) {
        self.0.close();
    }
}

/// `flume`.
pub(crate) struct Flume;

pub(crate) struct FlumeTx(flume::Sender<Item>);
pub(crate) struct FlumeRx(flume::Receiver<Item>);

impl EdgeUnderTest for Flume {
    type Tx = FlumeTx;
    type Rx = FlumeRx;
    const NAME: &'static str = "flume";
    const LACKS: &'static [(Feature, &'static str)] = lacks![
        (Feature::Ready, NO_READY),
        (Feature::AnyWindow, "a capacity of `usize::MAX` overflows a sum inside it, which ends the process"),
        (Feature::Close, NO_CLOSE)
    ];

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let (tx, rx) = flume::bounded(capacity(spec));
        (FlumeTx(tx), FlumeRx(rx))
    }
}

impl TxUnderTest for FlumeTx {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.send_async(item).await.or_else(|error| back(slot, error.0, Refused::Closed))
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.try_send(item).or_else(|error| match error {
            flume::TrySendError::Full(item) => back(slot, item, Refused::Full),
            flume::TrySendError::Disconnected(item) => back(slot, item, Refused::Closed),
        })
    }

    fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

impl RxUnderTest for FlumeRx {
    async fn recv(&mut self) -> Got {
        received(self.0.recv_async().await.ok())
    }
}

/// `crossfire::mpsc`.
pub(crate) struct Crossfire;

type Array = crossfire::mpsc::Array<Item>;
pub(crate) struct CrossfireTx(crossfire::MAsyncTx<Array>);
pub(crate) struct CrossfireRx(crossfire::AsyncRx<Array>);

impl EdgeUnderTest for Crossfire {
    type Tx = CrossfireTx;
    type Rx = CrossfireRx;
    const NAME: &'static str = "crossfire";
    const LACKS: &'static [(Feature, &'static str)] =
        lacks![(Feature::Ready, NO_READY), (Feature::AnyWindow, ALLOCATES), (Feature::Close, NO_CLOSE)];

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let (tx, rx) = crossfire::mpsc::bounded_async(capacity(spec));
        (CrossfireTx(tx), CrossfireRx(rx))
    }
}

impl TxUnderTest for CrossfireTx {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.send(item).await.or_else(|error| back(slot, error.0, Refused::Closed))
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        let Some(item) = slot.take() else { return Ok(()) };
        self.0.try_send(item).or_else(|error| match error {
            crossfire::TrySendError::Full(item) => back(slot, item, Refused::Full),
            crossfire::TrySendError::Disconnected(item) => back(slot, item, Refused::Closed),
        })
    }

    fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

impl RxUnderTest for CrossfireRx {
    async fn recv(&mut self) -> Got {
        received(self.0.recv().await.ok())
    }
}
