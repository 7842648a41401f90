//! [`channel`]: the way in for code inside the application.
//!
//! The channel is an edge like those of the pipeline, only outside it: it has credit in records and bytes, a policy for
//! when it is full, and a pressure level that senders can read and hear. What is in it is bounded by its capacity, is
//! not charged to the pipeline's budget, and is not *accepted* yet: the ledger of the source begins where the source
//! reads.

mod receipt;
mod sender;

use std::collections::VecDeque;

use tidegate_flow::queue::{EdgeSpecError, Load};
use tidegate_flow::{Cause, EdgeSpec, GroupWatch, Items, Outcome, Payload, Records, ShedReason, Weigh, Weight};

use self::receipt::Reply;
pub use self::receipt::{Answer, Receipt};
pub use self::sender::{Sender, Unsent};
use crate::edge::{EdgeHandle, EdgeRx, Event, edge};
use crate::ingress::{NoCommit, Pull, Readiness, Source};

/// A channel that holds `capacity` (records and bytes, at least one of each) and blocks when it is full: the end that
/// the application sends to, and the source that a pipeline reads.
///
/// ```
/// # use tidegate_runtime as tidegate;
/// use tidegate::{Pipeline, sink, source};
/// use tidegate_flow::{Outcome, Weight, kib};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (mut sender, records) = source::channel(Weight::new(1024, kib(64).get()));
/// let builder = Pipeline::builder("application");
/// builder.source("events", records).sink("drop", sink::null());
/// let running = builder.build().unwrap().start();
///
/// sender.send("first".to_string()).await?;
/// let receipt = sender.send_acked("second".to_string()).await?;
/// assert_eq!(receipt.await.outcome, Outcome::Delivered);
/// drop(sender);
/// running.wait().await.ledger.check().unwrap();
/// # Ok::<(), source::Unsent<String>>(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn channel<T: Weigh + Send + 'static>(capacity: Weight) -> (Sender<T>, ChannelSource<T>) {
    let spec = EdgeSpec::new("channel").window(capacity.max(Weight::new(1, 1)));
    match channel_with(spec) {
        Ok(channel) => channel,
        Err(error) => unreachable!("a window of at least one record and one byte is valid: {error}"),
    }
}

/// A channel with a name, marks and a policy of its own, as an [`EdgeSpec`] says them. What the policy sheds never
/// enters the pipeline: it is counted in the channel ([`Sender::handle`]), and who waits for a receipt is told.
///
/// # Errors
/// Where the specification is not valid; the message names the channel and says what to change.
pub fn channel_with<T: Weigh + Send + 'static>(
    spec: impl Into<EdgeSpec>,
) -> Result<(Sender<T>, ChannelSource<T>), EdgeSpecError> {
    let (tx, rx) = edge(spec.into())?;
    let source = ChannelSource { rx, next: None, failed: None, awaited: VecDeque::new(), watches: false, read: 0 };
    Ok((Sender::new(tx), source))
}

/// What is sent through a channel at once. Opaque.
pub struct Parcel<T> {
    rows: Rows<T>,
    /// Who waits to hear what became of it. Only for single records.
    reply: Option<Reply>,
}

enum Rows<T> {
    One(T),
    Many(Items<T>),
}

impl<T: Weigh + Send + 'static> Load for Parcel<T> {
    fn weight(&self) -> Weight {
        match &self.rows {
            Rows::One(record) => Weight::new(1, record.weigh() as u64),
            Rows::Many(records) => records.weight(),
        }
    }

    fn settle_shed(&mut self, _reason: ShedReason) {
        if let Some(reply) = self.reply.take() {
            // Nobody waits any more: nothing to tell.
            drop(reply.send(Err(Outcome::Shed)));
        }
    }
}

impl<T: Weigh> Parcel<T> {
    fn into_one(self) -> Option<T> {
        match self.rows {
            Rows::One(record) => Some(record),
            Rows::Many(mut records) => records.take().pop(),
        }
    }

    fn into_many(self) -> Vec<T> {
        match self.rows {
            Rows::One(record) => vec![record],
            Rows::Many(mut records) => records.take(),
        }
    }
}

/// The pipeline's end of a [`channel`]. The position is the number of records read.
pub struct ChannelSource<T: Weigh + Send + 'static> {
    rx: EdgeRx<Parcel<T>>,
    /// What told that the channel is ready, or did not fit into the last read.
    next: Option<Parcel<T>>,
    failed: Option<Cause>,
    /// Who waits for the groups of what was read, in order.
    awaited: VecDeque<Reply>,
    /// Whether the last read was for a receipt.
    watches: bool,
    read: u64,
}

impl<T: Weigh + Send + 'static> ChannelSource<T> {
    /// Looks at the channel from outside.
    #[must_use]
    pub fn handle(&self) -> EdgeHandle {
        self.rx.handle()
    }

    /// The next parcel that can be had at once.
    fn try_next(&mut self) -> Option<Parcel<T>> {
        if let Some(parcel) = self.next.take() {
            return Some(parcel);
        }
        while let Some(event) = self.rx.try_recv() {
            match event {
                Event::Batch(parcel) => return Some(parcel),
                // Control messages are for stages; nobody sends them here.
                Event::Control(_) => {}
                // `ready` asks again and is told the same.
                Event::Completed | Event::Failed(_) => return None,
            }
        }
        None
    }

    /// Moves the records of `parcel` to `into` as far as there is room; keeps the rest.
    fn take_rows(&mut self, parcel: Parcel<T>, room: u64, into: &mut Items<T>) {
        match parcel.rows {
            Rows::One(record) => into.push(record),
            Rows::Many(mut records) => {
                if records.len() as u64 > room {
                    let rest = records.split_off(Records::new(room));
                    self.next = Some(Parcel { rows: Rows::Many(rest), reply: None });
                }
                // Rows of a vector can always be appended.
                drop(into.append(records));
            }
        }
    }
}

impl<T: Weigh + Send + 'static> Source for ChannelSource<T> {
    type Payload = Items<T>;
    type Position = u64;
    type Committer = NoCommit;

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        while self.next.is_none() {
            if let Some(cause) = &self.failed {
                return Err(cause.clone());
            }
            match self.rx.recv().await {
                Event::Batch(parcel) => self.next = Some(parcel),
                Event::Control(_) => {}
                Event::Completed => return Ok(Readiness::Ended),
                Event::Failed(cause) => self.failed = Some(cause),
            }
        }
        Ok(Readiness::Ready)
    }

    fn read(&mut self, room: Weight, mut into: Items<T>) -> Result<Pull<Items<T>, u64>, Cause> {
        self.watches = false;
        while (into.len() as u64) < room.records.get() && (into.is_empty() || into.bytes() < room.bytes) {
            let Some(mut parcel) = self.try_next() else { break };
            if parcel.reply.is_some() && !into.is_empty() {
                // A record with a receipt is read, and settled, by itself.
                self.next = Some(parcel);
                break;
            }
            if let Some(reply) = parcel.reply.take() {
                self.awaited.push_back(reply);
                self.watches = true;
            }
            let left = room.records.get() - into.len() as u64;
            self.take_rows(parcel, left, &mut into);
            if self.watches {
                break;
            }
        }
        self.read += into.len() as u64;
        let position = (!into.is_empty()).then_some(self.read);
        Ok(Pull { payload: into, position })
    }

    fn watches(&self) -> bool {
        self.watches
    }

    fn watch(&mut self, watch: GroupWatch) {
        if let Some(reply) = self.awaited.pop_front() {
            // Nobody waits any more: nothing to tell.
            drop(reply.send(Ok(watch)));
        }
    }
}
