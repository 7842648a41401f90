//! What a rehearsal asks of the process that it plays with: to die at a named point of its logs, to wait at each sync, to
//! take the time of day for another. A testing aid: nothing of it happens unless the environment asks for it.
//!
//! ```text
//! TIDEGATE_CRASH_AT=POINT[:N][:before]   SIGKILL to itself at the Nth (1) of: append, sync, ack, cursor, unlink, roll;
//!                                        after it, or before it (an append: in the middle of it;
//!                                        an ack has no sides)
//! TIDEGATE_CRASH_WHEN=PATH               those are counted only while this file exists
//! TIDEGATE_SYNC_DELAY=2ms                each sync of a log takes so much longer
//! TIDEGATE_CLOCK_SHIFT=-1h[@500ms]       the time of day is wrong by so much, from so long after the start on
//! ```
//!
//! The points are those of buffers on disk: `append` is a write of records, `sync` the sync that makes them durable,
//! `ack` the moment at which the stage that appends is told so, `cursor` a save of how far the readers are, `roll` a new
//! segment, `unlink` one that is given up.
//!
//! It is one for the whole process, and the only thing here that is (ADR 0014): a rehearsal kills processes.

mod disk;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use self::disk::{RehearsedDisk, RehearsedFile};
use crate::value::Period;

/// A place in the life of a log at which a process can be made to die.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Point {
    /// Records are written to a segment.
    Append,
    /// What was written is made durable.
    Sync,
    /// Who appended is told that it is durable.
    Ack,
    /// How far the readers are is saved.
    Cursor,
    /// A segment is given up.
    Unlink,
    /// A segment is begun.
    Roll,
}

/// All of them, by name.
pub const POINTS: [(&str, Point); 6] = [
    ("append", Point::Append),
    ("sync", Point::Sync),
    ("ack", Point::Ack),
    ("cursor", Point::Cursor),
    ("unlink", Point::Unlink),
    ("roll", Point::Roll),
];

/// When the process is to die.
#[derive(Debug)]
struct Crash {
    point: Point,
    /// How often the point is still to be passed.
    left: AtomicU64,
    before: bool,
    when: Option<PathBuf>,
}

/// By how much the time of day is wrong, and from when on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Shift {
    back: bool,
    by: Duration,
    after: Duration,
}

/// What is asked for.
#[derive(Debug)]
pub struct Rehearsal {
    crash: Option<Crash>,
    sync_delay: Duration,
    shift: Option<Shift>,
    begun: Instant,
}

static ASKED: OnceLock<Result<Rehearsal, String>> = OnceLock::new();

impl Rehearsal {
    /// What the environment asks for, read once. Nothing, where what it says makes no sense ([`check`]).
    fn get() -> Option<&'static Self> {
        ASKED.get_or_init(|| Self::read(|name| std::env::var(name).ok())).as_ref().ok()
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let wrong = |name: &'static str| move |why: String| format!("{name}: {why}");
        let period = |name| match variable(name) {
            Some(text) => text.parse().map(Period::get).map_err(wrong(name)),
            None => Ok(Duration::ZERO),
        };
        let crash = variable("TIDEGATE_CRASH_AT").map(|text| Crash::parse(&text)).transpose();
        let shift = variable("TIDEGATE_CLOCK_SHIFT").map(|text| Shift::from_str(&text)).transpose();
        let when = variable("TIDEGATE_CRASH_WHEN").map(PathBuf::from);
        Ok(Self {
            crash: crash.map_err(wrong("TIDEGATE_CRASH_AT"))?.map(|crash| Crash { when, ..crash }),
            sync_delay: period("TIDEGATE_SYNC_DELAY")?,
            shift: shift.map_err(wrong("TIDEGATE_CLOCK_SHIFT"))?,
            begun: begun(),
        })
    }

    const fn is_asked(&self) -> bool {
        self.crash.is_some() || !self.sync_delay.is_zero() || self.shift.is_some()
    }
}

/// Whether the environment asks for a rehearsal, for the log of the program.
///
/// # Errors
/// It asks for what there is not: which variable, and what is wrong with it.
pub fn check() -> Result<bool, String> {
    let asked = ASKED.get_or_init(|| Rehearsal::read(|name| std::env::var(name).ok()));
    asked.as_ref().map(Rehearsal::is_asked).map_err(Clone::clone)
}

/// The point is passed: the process dies here, if that is asked for. `before`, and in the middle of it, is asked first.
fn pass(point: Point) -> Death {
    let Some(crash) = Rehearsal::get().and_then(|rehearsal| rehearsal.crash.as_ref()) else { return Death::Never };
    if crash.is_here(point) { Death::now(crash.before) } else { Death::Never }
}

/// Whether, and on which side of what happens, the process dies.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Death {
    Never,
    Before,
    After,
}

impl Death {
    const fn now(before: bool) -> Self {
        if before { Self::Before } else { Self::After }
    }

    /// Dies, if it is the time.
    fn at(self, side: Self) {
        if self == side {
            die();
        }
    }
}

/// Who appended was told that more is durable: there is no side to it.
pub(crate) fn acked() {
    if pass(Point::Ack) != Death::Never {
        die();
    }
}

/// As by `kill -9`: nothing is flushed, and nobody is told.
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort();
}

/// The time of day as the process is to take it.
pub(crate) fn time_of_day(now: SystemTime) -> SystemTime {
    let Some(rehearsal) = Rehearsal::get() else { return now };
    match rehearsal.shift {
        Some(shift) if rehearsal.begun.elapsed() >= shift.after => shift.of(now),
        Some(_) | None => now,
    }
}

/// What a sync takes longer.
#[allow(clippy::disallowed_methods, reason = "a rehearsal plays a slow disk")]
fn delay_sync() {
    if let Some(rehearsal) = Rehearsal::get().filter(|rehearsal| !rehearsal.sync_delay.is_zero()) {
        // tidy: allow(banned-calls): a rehearsal plays a slow disk, on the thread that waits for disks
        std::thread::sleep(rehearsal.sync_delay);
    }
}

fn begun() -> Instant {
    // tidy: allow(banned-calls): a shift of the clock begins so long after the start of the process
    Instant::now()
}

impl Crash {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':').peekable();
        let name = parts.next().unwrap_or_default();
        let point = POINTS.iter().find(|(other, _)| *other == name).map(|(_, point)| *point).ok_or_else(|| {
            let names: Vec<&str> = POINTS.iter().map(|(name, _)| *name).collect();
            format!("there is no point `{name}`; the points are {}", names.join(", "))
        })?;
        let count = match parts.next_if(|part| *part != "before") {
            Some(text) => text.parse().ok().filter(|count| *count > 0).ok_or(format!("`{text}` is no count"))?,
            None => 1,
        };
        let before = parts.next_if(|part| *part == "before").is_some();
        match parts.next() {
            Some(rest) => Err(format!("`{rest}` is too much; it is POINT[:N][:before]")),
            None => Ok(Self { point, left: AtomicU64::new(count), before, when: None }),
        }
    }

    fn is_here(&self, point: Point) -> bool {
        self.point == point
            && self.when.as_ref().is_none_or(|path| path.exists())
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (by, after) = text.split_once('@').unwrap_or((text, "0s"));
        let (back, by) = by.strip_prefix('-').map_or((false, by.strip_prefix('+').unwrap_or(by)), |by| (true, by));
        Ok(Self { back, by: by.parse::<Period>()?.get(), after: after.parse::<Period>()?.get() })
    }
}

impl Shift {
    fn of(self, now: SystemTime) -> SystemTime {
        let shifted = if self.back { now.checked_sub(self.by) } else { now.checked_add(self.by) };
        shifted.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Result<Rehearsal, String> {
        Rehearsal::read(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn nothing_is_asked_for_unless_it_is() {
        assert!(!Rehearsal::read(|_| None).unwrap().is_asked());
        assert!(read("TIDEGATE_SYNC_DELAY", "2ms").unwrap().is_asked());
    }

    #[test]
    fn a_point_is_passed_so_often_before_the_process_dies() {
        let crash = Crash::parse("sync:3").unwrap();
        let here: Vec<bool> = (0..5).map(|_| crash.is_here(Point::Append) || crash.is_here(Point::Sync)).collect();
        assert_eq!((here, crash.before), (vec![false, false, true, false, false], false));
        assert!(Crash::parse("append:before").unwrap().before && Crash::parse("roll:2:before").unwrap().before);
        let armed = Crash { when: Some("no such file".into()), ..Crash::parse("ack").unwrap() };
        assert!(!armed.is_here(Point::Ack));
    }

    #[test]
    fn the_clock_is_wrong_in_either_direction_and_from_a_time_on() {
        let shift: Shift = "-1h@500ms".parse().unwrap();
        assert_eq!(shift, Shift { back: true, by: Duration::from_secs(3_600), after: Duration::from_millis(500) });
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        assert_eq!(shift.of(now), SystemTime::UNIX_EPOCH + Duration::from_secs(6_400));
        assert_eq!("+2s".parse::<Shift>().unwrap().of(now), now + Duration::from_secs(2));
    }

    #[test]
    fn what_makes_no_sense_is_said_with_the_variable() {
        for (name, value) in [
            ("TIDEGATE_CRASH_AT", "fsync"),
            ("TIDEGATE_CRASH_AT", "sync:0"),
            ("TIDEGATE_CRASH_AT", "sync:1:after"),
            ("TIDEGATE_SYNC_DELAY", "fast"),
            ("TIDEGATE_CLOCK_SHIFT", "-x"),
        ] {
            assert!(read(name, value).unwrap_err().starts_with(name), "{name}={value}");
        }
        assert!(read("TIDEGATE_CRASH_AT", "fsync").unwrap_err().contains("append, sync, ack"));
    }
}
