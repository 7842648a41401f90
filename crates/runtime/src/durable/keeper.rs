//! The thread of a log: opens it, writes, syncs, saves cursors, until both ends are gone.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::Cause;
use tidegate_store::{Disk, Health, Log, LogOptions, Next, OpenError, Settler, Trouble};

use super::shared::{Life, Open, Shared};
use super::{LAST_WAIT, LogSpec, READER, SettledElsewhere, WallClock};

/// A disk that cannot be opened is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// How often a reader elsewhere is asked how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn keep<D: Disk>(shared: &Arc<Shared<D>>, mut spec: LogSpec<D>) {
    let options = {
        let told = Arc::downgrade(shared);
        spec.options.clone().on_change(move || {
            if let Some(shared) = told.upgrade() {
                shared.tell();
            }
        })
    };
    let Some(log) = open(shared, &mut spec, &options) else { return };
    let Log { appender, committer: mut keeper, mut readers, .. } = log;
    let Some(reader) = readers.pop() else { return };
    let settler = reader.settler();
    shared.enter(Life::Open(Open { appender: appender.clone(), reader: Some(reader), settler: settler.clone() }));
    if shared.is_closed() {
        appender.close();
    }
    let mut elsewhere = Elsewhere { ask: spec.settled_elsewhere.take(), due: 0 };
    let mut given_up_at = None;
    loop {
        let now = (spec.wall)();
        let mut next = keeper.round(now);
        while spec.drops_oldest && is_at_max_size(&appender.health()) && appender.drop_oldest() > 0 {
            next = keeper.round((spec.wall)());
        }
        (spec.on_counts)(&appender.counts());
        if next == Next::Done {
            break;
        }
        if shared.is_closed() {
            let until = *given_up_at.get_or_insert(now.saturating_add(nanos(LAST_WAIT)));
            if until <= now {
                break;
            }
            next = sooner(next, until);
        }
        next = elsewhere.look(next, now, &settler);
        keeper.wait(next, (spec.wall)());
    }
    shared.enter(Life::Ended);
}

/// A reader that is no part of this pipeline.
struct Elsewhere {
    ask: Option<SettledElsewhere>,
    /// When it is asked next.
    due: u64,
}

impl Elsewhere {
    /// Asks how far it is, where it is time; says when the next round is due.
    fn look(&mut self, next: Next, now: u64, settler: &Settler) -> Next {
        let Some(ask) = &mut self.ask else { return next };
        // A clock that was set back must not put it off for long.
        if self.due <= now || self.due - now > nanos(ASK_EVERY) {
            self.due = now.saturating_add(nanos(ASK_EVERY));
            if let Some(until) = ask() {
                settler.settle(until);
            }
        }
        sooner(next, self.due)
    }
}

fn is_at_max_size(health: &Health) -> bool {
    *health == Health::Waiting(Trouble::AtMaxSize)
}

fn sooner(next: Next, until: u64) -> Next {
    match next {
        Next::At(time) => Next::At(time.min(until)),
        Next::Idle | Next::Done => Next::At(until),
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Opens the log, as often as that takes. `None`: it never will be open, or nobody wants it any more.
fn open<D: Disk>(shared: &Arc<Shared<D>>, spec: &mut LogSpec<D>, options: &LogOptions) -> Option<Log<D>> {
    loop {
        let why = match (spec.disk)() {
            Ok(disk) => match open_on(disk, options, &spec.wall) {
                Ok(log) => return Some(log),
                Err(OpenError::Disk { operation, source }) => format!("the disk failed to {operation}: {source}"),
                Err(error @ (OpenError::Version { .. } | OpenError::Readers(_))) => {
                    shared.enter(Life::Failed(Cause::from(format!("the log cannot be opened: {error}"))));
                    return None;
                }
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                "another process, or a pipeline that has not ended yet, has the buffer open".to_owned()
            }
            Err(error) => format!("the folder cannot be opened: {error}"),
        };
        shared.enter(Life::Opening(Some(format!("{why}; tried again"))));
        shared.wait_closed(RETRY);
        if shared.is_closed() {
            shared.enter(Life::Ended);
            return None;
        }
    }
}

fn open_on<D: Disk>(disk: D, options: &LogOptions, wall: &WallClock) -> Result<Log<D>, OpenError> {
    let now = wall();
    Log::open(disk, options.clone().identity(now), &[READER], now)
}
