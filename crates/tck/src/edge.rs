//! Checks of edges and of any other bounded channel.
//!
//! Implement [`EdgeUnderTest`] for a type of your own (it is only a name for the channel), list what your channel does
//! not have in [`EdgeUnderTest::LACKS`], and write [`edge_suite!`](crate::edge_suite) in a test file. The numbers are
//! those of `docs/tck.md`.

pub mod checks;
mod item;
mod ours;

pub use item::{Census, Item};
pub use ours::Tidegate;

use std::future::Future;

use crate::check::Unmet;

/// How much a channel may hold.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Records; where a channel counts messages, messages.
    pub records: u64,
    /// Bytes; only for channels that have [`Feature::Bytes`].
    pub bytes: u64,
}

/// What a full channel does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Its producers wait.
    Block,
    /// The incoming item is given up ([`Feature::DropNewest`]).
    DropNewest,
    /// The oldest item is given up ([`Feature::DropOldest`]).
    DropOldest,
    /// Half of what comes while the channel is pressured is given up ([`Feature::Sample`]).
    Sample,
    /// `send` fails at once with [`Refused::Full`] ([`Feature::FailFast`]).
    Fail,
    /// The item goes to the channel given with [`TxUnderTest::divert_to`] ([`Feature::Divert`]).
    Divert,
}

/// The channel that a check asks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// How much it may hold.
    pub window: Window,
    /// What it does when that is full.
    pub when_full: WhenFull,
}

/// What a channel may have beyond sending and receiving one at a time.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Its window counts bytes as well.
    Bytes,
    /// An item may stand for several records, and each counts.
    RecordWeight,
    /// There may be several producers.
    ManyProducers,
    /// A producer can wait for room before it has an item.
    Ready,
    /// A window of any size, up to `u64::MAX`.
    AnyWindow,
    /// The window can be changed.
    Resize,
    /// The consumer can close it and still receive what is in it.
    Close,
    /// A producer can end it with a cause.
    Failure,
    /// Control messages overtake data and need no room.
    Control,
    /// It says when it is pressured, between a high and a low mark.
    Pressure,
    /// [`WhenFull::DropNewest`].
    DropNewest,
    /// [`WhenFull::DropOldest`].
    DropOldest,
    /// [`WhenFull::Sample`].
    Sample,
    /// [`WhenFull::Fail`].
    FailFast,
    /// [`WhenFull::Divert`].
    Divert,
}

/// Why an item was not sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room, and this call does not wait.
    Full,
    /// The consumer is gone or has closed the channel.
    Closed,
}

/// What was received.
#[derive(Debug)]
pub enum Got {
    /// An item.
    Item(Item),
    /// A control message.
    Control(u64),
    /// All producers are gone, and everything was received.
    Completed,
    /// A producer ended the channel with this cause, and everything was received.
    Failed(String),
}

/// A bounded channel that the checks can run on.
pub trait EdgeUnderTest: 'static {
    /// The producer's end.
    type Tx: TxUnderTest;
    /// The consumer's end.
    type Rx: RxUnderTest;
    /// What it is called in the results.
    const NAME: &'static str;
    /// What it does not have, each with the reason that the results are to give. Everything else is checked.
    const LACKS: &'static [(Feature, &'static str)] = &[];

    /// Makes one. Called within a tokio runtime with paused time.
    fn make(spec: Spec) -> (Self::Tx, Self::Rx);
}

/// The producer's end. Dropping the last one completes the channel.
pub trait TxUnderTest: Send + 'static {
    /// Sends the item in `slot`, waiting for room. An item that was not sent must be in the slot afterwards, however
    /// the future ended, cancelled ones included.
    fn send(&mut self, slot: &mut Option<Item>) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Sends the item in `slot` if that needs no waiting.
    ///
    /// # Errors
    /// Why not; the item is still in the slot.
    fn try_send(&mut self, slot: &mut Option<Item>) -> Result<(), Refused>;

    /// Another producer ([`Feature::ManyProducers`]).
    #[must_use]
    fn another(&self) -> Self
    where
        Self: Sized,
    {
        missing(Feature::ManyProducers)
    }

    /// Waits until there is room ([`Feature::Ready`]).
    fn ready(&mut self) -> impl Future<Output = ()> + Send {
        async { missing(Feature::Ready) }
    }

    /// Ends the channel with a cause ([`Feature::Failure`]).
    fn fail(&mut self, _cause: &str) {
        missing(Feature::Failure)
    }

    /// Sends a control message ([`Feature::Control`]).
    fn control(&mut self, _message: u64) {
        missing(Feature::Control)
    }

    /// Whether it is pressured ([`Feature::Pressure`]). The marks are at three quarters and one quarter of the window.
    fn is_pressured(&self) -> bool {
        missing(Feature::Pressure)
    }

    /// Changes the window ([`Feature::Resize`]).
    fn resize(&mut self, _window: Window) {
        missing(Feature::Resize)
    }

    /// Where items go that do not fit ([`Feature::Divert`]).
    fn divert_to(&mut self, _target: Self)
    where
        Self: Sized,
    {
        missing(Feature::Divert)
    }
}

/// The consumer's end. Dropping it cancels the channel.
pub trait RxUnderTest: Send + 'static {
    /// Receives what is next.
    fn recv(&mut self) -> impl Future<Output = Got> + Send;

    /// Takes no more in ([`Feature::Close`]); what is in the channel can still be received.
    fn close(&mut self) {
        missing(Feature::Close)
    }
}

/// A subject that does not list a feature as lacking must have it.
fn missing(feature: Feature) -> ! {
    panic!("{feature:?} is neither implemented nor listed in LACKS; do one of them")
}

impl Spec {
    /// A channel that blocks, for this many records and 1 MiB.
    #[must_use]
    pub const fn records(records: u64) -> Self {
        Self { window: Window { records, bytes: 1 << 20 }, when_full: WhenFull::Block }
    }

    /// The same with this many bytes.
    #[must_use]
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.window.bytes = bytes;
        self
    }

    /// The same with this policy.
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }
}

/// Whether the subject has a feature.
#[must_use]
pub fn has<E: EdgeUnderTest>(feature: Feature) -> bool {
    E::LACKS.iter().all(|(lacking, _)| *lacking != feature)
}

/// Ends a check as not applicable unless the subject has the feature.
fn needs<E: EdgeUnderTest>(feature: Feature) -> Result<(), Unmet> {
    match E::LACKS.iter().find(|(lacking, _)| *lacking == feature) {
        None => Ok(()),
        Some((_, why)) => Err(Unmet::NotApplicable { feature: format!("{feature:?}"), why: (*why).to_owned() }),
    }
}

/// The checks of edges as tests, in a module of the given name: one for each check, called by its number and sentence,
/// and `not_applicable`, which lists what the subject says it lacks.
///
/// ```
/// use tidegate_tck::edge::Tidegate;
///
/// tidegate_tck::edge_suite!(our_edge, Tidegate);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! edge_suite {
    ($name:ident, $edge:ty) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports, reason = "the subject may be named by a path of its own")]
            use super::*;
            $crate::__edge_checks!(list tests $edge);

            #[test]
            fn not_applicable() {
                let name = <$edge as $crate::edge::EdgeUnderTest>::NAME;
                $crate::check::list_not_applicable(name, &$crate::edge::checks::all::<$edge>());
            }
        }
    };
}
