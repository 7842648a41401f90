//! What both ends of the edge and the thread between them agree on: one log, in one of the states of [`Life`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_flow::{Account, Bytes, Cause, Lease};
use tidegate_store::{Appender, Counts, Disk, Health, Reader, Seq, Settler, Trouble};
use tokio::sync::watch;

use super::turn::Turns;
use super::view::LogTrouble;
use super::{LogSpec, keeper};
use crate::context::panic_nack;

/// The states of a log, from the plan to the end of its thread.
pub(super) enum Life<D: Disk> {
    /// Nobody has asked for it yet.
    Planned(Box<LogSpec<D>>),
    /// The thread is about to open it. The text says why it is not open yet.
    Opening(Option<String>),
    /// At work.
    Open(Open<D>),
    /// It cannot be opened, and will not.
    Failed(Cause),
    /// Its thread has ended.
    Ended,
}

pub(super) struct Open<D: Disk> {
    pub(super) appender: Appender,
    /// There until the source takes it.
    pub(super) reader: Option<Reader<D>>,
    pub(super) settler: Settler,
}

impl<D: Disk> Open<D> {
    fn counts(&self) -> (Counts, u64) {
        let counts = self.appender.counts();
        (counts, counts.durable.saturating_sub(self.settler.settled()))
    }
}

pub(super) struct Shared<D: Disk> {
    life: Mutex<Life<D>>,
    /// Told when the log is closed before it could be opened.
    closed: Condvar,
    /// Told of what may matter to sinks that wait: the log was opened, has more room, is safe up to a further place.
    sinks: watch::Sender<()>,
    /// Told of what may matter to the source: there is more to read, more was settled.
    source: watch::Sender<()>,
    /// Whether readers see what was not written yet.
    passes: bool,
    flags: Mutex<Flags>,
}

#[derive(Default)]
struct Flags {
    /// Nothing will be appended any more.
    no_more: bool,
    /// Both ends are gone.
    closed: bool,
    /// Why the reader does not read.
    read_trouble: Option<String>,
    /// What the log had done when it ended, and the records that waited in it.
    last: (Counts, u64),
}

impl<D: Disk> Shared<D> {
    pub(super) fn new(spec: LogSpec<D>) -> Self {
        let passes = spec.options.writes_under_pressure();
        Self {
            life: Mutex::new(Life::Planned(Box::new(spec))),
            closed: Condvar::new(),
            sinks: watch::Sender::new(()),
            source: watch::Sender::new(()),
            passes,
            flags: Mutex::default(),
        }
    }

    /// Starts the thread, unless that was done.
    pub(super) fn start(self: &Arc<Self>) {
        let mut life = self.life();
        if let Life::Planned(_) = &*life
            && let Life::Planned(spec) = std::mem::replace(&mut *life, Life::Opening(None))
        {
            let shared = Arc::clone(self);
            let thread = std::thread::Builder::new().name("log".to_owned());
            let keep = move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| keeper::keep(&shared, *spec))) {
                    let why = panic_nack(&*panic).cause;
                    shared.enter(Life::Failed(Cause::from(format!(
                        "the thread of the log: {why}; restart the pipeline"
                    ))));
                }
            };
            if let Err(error) = thread.spawn(keep) {
                *life = Life::Failed(Cause::from(format!("no thread for the log: {error}")));
            }
        }
    }

    pub(super) fn life(&self) -> MutexGuard<'_, Life<D>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flags(&self) -> MutexGuard<'_, Flags> {
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, life: Life<D>) {
        let before = std::mem::replace(&mut *self.life(), life);
        if let Life::Open(open) = &before {
            self.flags().last = open.counts();
        }
        self.tell();
    }

    /// Wakes everybody who waits for the log.
    pub(super) fn tell(&self) {
        self.sinks.send_replace(());
        self.source.send_replace(());
    }

    /// Wakes the source where it can read what was just appended.
    pub(super) fn tell_of_append(&self) {
        if self.passes {
            self.source.send_replace(());
        }
    }

    /// Everything below `until` has settled.
    pub(super) fn settle(&self, until: Seq) {
        if let Life::Open(open) = &*self.life()
            && open.settler.settle(until)
        {
            self.sinks.send_replace(());
        }
    }

    /// Wakes the source: something was reported to it.
    pub(super) fn tell_source(&self) {
        self.source.send_replace(());
    }

    pub(super) fn for_sinks(&self) -> watch::Receiver<()> {
        self.sinks.subscribe()
    }

    pub(super) fn for_source(&self) -> watch::Receiver<()> {
        self.source.subscribe()
    }

    /// What the log has done, and the records that wait in it; after its end, what there was then.
    pub(super) fn counts(&self) -> (Counts, u64) {
        match &*self.life() {
            Life::Open(open) => open.counts(),
            Life::Planned(_) | Life::Opening(_) | Life::Failed(_) | Life::Ended => self.flags().last,
        }
    }

    /// What appends; `None` while the log is not open.
    ///
    /// # Errors
    /// It never will be.
    pub(super) fn appender(&self) -> Result<Option<Appender>, Cause> {
        match &*self.life() {
            Life::Planned(_) | Life::Opening(_) => Ok(None),
            Life::Open(open) => Ok(Some(open.appender.clone())),
            Life::Failed(cause) => Err(cause.clone()),
            Life::Ended => Err(Cause::from("the log is closed")),
        }
    }

    pub(super) fn no_more(&self) -> bool {
        self.flags().no_more
    }

    pub(super) fn is_closed(&self) -> bool {
        self.flags().closed
    }

    fn end_appends(&self) {
        self.flags().no_more = true;
        self.tell();
    }

    fn close(&self) {
        self.flags().closed = true;
        if let Life::Open(open) = &*self.life() {
            open.appender.close();
        }
        self.closed.notify_all();
    }

    /// Blocks until the log is closed, at most so long.
    pub(super) fn wait_closed(&self, most: Duration) {
        let life = self.life();
        drop(self.closed.wait_timeout_while(life, most, |_| !self.is_closed()));
    }

    pub(super) fn note_reading(&self, trouble: Option<String>) {
        self.flags().read_trouble = trouble;
    }

    /// Whether something keeps it from doing its work.
    pub(super) fn is_troubled(&self) -> bool {
        let of_life = match &*self.life() {
            Life::Planned(_) | Life::Ended => false,
            Life::Opening(why) => why.is_some(),
            Life::Open(open) => open.appender.health() != Health::Good,
            Life::Failed(_) => true,
        };
        of_life || self.flags().read_trouble.is_some()
    }

    /// What keeps it from doing its work.
    pub(super) fn trouble(&self) -> Option<LogTrouble> {
        let fault = |words| LogTrouble { words, is_fault: true };
        let of_life = match &*self.life() {
            Life::Planned(_) | Life::Ended => None,
            Life::Opening(why) => why.clone().map(fault),
            Life::Open(open) => match open.appender.health() {
                Health::Good => None,
                Health::Waiting(trouble) => {
                    Some(LogTrouble { words: trouble.to_string(), is_fault: trouble != Trouble::AtMaxSize })
                }
            },
            Life::Failed(cause) => Some(fault(cause.to_string())),
        };
        of_life.or_else(|| self.flags().read_trouble.clone().map(fault))
    }
}

/// Closes the log when nobody appends, reads or settles any more.
pub(super) struct Hold<D: Disk> {
    pub(super) shared: Arc<Shared<D>>,
}

impl<D: Disk> Hold<D> {
    pub(super) fn new(shared: Arc<Shared<D>>) -> Self {
        Self { shared }
    }
}

impl<D: Disk> Drop for Hold<D> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// What the sinks of one log share: whose turn it is to append, and what pays for the memory of the log.
pub(super) struct Entrance<D: Disk> {
    pub(super) hold: Arc<Hold<D>>,
    pub(super) turns: Arc<Turns>,
    /// Whether the log is opened when the first batch comes.
    pub(super) opens_late: bool,
    lease: Mutex<Option<Lease>>,
}

impl<D: Disk> Entrance<D> {
    pub(super) fn new(hold: Arc<Hold<D>>, opens_late: bool) -> Self {
        Self { hold, turns: Arc::default(), opens_late, lease: Mutex::new(None) }
    }

    /// Charges what the log holds, once.
    pub(super) fn charge(&self, account: &Account, bytes: Bytes) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.is_none() {
            *lease = account.try_lease(bytes);
        }
    }
}

impl<D: Disk> Drop for Entrance<D> {
    fn drop(&mut self) {
        self.hold.shared.end_appends();
    }
}
