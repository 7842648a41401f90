//! An edge on disk: a pair of stages with a log between them. The [`LogSink`] takes what is sent to the edge and settles
//! it as delivered once it is durable; the [`LogSource`] reads it in the same order and hands it on, and the log forgets
//! it when it has settled downstream.
//!
//! ```text
//! upstream ==edge==> LogSink --> log on disk --> LogSource ==edge==> downstream
//!     <---- acked when it is durable      cursor <---- moved when it has settled
//! ```
//!
//! * **Emits** what was put in, in order, with lane, bucket, deadlines and the reason of dead letters.
//! * **Blocks** upstream while the log takes nothing: at its `max_size`, or while the disk is slow, full or failing. It
//!   goes on by itself, and [`LogView::trouble`] says meanwhile what for.
//! * **Sheds** whole segments, the oldest first, where [`LogSpec::drop_oldest`] says so, and expires those older than
//!   their `max_age`.
//! * **Settles** upstream after the sync that covers a record (A24), the cursor after downstream has settled it (A26).
//!   What downstream gives back for now is read again, from the first such record on; what it refuses for good is
//!   counted and passed.
//! * **Completes** when upstream has and all of it has settled; at once when the intake is shut: the log stays.
//! * **Fails** where the log is of another version.
//!
//! One thread does all writing. It is started with the pipeline, so that a plan can be looked at without touching files.

mod entry;
mod keeper;
mod shared;
mod sink;
mod source;
mod turn;
mod view;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Bytes, Meta, Stored, Time, Weight};

pub use self::sink::LogSink;
pub use self::source::{LogPosition, LogSource};
pub use self::view::{LETTERS, LogTrouble, LogView};
pub use tidegate_store::marks::MARKS_LOCK;
pub use tidegate_store::repair::{Mend, Repaired, repair};
pub use tidegate_store::{
    Counts, Disk, DiskFile, Fault, Health, Log, LogOptions, Marks, OpenError, RealDisk, Renewal, SegmentSurvey,
    SimulatedDisk, Survey, SyncPolicy, WritePolicy,
};

use self::shared::{Entrance, Hold, Shared};

/// The only reader of a log of an edge.
pub const READER: &str = "edge";

/// How many batches may wait for their sync at once.
const UNDER_WAY: usize = 32;

/// The time of day, in nanoseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Is told what the log has done so far, after each round of the thread that writes.
pub type OnCounts = Box<dyn FnMut(&Counts) + Send>;

/// Says below which number others have settled everything. May read files; `None`: nothing is known.
pub type SettledElsewhere = Box<dyn FnMut() -> Option<u64> + Send>;

/// The log of an edge on disk, before it is opened.
pub struct LogSpec<D> {
    disk: Box<dyn FnMut() -> io::Result<D> + Send>,
    options: LogOptions,
    wall: WallClock,
    drops_oldest: bool,
    opens_late: bool,
    settled_elsewhere: Option<SettledElsewhere>,
    on_counts: OnCounts,
}

impl<D: Disk> LogSpec<D> {
    /// A log on the disk that `disk` finds; it is asked again while it fails.
    pub fn new(
        disk: impl FnMut() -> io::Result<D> + Send + 'static,
        options: LogOptions,
        wall: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            disk: Box::new(disk),
            options,
            wall: Arc::new(wall),
            drops_oldest: false,
            opens_late: false,
            settled_elsewhere: None,
            on_counts: Box::new(|_| ()),
        }
    }

    /// At its `max_size` the log gives up its oldest segment, rather than that upstream waits.
    #[must_use]
    pub fn drop_oldest(mut self, drops: bool) -> Self {
        self.drops_oldest = drops;
        self
    }

    /// The log is opened, and made, when the first batch comes, rather than with the pipeline.
    #[must_use]
    pub fn open_late(mut self) -> Self {
        self.opens_late = true;
        self
    }

    /// The reader of the log is elsewhere: it is asked every second how far it is. For [`inlet`](Self::inlet).
    #[must_use]
    pub fn settled_elsewhere(mut self, ask: impl FnMut() -> Option<u64> + Send + 'static) -> Self {
        self.settled_elsewhere = Some(Box::new(ask));
        self
    }

    /// What downstream settles before it was written never is. Writing begins when what waits takes half of the log's
    /// memory, when every sink of the pool waits, or when one has waited for so long; it ends when downstream has caught
    /// up. `None`, and the default: everything is written first.
    #[must_use]
    pub fn write_under_pressure(mut self, wait: Option<Duration>) -> Self {
        let policy = |wait| WritePolicy::UnderPressure { batches: UNDER_WAY, wait };
        self.options = self.options.write(wait.map_or(WritePolicy::Always, policy));
        self
    }

    /// Calls this after each round of the thread that writes. It must not block.
    #[must_use]
    pub fn on_counts(mut self, call: impl FnMut(&Counts) + Send + 'static) -> Self {
        self.on_counts = Box::new(call);
        self
    }

    /// The first end alone, of a log that nothing in this pipeline reads. Nothing is opened before the pipeline starts.
    #[must_use]
    pub fn inlet<P: Stored>(self) -> LogInlet<P, D> {
        let held = Bytes::new(self.options.held_bytes(0));
        let wall = Arc::clone(&self.wall);
        let opens_late = self.opens_late;
        let shared = Arc::new(Shared::new(self));
        let hold = Arc::new(Hold::new(Arc::clone(&shared)));
        let entrance = Arc::new(Entrance::new(hold, opens_late));
        let sinks = (0..UNDER_WAY).map(|_| LogSink::new(Arc::clone(&entrance), Arc::clone(&wall), held)).collect();
        LogInlet { sinks, encoding: held + sink::SHEET, view: LogView::new(shared) }
    }

    /// The two ends of the edge. Nothing is opened before the pipeline starts.
    #[must_use]
    pub fn ends<P: Stored>(self) -> LogEnds<P, D> {
        let held = Bytes::new(self.options.held_bytes(1));
        let wall = Arc::clone(&self.wall);
        let shared = Arc::new(Shared::new(self));
        let hold = Arc::new(Hold::new(Arc::clone(&shared)));
        // Whoever reads opens it with the pipeline.
        let entrance = Arc::new(Entrance::new(Arc::clone(&hold), false));
        let sinks = (0..UNDER_WAY).map(|_| LogSink::new(Arc::clone(&entrance), Arc::clone(&wall), held)).collect();
        let view = LogView::new(Arc::clone(&shared));
        LogEnds { sinks, source: LogSource::new(hold, wall), encoding: held + sink::SHEET, view }
    }
}

/// The two ends of an edge on disk.
pub struct LogEnds<P: Stored, D: Disk> {
    /// For a pool, [`sink_pool`](crate::Flow::sink_pool): so many batches may wait for their sync at once. They are
    /// appended in the order in which the pool was given them.
    pub sinks: Vec<LogSink<P, D>>,
    /// For a source of the same pipeline.
    pub source: LogSource<P, D>,
    /// What the sinks hold beside their batches; to be reserved with
    /// [`SinkOptions::encoding`](crate::SinkOptions::encoding).
    pub encoding: Bytes,
    /// To look at it while it runs.
    pub view: LogView,
}

/// The first end of a log, without a second.
pub struct LogInlet<P: Stored, D: Disk> {
    /// As of [`LogEnds`].
    pub sinks: Vec<LogSink<P, D>>,
    /// As of [`LogEnds`].
    pub encoding: Bytes,
    /// As of [`LogEnds`].
    pub view: LogView,
}

/// The batch in an entry of the log of an edge, as it lies on disk, and what is known of it. Its times are those of a
/// pipeline that started when the clock of the day stood at zero. `None`: it is none of ours, or of another version.
#[must_use]
pub fn batch_of<P: Stored>(entry: &[u8]) -> Option<(Meta, P)> {
    let mut rows = entry;
    let meta = entry::read(&mut rows, entry::Moment { here: Time::ZERO, wall: 0 })?;
    let mut payload = P::default();
    payload.restore(rows, 0, Weight::new(u64::MAX, u64::MAX))?;
    Some((meta, payload))
}

/// How long a log that cannot be written is waited for when its pipeline ends. What is not durable then was not acked.
const LAST_WAIT: Duration = Duration::from_secs(5);
