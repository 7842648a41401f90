//! [`Reader`]: the source at work: looks for files, looks at those that it follows, and reads them in turns.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidegate_flow::{Cause, Time, Weight};
use tidegate_record::{RecordId, Rows};
use tidegate_runtime::{Clock, Companion, Intake, Pull, Readiness, Source, SourceContext};

use super::fingerprint::{self, Sum};
use super::positions::{Back, Commits, FileId, Place, Store};
use super::scan::{MOST_FILES, Number, Search};
use super::tail::{Found, Look, Outcome, Phase, Tail, origin};
use super::{FileConfig, Fingerprint, ReadFrom, Strategy};
use crate::clock::wall_time;
use crate::contract::{BuildContext, Counter, StartError};
use crate::ids::fresh_stream;
use crate::sources::decode::most_rows;
use crate::sources::stream::Memory;

/// How often the files that are followed are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a file rests after it was sent back.
const BACK_PAUSE: Duration = Duration::from_secs(1);

/// The source at work.
pub(super) struct Reader {
    search: Search,
    search_every: Duration,
    fingerprint: Fingerprint,
    /// Where files are begun that are found now.
    read_from: ReadFrom,
    rotate_wait: Duration,
    max_line: usize,
    file_key: String,
    host: Option<Arc<str>>,
    store: Store,
    tails: HashMap<FileId, Tail>,
    /// Files with something to read, in this order.
    line: VecDeque<FileId>,
    memory: Option<Memory>,
    clock: Option<Clock>,
    search_at: Time,
    look_at: Time,
    /// Since when files are known that look like copies of others.
    copies: HashMap<Number, Time>,
    counts: Counts,
}

struct Counts {
    begun: Counter,
    left: Counter,
    failed: Counter,
    over_limit: Counter,
    truncated: Counter,
    lost: Counter,
    oversize: Counter,
    bytes: Counter,
    refused: Counter,
    again: Counter,
    not_stored: Counter,
}

impl Reader {
    pub(super) fn new(
        config: FileConfig,
        store: Store,
        node: &Arc<str>,
        cx: &BuildContext,
    ) -> Result<Self, StartError> {
        let counter = |name| cx.meters.counter(node, name);
        let older = config.ignore_older_secs.map(|period| period.get());
        Ok(Self {
            search: Search::new(config.include, &config.exclude, older)?,
            search_every: Duration::from_millis(config.glob_minimum_cooldown_ms).max(LOOK_EVERY),
            fingerprint: config.fingerprint,
            read_from: config.read_from,
            rotate_wait: config.rotate_wait_secs.get(),
            max_line: config.max_line_bytes.as_len(),
            file_key: config.file_key,
            host: cx.host.clone(),
            store,
            tails: HashMap::new(),
            line: VecDeque::new(),
            memory: None,
            clock: None,
            search_at: Time::ZERO,
            look_at: Time::ZERO,
            copies: HashMap::new(),
            counts: Counts {
                begun: counter("files_begun"),
                left: counter("files_left"),
                failed: counter("files_failed"),
                over_limit: counter("files_over_limit"),
                truncated: counter("files_truncated"),
                lost: counter("bytes_lost_by_truncation"),
                oversize: counter("frames_oversize"),
                bytes: counter("bytes_read"),
                refused: counter("records_refused"),
                again: counter("reads_repeated"),
                not_stored: counter("positions_not_stored"),
            },
        })
    }

    /// Looks for files and at files, where it is time.
    fn look_around(&mut self, now: Time) {
        for Back { file, offset, number, epoch } in self.store.take_back() {
            // What a truncated file held is gone; what is stored of it serves if a copy turns up.
            if let Some(tail) = self.tails.get_mut(&file).filter(|tail| tail.phase != Phase::CutShort) {
                tail.go_to(offset, number, epoch);
                tail.not_before = now + BACK_PAUSE;
                self.line.retain(|waiting| *waiting != file);
            }
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            self.look_at_files(now);
        }
        if now >= self.search_at {
            self.search_at = now + self.search_every;
            self.search_files(now);
        }
    }

    /// Puts files that have grown in line, and lets go of those that are over.
    fn look_at_files(&mut self, now: Time) {
        let waiting: HashSet<FileId> = self.line.iter().copied().collect();
        let mut over = Vec::new();
        for (id, tail) in &mut self.tails {
            match tail.phase {
                Phase::Followed if tail.not_before > now => {}
                Phase::Followed => match tail.look() {
                    Ok(Look::Grown) if !waiting.contains(id) => self.line.push_back(*id),
                    Ok(Look::Grown | Look::Still) => {}
                    Ok(Look::Truncated(lost)) => {
                        tail.phase = Phase::CutShort;
                        self.counts.truncated.add(1);
                        self.counts.lost.add(lost);
                        self.line.retain(|waiting| waiting != id);
                    }
                    Err(_) => {
                        tail.phase = Phase::Done;
                        self.counts.failed.add(1);
                    }
                },
                Phase::LastLine => {}
                Phase::CutShort | Phase::Done if self.store.is_pending(*id) => {}
                Phase::CutShort | Phase::Done => over.push(*id),
            }
        }
        for id in over {
            self.tails.remove(&id);
            self.store.leave(id);
            self.counts.left.add(1);
            // What has taken its place, or holds a copy of it, is found at once.
            self.search_at = now;
        }
    }

    fn search_files(&mut self, now: Time) {
        let paths = self.search.paths();
        let followed: HashMap<Number, FileId> = self.tails.values().map(|tail| (tail.number(), tail.id)).collect();
        let mut there = HashSet::new();
        for (path, number) in &paths {
            let Some(tail) = followed.get(number).and_then(|id| self.tails.get_mut(id)) else { continue };
            there.insert(tail.id);
            tail.gone_since = None;
            if tail.path != *path {
                tail.rename(path, &self.file_key);
                self.store.moved(tail.id, path);
            }
        }
        self.miss(&there, now);
        for (path, number) in paths.into_iter().filter(|(_, number)| !followed.contains_key(number)) {
            if self.tails.len() >= MOST_FILES {
                self.counts.over_limit.add(1);
                break;
            }
            let begun = self.search.open(&path).and_then(|found| match found {
                Some(found) => self.begin(found, number, now),
                None => Ok(()),
            });
            self.counts.failed.add(u64::from(begun.is_err()));
        }
        self.copies.retain(|_, since| now.since(*since) < 2 * self.rotate_wait + self.search_every);
        self.read_from = ReadFrom::Beginning;
    }

    /// Files that no path leads to are read to their end, and waited on for a while.
    fn miss(&mut self, there: &HashSet<FileId>, now: Time) {
        for tail in self.tails.values_mut().filter(|tail| !there.contains(&tail.id)) {
            let since = *tail.gone_since.get_or_insert(now);
            if tail.phase != Phase::Followed || tail.has_more() || now.since(since) < self.rotate_wait {
                continue;
            }
            tail.phase = if tail.has_partial() { Phase::LastLine } else { Phase::Done };
            if tail.phase == Phase::LastLine && !self.line.contains(&tail.id) {
                self.line.push_back(tail.id);
            }
        }
    }

    /// Begins to follow a file: where it was left, at its end, or at its beginning. One that cannot be told from others
    /// yet is left for later.
    fn begin(&mut self, found: Found, number: Number, now: Time) -> io::Result<()> {
        let first = match self.fingerprint.strategy {
            Strategy::DeviceAndInode => None,
            Strategy::Checksum => match fingerprint::first(&found.file, self.fingerprint)? {
                None => return Ok(()),
                first => first,
            },
        };
        let length = found.metadata.len();
        let fits = |place: &Place| {
            let is_same = match first {
                None => (place.device, place.inode) == number,
                Some(_) => {
                    place.first == first && place.behind.stands_before(&found.file, place.offset).unwrap_or(false)
                }
            };
            is_same && place.offset <= length
        };
        let known = self.store.claim(number.0, number.1, fits);
        // Cut otherwise, the same lines would have other numbers.
        let longest = self.max_line as u64;
        let counted = known.as_ref().filter(|place| place.longest == longest).and_then(Place::next);
        let next = counted.unwrap_or_else(|| RecordId::new(fresh_stream(&self.file_key), 0));
        let offset = match known {
            Some(place) => place.offset,
            None => match self.copied(&found, first)? {
                Copied::No if self.read_from == ReadFrom::End => length,
                Copied::No => 0,
                Copied::Whole => length,
                Copied::Ahead => {
                    // Where the original is truncated now, the copy goes on where that was; else it is a file like others.
                    let since = *self.copies.entry(number).or_insert(now);
                    if now.since(since) < self.rotate_wait {
                        return Ok(());
                    }
                    0
                }
            },
        };
        let (device, inode) = number;
        let path = found.path.to_string_lossy().into_owned();
        let behind = fingerprint::behind(&found.file, offset)?;
        let (stream, records) = (Some(next.stream.to_string()), next.number);
        let place = Place { path, device, inode, first, offset, behind, stream, records, longest };
        let id = self.store.follow(place, counted.is_none());
        let origin = origin(self.host.clone(), &found.path, &self.file_key);
        let tail = Tail::new(id, found, first, (offset, next), self.max_line, origin);
        if tail.has_more() {
            self.line.push_back(id);
        }
        self.tails.insert(id, tail);
        self.counts.begun.add(1);
        Ok(())
    }

    /// Whether a file has the content of one that is followed, as far as that was read.
    fn copied(&self, found: &Found, first: Option<Sum>) -> io::Result<Copied> {
        let length = found.metadata.len();
        for tail in self.tails.values().filter(|tail| first.is_some() && tail.first == first) {
            if tail.phase == Phase::CutShort {
                return Ok(Copied::Ahead);
            }
            let common = tail.line_at().min(length);
            if fingerprint::behind(tail.file(), common)?.stands_before(&found.file, common)? {
                return Ok(if common == length { Copied::Whole } else { Copied::Ahead });
            }
        }
        Ok(Copied::No)
    }

    /// Reads the first in line once.
    fn read_once(&mut self, most: usize, rows: &mut Rows) -> Option<u64> {
        let id = self.line.pop_front()?;
        let (tail, memory) = (self.tails.get_mut(&id)?, self.memory.as_mut()?);
        let origin = tail.origin(wall_time());
        if tail.has_uncut() {
            let outcome = tail.cut_more(most, &origin, rows);
            return self.note(id, outcome);
        }
        let slab = memory.take()?;
        let before = tail.read_to();
        let read = if tail.phase == Phase::LastLine {
            tail.phase = Phase::Done;
            tail.finish(slab, &origin, rows).map(|outcome| (outcome, None))
        } else {
            tail.read(slab, most, &origin, rows)
        };
        let bytes = tail.read_to().saturating_sub(before);
        self.counts.bytes.add(bytes);
        self.counts.oversize.add(tail.take_oversize());
        let Ok((outcome, slab)) = read else {
            self.counts.failed.add(1);
            tail.phase = Phase::Done;
            return None;
        };
        if let Some(slab) = slab {
            memory.put_back(slab);
        }
        if memory.is_sparse(usize::try_from(bytes).unwrap_or(usize::MAX)) && !tail.has_uncut() {
            rows.compact();
        }
        self.note(id, outcome)
    }

    /// Notes what came of a read, and puts the file in line again; gives the number of the read.
    fn note(&mut self, id: FileId, outcome: Outcome) -> Option<u64> {
        let (tail, memory) = (self.tails.get(&id)?, self.memory.as_mut()?);
        match outcome {
            Outcome::Lines(lines) => {
                if tail.has_uncut() {
                    self.line.push_front(id);
                } else if tail.has_more() {
                    self.line.push_back(id);
                }
                (lines.to > lines.from).then(|| self.store.read(id, tail.epoch, lines))
            }
            Outcome::More => {
                self.line.push_back(id);
                None
            }
            Outcome::Starved(bytes) => {
                memory.want(bytes);
                self.line.push_front(id);
                None
            }
            Outcome::End => None,
        }
    }
}

/// Whether a file is a copy of one that is followed.
enum Copied {
    No,
    /// And everything in it was read.
    Whole,
    /// And there is more in it than was read.
    Ahead,
}

impl Source for Reader {
    type Payload = Rows;
    type Position = u64;
    type Committer = Commits;

    fn open(&mut self, cx: SourceContext) {
        self.memory = Some(Memory::new(&cx, self.max_line));
        self.clock = Some(cx.clock);
    }

    fn committer(&mut self) -> Commits {
        self.store.committer(self.counts.refused.clone(), self.counts.again.clone())
    }

    fn companion(&mut self, closing: Intake) -> Option<Companion> {
        Some(self.store.keeper(self.clock?, closing, self.counts.not_stored.clone()))
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        // A file is always ready, and must not starve its neighbours.
        tokio::task::coop::consume_budget().await;
        let Some(clock) = self.clock else { return Ok(Readiness::Ended) };
        loop {
            self.look_around(clock.now());
            // The ids of what is read must be known to the next process, which may read it again.
            self.store.keep_streams(&self.counts.not_stored).await;
            let Some(first) = self.line.front().and_then(|id| self.tails.get(id)) else {
                clock.sleep_until(self.look_at.min(self.search_at)).await;
                continue;
            };
            if let (false, Some(memory)) = (first.has_uncut(), &mut self.memory) {
                poll_fn(|task| memory.poll_ready(task)).await?;
            }
            return Ok(Readiness::Ready);
        }
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, u64>, Cause> {
        let position = self.read_once(most_rows(room), &mut rows);
        Ok(Pull { payload: rows, position })
    }
}
