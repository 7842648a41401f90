//! The edge of tidegate as a subject.

use std::future::Future;

use tidegate_flow::queue::{Control, EdgeSpec, Level, OnFull, SampleRate};
use tidegate_flow::{Bytes, Weight};
use tidegate_runtime::edge::{EdgeRx, EdgeTx, Event, SendError, edge};

use super::{EdgeUnderTest, Got, Item, Refused, RxUnderTest, Spec, TxUnderTest, WhenFull, Window};

/// The edge of `tidegate_runtime`. It lacks nothing.
pub struct Tidegate;

impl EdgeUnderTest for Tidegate {
    type Tx = EdgeTx<Item>;
    type Rx = EdgeRx<Item>;
    const NAME: &'static str = "tidegate edge";

    fn make(spec: Spec) -> (Self::Tx, Self::Rx) {
        let when_full = match spec.when_full {
            WhenFull::Block => OnFull::Block { max: None },
            WhenFull::DropNewest => OnFull::DropNewest,
            WhenFull::DropOldest => OnFull::DropOldest,
            WhenFull::Sample => OnFull::Sample(SampleRate::Ratio(0.5)),
            WhenFull::Fail => OnFull::Fail,
            WhenFull::Divert => OnFull::Divert,
        };
        let wanted = EdgeSpec::new("under-test")
            .records(spec.window.records)
            .bytes(Bytes::new(spec.window.bytes))
            .high_water(0.75)
            .low_water(0.25)
            .max_producers(4096)
            .on_full(when_full);
        edge(wanted).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn refused(error: &SendError) -> Refused {
    match error {
        SendError::Closed { .. } => Refused::Closed,
        SendError::Full { .. } | SendError::Timeout { .. } | SendError::NoDivert { .. } => Refused::Full,
    }
}

fn got(event: Event<Item>) -> Got {
    match event {
        Event::Batch(item) => Got::Item(item),
        Event::Control(Control::Checkpoint(number)) => Got::Control(number),
        Event::Control(Control::Flush | Control::Drain) => Got::Control(u64::MAX),
        Event::Completed => Got::Completed,
        Event::Failed(cause) => Got::Failed(cause.to_string()),
    }
}

impl TxUnderTest for EdgeTx<Item> {
    async fn send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        self.send(slot).await.map(drop).map_err(|error| refused(&error))
    }

    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused> {
        self.try_send(slot).map(drop).map_err(|error| refused(&error))
    }

    fn another(&self) -> Self {
        self.try_clone().unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn ready(&mut self) -> impl Future<Output = ()> + Send {
        self.ready()
    }

    fn fail(&mut self, cause: &str) {
        self.fail(cause.to_owned());
    }

    fn control(&mut self, message: u64) {
        self.send_control(Control::Checkpoint(message)).unwrap_or_else(|error| panic!("{error:?}"));
    }

    fn is_pressured(&self) -> bool {
        self.pressure() != Level::Normal
    }

    fn resize(&mut self, window: Window) {
        self.handle().set_window(Weight::new(window.records, window.bytes));
    }

    fn divert_to(&mut self, target: Self) {
        self.bind_divert(target).unwrap_or_else(|error| panic!("{error}"));
    }
}

impl RxUnderTest for EdgeRx<Item> {
    async fn recv(&mut self) -> Got {
        got(self.recv().await)
    }

    fn close(&mut self) {
        self.close();
    }
}
