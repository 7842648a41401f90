//! A round happens: load, fault, SIGKILL, start, load, drain.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::book::Book;
use super::cases::{End, Places};
use super::draw::{Fault, Round};
use super::ground::Ground;
use super::program::{Explained, Program, free_address};
use super::sink::{Mode, Sink};
use super::source::{self, Source};
use super::wait::{lock, now, pause, until};
use super::{judge, tail};

/// So many records are offered and have not come out when the process dies.
pub(super) const UNSETTLED: u64 = 10_000;
/// No more than so many.
const MOST: u64 = 24_000;
/// A file that nobody slows down is written in one burst of so many.
const BURST: u64 = 60_000;
/// The longest that is waited for a state that the program is to come to by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest that a point of a log is waited for.
const POINT: Duration = Duration::from_secs(15);
/// Bytes of the small disk, and what is taken of it for a while: it has room for a log, but not at once.
const SMALL_DISK: u64 = 10 << 20;
const FILLER: usize = 8 << 20;

/// What came of a round, as it was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) kills: u32,
    /// Whether it died at the point that was asked for.
    pub(super) hit: Option<bool>,
    /// Records that were unsettled when it was killed first.
    pub(super) unsettled: u64,
    /// The longest from starting to having started, and to the first record that was offered after the start.
    pub(super) start: Duration,
    pub(super) fresh: Duration,
    pub(super) peak_mib: f64,
    pub(super) resident_mib: f64,
    pub(super) exposed_bytes: u64,
    pub(super) notes: Vec<String>,
    /// What is wrong, beside what the book says.
    pub(super) broken: Vec<String>,
}

struct Stage<'a> {
    round: &'a Round,
    program: &'a Path,
    folder: PathBuf,
    file: PathBuf,
    ground: Ground,
    book: Arc<Mutex<Book>>,
    sink: Sink,
    /// When the fault began.
    since: Duration,
    facts: Facts,
}

/// Plays the round in a folder of its own and judges it. The folder stays where something is wrong.
///
/// # Errors
/// It could not be played: what is missing.
pub(super) fn play(round: &Round, program: &Path, scratch: &Path) -> Result<judge::Verdict, String> {
    let folder = scratch.join(format!("round-{}", round.seed));
    drop(std::fs::remove_dir_all(&folder));
    let data = folder.join("data");
    std::fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let ground = if round.fault == Fault::Full { Ground::small(&data, SMALL_DISK)? } else { Ground::here() };
    if round.fault == Fault::Full {
        ground.fill(FILLER)?;
    }
    let book = Arc::new(Mutex::new(Book::new(now())));
    let sink = match round.case.sink {
        End::Http => Sink::http(&book)?,
        End::Tcp => Sink::tcp(&book)?,
        End::File => Sink::file(&book, folder.join("out.ndjson")),
    };
    let from = match round.case.source {
        source::Kind::File => folder.join("in.ndjson").display().to_string(),
        source::Kind::Http | source::Kind::Tcp => free_address()?,
    };
    let file = folder.join("pipeline.yaml");
    let places = Places { from: &from, to: &sink.at, data: &data, ordered: round.ordered, fsync: round.fsync };
    std::fs::write(&file, round.case.text(&places)).map_err(|error| format!("{}: {error}", file.display()))?;
    let explained = Explained::of(program, &file)?;
    let facts =
        Facts { resident_mib: explained.resident_mib(), exposed_bytes: explained.exposed_bytes(), ..Facts::default() };
    let mut stage = Stage { round, program, folder, file, ground, book, sink, since: Duration::ZERO, facts };
    stage.play(&from)?;
    let verdict = judge::judge(round, &lock(&stage.book), &stage.facts);
    if verdict.broken.is_empty() {
        drop(std::fs::remove_dir_all(&stage.folder));
    }
    Ok(verdict)
}

impl Stage<'_> {
    fn play(&mut self, from: &str) -> Result<(), String> {
        let is_file = self.round.case.sink == End::File;
        self.sink.set(Mode::Frozen);
        let mut program = self.start(true)?;
        let source = Source::start(self.round.case.source, from, &self.book, if is_file { 4_000 } else { MOST })?;
        if is_file {
            // Nothing slows a file down: what is offered in a moment is what is unsettled.
            until(PATIENCE, || lock(&self.book).seen > 2_000);
            source.allow(BURST);
        }
        until(PATIENCE, || self.unsettled() >= UNSETTLED || !program.runs());
        self.fault(&mut program)?;
        self.die(program)?;
        let mut program = self.start(false)?;
        self.recover(&mut program, &source)?;
        if let Some(again) = self.round.again {
            pause(again);
            self.die(program)?;
            program = self.start(false)?;
            self.recover(&mut program, &source)?;
        }
        self.sink.set(Mode::Open);
        source.stop();
        self.come_to_rest(&mut program);
        match program.end() {
            Ok(peak) => self.facts.peak_mib = self.facts.peak_mib.max(peak),
            Err(what) => self.facts.broken.push(what),
        }
        Ok(())
    }

    fn unsettled(&self) -> u64 {
        lock(&self.book).unsettled()
    }

    fn start(&mut self, is_first: bool) -> Result<Program, String> {
        let mut environment = Vec::new();
        if let (Fault::At(point), true) = (self.round.fault, is_first) {
            let side = if self.round.before { ":before" } else { "" };
            environment.push(("TIDEGATE_CRASH_AT", format!("{point}:{}{side}", self.round.count)));
            environment.push(("TIDEGATE_CRASH_WHEN", self.armed().display().to_string()));
        }
        if self.round.fault == Fault::Clock {
            environment.push(("TIDEGATE_CLOCK_SHIFT", self.round.shifts[usize::from(!is_first)].clone()));
        }
        let program = Program::start(self.program, &self.ground, &self.file, &environment)?;
        self.facts.start = self.facts.start.max(program.start);
        Ok(program)
    }

    /// The file that says that points are counted now.
    fn armed(&self) -> PathBuf {
        self.folder.join("armed")
    }

    /// What is done before the process dies.
    fn fault(&mut self, program: &mut Program) -> Result<(), String> {
        self.since = lock(&self.book).time();
        match self.round.fault {
            Fault::Kill | Fault::TornTail | Fault::Clock => self.sink.set(self.round.mode),
            Fault::Slow => self.sink.set(Mode::Slow),
            Fault::Frozen => self.sink.set(Mode::Frozen),
            Fault::Broken => self.sink.set(Mode::Broken),
            Fault::Refusing => self.sink.set(Mode::Refusing),
            Fault::Full => return self.wait_for_a_full_disk(program),
            Fault::At(_) => return self.reach_the_point(program),
        }
        if self.round.case.sink != End::File {
            pause(self.round.lasts);
        }
        Ok(())
    }

    /// It dies by itself, at its point.
    fn reach_the_point(&mut self, program: &mut Program) -> Result<(), String> {
        self.facts.unsettled = self.unsettled();
        self.sink.set(Mode::Slow);
        let armed = self.armed();
        std::fs::write(&armed, b"").map_err(|error| format!("{}: {error}", armed.display()))?;
        let hit = until(POINT, || !program.runs());
        self.facts.hit = Some(hit);
        if !hit {
            self.facts.notes.push(format!("{} was not reached within {POINT:?}", self.round.fault.name()));
        }
        Ok(())
    }

    /// The disk comes to be full, which is said; then there is space, and it goes on, while the sink is frozen still.
    fn wait_for_a_full_disk(&mut self, program: &mut Program) -> Result<(), String> {
        let mut words = String::new();
        let is_said = |words: &mut String, program: &Program| {
            let Some((status, body)) = program.progress() else { return false };
            *words = format!("{status} {}", body.trim());
            status == 503 && body.contains("no space left")
        };
        let full = until(PATIENCE, || {
            pause(Duration::from_millis(20));
            is_said(&mut words, program)
        });
        if !full {
            self.facts.broken.push(format!("the disk is full, and /health/progress says: {words}"));
        }
        pause(Duration::from_millis(300));
        let before = lock(&self.book).acked;
        pause(Duration::from_millis(500));
        let more = lock(&self.book).acked - before;
        if self.round.case.source == source::Kind::Http && more > 0 {
            self.facts.broken.push(format!("{more} records were acked while the disk was full"));
        }
        self.facts.notes.push(format!("full: {words}"));
        if self.round.before {
            // It is killed on the full disk, and starts there.
            return Ok(());
        }
        self.ground.free()?;
        let goes_on = until(PATIENCE, || {
            pause(Duration::from_millis(20));
            !is_said(&mut words, program)
        });
        if !goes_on {
            self.facts.broken.push(format!("there is space again, and /health/progress says: {words}"));
        }
        Ok(())
    }

    /// SIGKILL, and what is done to what it leaves.
    fn die(&mut self, mut program: Program) -> Result<(), String> {
        if self.facts.kills == 0 && self.facts.unsettled == 0 {
            self.facts.unsettled = self.unsettled();
        }
        let from = lock(&self.book).time();
        program.kill();
        self.facts.kills += 1;
        self.facts.peak_mib = self.facts.peak_mib.max(program.peak_mib());
        lock(&self.book).disturb(from);
        drop(std::fs::remove_file(self.armed()));
        if self.round.fault == Fault::TornTail {
            // Answers that were on their way are read first.
            pause(Duration::from_millis(100));
            let is_promised = |id: u64| {
                let book = lock(&self.book);
                let known = usize::try_from(id).ok().and_then(|id| book.known.get(id).copied());
                self.round.case.source != source::Kind::Http || known.is_some_and(|known| known.is_acked)
            };
            let torn = tail::tear(&self.folder.join("data/buffers/out"), self.round.dice, is_promised)?;
            self.facts.notes.push(format!("torn: {}", torn.unwrap_or_else(|| "nothing: no segment".to_owned())));
        }
        Ok(())
    }

    /// The sink comes back, and what is offered from now on comes out.
    fn recover(&mut self, program: &mut Program, source: &Source) -> Result<(), String> {
        let disturbed = matches!(self.round.fault, Fault::Frozen | Fault::Broken | Fault::Refusing);
        if disturbed {
            pause(Duration::from_millis(300));
            self.sink.set(Mode::Open);
            lock(&self.book).disturb(self.since);
        }
        if self.round.fault == Fault::Full && self.round.before && self.facts.kills == 1 {
            self.ground.free()?;
        }
        self.sink.set(if self.round.fault == Fault::Slow { Mode::Slow } else { Mode::Open });
        // What a raw source has lost never comes out.
        let gone = if self.round.case.is_promised() { 0 } else { self.unsettled() };
        source.allow(MOST + gone);
        let fresh = lock(&self.book).issued();
        let begun = now();
        let from = usize::try_from(fresh).unwrap_or(usize::MAX);
        let flows = until(PATIENCE, || {
            program.runs();
            lock(&self.book).known.iter().skip(from).any(|known| known.came > 0)
        });
        if flows {
            self.facts.fresh = self.facts.fresh.max(begun.elapsed());
        } else {
            let progress = program.progress();
            self.facts.broken.push(format!("no fresh record came out within {PATIENCE:?} of a start: {progress:?}"));
        }
        Ok(())
    }

    /// Waits until all that was promised has come out; where nothing was, until no more comes.
    fn come_to_rest(&mut self, program: &mut Program) {
        let (mut seen, mut same) = (0, 0);
        until(PATIENCE * 2, || {
            pause(Duration::from_millis(25));
            program.runs();
            let book = lock(&self.book);
            same = if book.seen == seen { same + 1 } else { 0 };
            seen = book.seen;
            let all =
                if self.round.case.is_promised() { book.missing().next().is_none() } else { book.unsettled() == 0 };
            // One more look, for what comes twice.
            all && same > 4 || same > 400 || !self.round.case.is_promised() && same > 60
        });
    }
}
