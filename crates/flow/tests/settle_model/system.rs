//! The system under test beside its model: every operation is done to both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::sample::Index;
use tidegate_flow::settle::{GroupWatch, Tally, Ticket, Window, WindowSpec};
use tidegate_flow::{Bytes, Outcome, Time, Verdict, Weight};

use super::reference::{BYTES, Model, RowId, SLOTS};

const SOURCES: usize = 2;
/// More rows than this in one ticket teach nothing new.
const MOST_ROWS: usize = 60;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Open { source: usize, lane: u8, records: u32, bytes: u64, positioned: bool, watched: bool },
    Detached { records: u32, observed: bool },
    Split { ticket: Index, at: Index },
    Append { to: Index, from: Index },
    SettleRows { ticket: Index, mask: u64, verdict: Verdict },
    Expand { ticket: Index, counts: Vec<u32> },
    Fork { ticket: Index, required: usize },
    Join { tickets: Vec<Index>, outputs: u32 },
    Settle { ticket: Index, verdict: Verdict },
    Drop { ticket: Index },
    Take { source: usize },
}

pub(crate) struct System {
    windows: Vec<Window<u32>>,
    tally: Tally,
    tickets: Vec<(Ticket, Vec<RowId>)>,
    watches: Vec<(GroupWatch, usize, usize)>,
    parked: Vec<Parked>,
    model: Model,
    positions: u32,
}

/// The wakers that a source parked in its window. `None`: it is not waiting for that.
#[derive(Default)]
struct Parked {
    room: [Option<u64>; 2],
    room_flag: Arc<Flag>,
    news: Option<Arc<Flag>>,
    idle: Option<Arc<Flag>>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl System {
    pub(crate) fn new() -> Self {
        let spec = WindowSpec { slots: SLOTS as u32, bytes: Bytes::new(BYTES), lanes: 2 };
        let windows = (0..SOURCES).map(|_| Window::new(spec).expect("a valid spec")).collect();
        let parked = (0..SOURCES).map(|_| Parked::default()).collect();
        Self {
            windows,
            tally: Tally::new(),
            tickets: Vec::new(),
            watches: Vec::new(),
            parked,
            model: Model::new(SOURCES),
            positions: 0,
        }
    }

    pub(crate) fn apply(&mut self, op: Op) {
        match op {
            Op::Open { source, lane, records, bytes, positioned, watched } => {
                self.open(source, lane, Weight::new(u64::from(records), bytes), positioned, watched);
            }
            Op::Detached { records, observed } => {
                let ticket = if observed { Ticket::observed(records, &self.tally) } else { Ticket::detached(records) };
                let rows = self.model.detached(records, observed);
                self.tickets.push((ticket, rows));
            }
            Op::Take { source } => self.take(source),
            op if self.tickets.is_empty() => drop(op),
            Op::Split { ticket, at } => {
                let at = at.index(self.at(&ticket).1.len() + 1);
                let (ticket, rows) = self.at(&ticket);
                let tail = (ticket.split_off(at as u32), rows.split_off(at));
                self.tickets.push(tail);
            }
            Op::Append { to, from } => {
                let (ticket, rows) = self.remove(&from);
                if let Some(to) = self.tickets.len().checked_sub(1).map(|_| self.at(&to)) {
                    to.0.append(ticket);
                    to.1.extend(rows);
                } else {
                    self.tickets.push((ticket, rows));
                }
            }
            Op::SettleRows { ticket, mask, verdict } => self.settle_rows(&ticket, mask, &verdict),
            Op::Expand { ticket, counts } => self.expand(&ticket, &counts),
            Op::Fork { ticket, required } => self.fork(&ticket, required),
            Op::Join { tickets, outputs } => self.join(&tickets, outputs),
            Op::Settle { ticket, verdict } => {
                let (ticket, rows) = self.remove(&ticket);
                ticket.settle_as(verdict.clone());
                rows.iter().for_each(|row| self.model.settle(*row, &verdict));
            }
            Op::Drop { ticket } => {
                let (ticket, rows) = self.remove(&ticket);
                drop(ticket);
                rows.iter().for_each(|row| self.model.settle(*row, &Outcome::Abandoned.into()));
            }
        }
    }

    fn at(&mut self, index: &Index) -> &mut (Ticket, Vec<RowId>) {
        let at = index.index(self.tickets.len());
        &mut self.tickets[at]
    }

    fn remove(&mut self, index: &Index) -> (Ticket, Vec<RowId>) {
        let at = index.index(self.tickets.len());
        self.tickets.swap_remove(at)
    }

    fn open(&mut self, source: usize, lane: u8, weight: Weight, positioned: bool, watched: bool) {
        self.positions += 1;
        let position = positioned.then_some(self.positions);
        let window = &self.windows[source];
        let now = Time::from_nanos(u64::from(self.positions));
        let (ticket, watch) = if watched {
            window.try_open_watched(lane, weight, position, now).unzip()
        } else {
            (window.try_open(lane, weight, position, now), None)
        };
        let room = self.model.has_room(source, lane, weight.bytes.get());
        assert_eq!(ticket.is_some(), room, "admission of {weight} in lane {lane}");
        let Some(ticket) = ticket else { return };
        let records = weight.records.get() as u32;
        let rows = self.model.open(source, lane, records, weight.bytes.get(), position);
        self.watches.extend(watch.map(|watch| (watch, source, self.model.sources[source].len() - 1)));
        self.tickets.push((ticket, rows));
    }

    fn settle_rows(&mut self, index: &Index, mask: u64, verdict: &Verdict) {
        let (ticket, rows) = self.at(index);
        let picked: Vec<u32> = (0..rows.len() as u32).filter(|row| mask >> (row % 64) & 1 == 1).collect();
        ticket.settle_rows(&picked, verdict.clone());
        let mut ended: Vec<RowId> = picked.iter().map(|row| rows[*row as usize]).collect();
        rows.retain(|row| !ended.contains(row));
        ended.drain(..).for_each(|row| self.model.settle(row, verdict));
    }

    fn expand(&mut self, index: &Index, pattern: &[u32]) {
        let (ticket, rows) = self.at(index);
        let counts: Vec<u32> = rows.iter().zip(pattern.iter().cycle()).map(|(_, count)| *count).collect();
        if counts.iter().sum::<u32>() as usize > MOST_ROWS {
            return;
        }
        ticket.expand(&counts);
        let mut expanded = Vec::new();
        for (row, count) in std::mem::take(rows).into_iter().zip(counts) {
            match count {
                0 => self.model.settle(row, &Outcome::Filtered.into()),
                1 => expanded.push(row),
                _ => expanded.extend(self.model.children(&[row], count as usize)),
            }
        }
        self.at(index).1 = expanded;
    }

    fn fork(&mut self, index: &Index, required: usize) {
        let (ticket, rows) = self.remove(index);
        let branches = ticket.fork(required);
        assert_eq!(branches.len(), required);
        let children: Vec<Vec<RowId>> = rows.iter().map(|row| self.model.children(&[*row], required)).collect();
        if required == 0 {
            rows.iter().for_each(|row| self.model.settle(*row, &Outcome::Filtered.into()));
        }
        for (at, branch) in branches.into_iter().enumerate() {
            self.tickets.push((branch, children.iter().map(|copies| copies[at]).collect()));
        }
    }

    fn join(&mut self, indexes: &[Index], outputs: u32) {
        let (mut inputs, mut rows) = (Vec::new(), Vec::new());
        for index in indexes {
            if !self.tickets.is_empty() {
                let (ticket, its) = self.remove(index);
                inputs.push(ticket);
                rows.extend(its);
            }
        }
        let joined = Ticket::join(inputs, outputs);
        let children = self.model.children(&rows, outputs as usize);
        if outputs == 0 {
            rows.iter().for_each(|row| self.model.settle(*row, &Outcome::Filtered.into()));
        }
        self.tickets.push((joined, children));
    }

    fn take(&mut self, source: usize) {
        let taken = self.windows[source].take_settled();
        let expected = self.model.take(source);
        let Some((position, counts, nack)) = expected else {
            assert_eq!(taken, None);
            return;
        };
        let taken = taken.expect("the model has news");
        assert_eq!((taken.position, taken.counts), (position, counts), "order and counts of a report");
        let kinds = [taken.nack, nack].map(|nack| nack.map(|nack| nack.kind));
        assert_eq!(kinds[0], kinds[1], "the nack of a report");
    }

    /// Compares everything that can be seen from outside, and parks again whoever was woken.
    pub(crate) fn check(&mut self) {
        for (ticket, rows) in &self.tickets {
            assert_eq!(ticket.records() as usize, rows.len());
        }
        assert_eq!(self.tally.counts(), self.model.tally);
        for source in 0..SOURCES {
            self.check_window(source);
            self.check_wakers(source);
        }
        self.check_watches();
    }

    fn check_window(&self, source: usize) {
        let window = &self.windows[source];
        let counts = window.counts();
        assert_eq!(counts.check(), Ok(()));
        assert_eq!(counts, self.model.ledger(source));
        let fill = window.fill();
        assert_eq!(fill.groups as usize, self.model.live(source).count());
        assert_eq!(fill.bytes, self.model.bytes(source));
        assert!(fill.intervals <= fill.groups);
        let oldest = self.model.sources[source].iter().position(|group| !group.is_settled());
        assert_eq!(window.oldest_unsettled().map(|oldest| oldest.sequence as usize), oldest);
    }

    fn check_wakers(&mut self, source: usize) {
        let (window, parked, model) = (&self.windows[source], &mut self.parked[source], &self.model);
        let (idle, news) = (model.live(source).next().is_none(), model.has_report(source));

        let granted = (0u8..2)
            .any(|lane| parked.room[usize::from(lane)].is_some_and(|bytes| model.has_room(source, lane, bytes)));
        assert!(!granted || parked.room_flag.is_set(), "there is room and nobody was woken");
        if parked.room_flag.is_set() {
            (parked.room, parked.room_flag) = ([None; 2], Arc::default());
        }
        let waker = Waker::from(Arc::clone(&parked.room_flag));
        for (lane, bytes) in [(0, 0), (1, 30)] {
            let ready = window.poll_room(lane, Weight::new(1, bytes), &mut Context::from_waker(&waker)).is_ready();
            assert_eq!(ready, model.has_room(source, lane, bytes));
            assert_eq!(ready, window.has_room(lane, Weight::new(1, bytes)));
            // What was parked before for this lane stays parked while there is room: a spurious wake-up is allowed.
            parked.room[usize::from(lane)] = (!ready).then_some(bytes);
        }

        assert!(!idle || parked.idle.as_ref().is_none_or(|flag| flag.is_set()), "idle and nobody was woken");
        let flag = Arc::<Flag>::default();
        let waker = Waker::from(Arc::clone(&flag));
        let ready = window.poll_idle(&mut Context::from_waker(&waker)).is_ready();
        assert_eq!(ready, idle);
        parked.idle = (!ready).then_some(flag);

        assert!(!news || parked.news.as_ref().is_none_or(|flag| flag.is_set()), "news and nobody was woken");
        if !news {
            let flag = Arc::<Flag>::default();
            let waker = Waker::from(Arc::clone(&flag));
            assert_eq!(window.poll_settled(&mut Context::from_waker(&waker)), Poll::Pending);
            parked.news = Some(flag);
        }
    }

    fn check_watches(&mut self) {
        for (watch, source, at) in &mut self.watches {
            let group = &self.model.sources[*source][*at];
            let polled = watch.poll_outcome(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(outcome) = polled else {
                assert!(!group.is_settled(), "a settled group is told to its watch");
                continue;
            };
            assert!(group.is_settled(), "a watch is told only of a settled group");
            assert_eq!(outcome.counts, group.ended);
            assert_eq!(outcome.nack.as_ref().map(|nack| nack.kind), group.nack().map(|nack| nack.kind));
            if let (Some(told), Some(_)) = (&outcome.nack, &group.kept_nack) {
                assert!(group.causes.contains(told.cause.as_str()), "{told} was never given for this group");
            }
        }
    }

    pub(crate) fn drop_everything(&mut self) {
        while !self.tickets.is_empty() {
            let (ticket, rows) = self.tickets.swap_remove(0);
            drop(ticket);
            rows.iter().for_each(|row| self.model.settle(*row, &Outcome::Abandoned.into()));
            self.check();
        }
        for source in 0..SOURCES {
            assert!(self.windows[source].oldest_unsettled().is_none());
            assert_eq!(self.windows[source].counts().in_flight.get(), 0);
            while self.model.has_report(source) {
                self.take(source);
            }
            self.take(source);
        }
    }
}
