//! The reference: one object per row and per group, nothing clever.

use std::collections::HashSet;

use tidegate_flow::{Bytes, Nack, Outcome, OutcomeCounts, Records, SourceLedger, Verdict};

pub(crate) const SLOTS: usize = 3;
pub(crate) const BYTES: u64 = 100;

/// Index of a row in the model.
pub(crate) type RowId = usize;

#[derive(Default)]
pub(crate) struct Model {
    rows: Vec<Row>,
    pub(crate) sources: Vec<Vec<Group>>,
    /// Pulls of each source that were reported already.
    reported: Vec<usize>,
    /// What ended without a source but with somebody who counts.
    pub(crate) tally: SourceLedger,
}

struct Row {
    parents: Vec<RowId>,
    home: Home,
    awaited: usize,
    worst: Outcome,
    nack: Option<Nack>,
    ended: bool,
}

#[derive(Copy, Clone)]
enum Home {
    Nobody,
    Tally,
    Group(usize, usize),
}

pub(crate) struct Group {
    pub(crate) lane: u8,
    pub(crate) records: u32,
    pub(crate) bytes: u64,
    pub(crate) position: Option<u32>,
    pub(crate) ended: OutcomeCounts,
    pub(crate) kept_nack: Option<Nack>,
    /// Every cause that was ever given for a record of this group.
    pub(crate) causes: HashSet<String>,
}

impl Group {
    pub(crate) fn is_settled(&self) -> bool {
        self.ended.total() == Records::new(u64::from(self.records))
    }
}

impl Model {
    pub(crate) fn new(sources: usize) -> Self {
        let mut model = Self::default();
        model.sources.resize_with(sources, Vec::new);
        model.reported.resize(sources, 0);
        model
    }

    fn add_row(&mut self, parents: Vec<RowId>, home: Home) -> RowId {
        self.rows.push(Row { parents, home, awaited: 0, worst: Outcome::Filtered, nack: None, ended: false });
        self.rows.len() - 1
    }

    pub(crate) fn open(
        &mut self,
        source: usize,
        lane: u8,
        records: u32,
        bytes: u64,
        position: Option<u32>,
    ) -> Vec<RowId> {
        let group = self.sources[source].len();
        self.sources[source].push(Group {
            lane,
            records,
            bytes,
            position,
            ended: OutcomeCounts::default(),
            kept_nack: None,
            causes: HashSet::new(),
        });
        (0..records).map(|_| self.add_row(Vec::new(), Home::Group(source, group))).collect()
    }

    pub(crate) fn detached(&mut self, records: u32, observed: bool) -> Vec<RowId> {
        let home = if observed { Home::Tally } else { Home::Nobody };
        if observed {
            self.tally.accepted += Records::new(u64::from(records));
            self.tally.in_flight += Records::new(u64::from(records));
        }
        (0..records).map(|_| self.add_row(Vec::new(), home)).collect()
    }

    pub(crate) fn children(&mut self, parents: &[RowId], count: usize) -> Vec<RowId> {
        parents.iter().for_each(|parent| self.rows[*parent].awaited += count);
        (0..count).map(|_| self.add_row(parents.to_vec(), Home::Nobody)).collect()
    }

    pub(crate) fn settle(&mut self, row: RowId, verdict: &Verdict) {
        if let Some(nack) = verdict.nack() {
            self.hear(row, nack.cause.as_str());
        }
        self.end(row, verdict.outcome(), verdict.nack());
    }

    fn end(&mut self, row: RowId, outcome: Outcome, nack: Option<&Nack>) {
        assert!(!std::mem::replace(&mut self.rows[row].ended, true), "the model settled a row twice");
        match self.rows[row].home {
            Home::Nobody => {}
            Home::Tally => {
                self.tally.in_flight -= Records::new(1);
                self.tally.ended.add(outcome, Records::new(1));
            }
            Home::Group(source, group) => {
                let group = &mut self.sources[source][group];
                group.ended.add(outcome, Records::new(1));
                keep_of_many(&mut group.kept_nack, nack);
            }
        }
        for parent in self.rows[row].parents.clone() {
            let above = &mut self.rows[parent];
            above.worst = above.worst.max(outcome);
            keep(&mut above.nack, nack);
            above.awaited -= 1;
            if above.awaited == 0 {
                let (worst, nack) = (above.worst, above.nack.clone());
                self.end(parent, worst, nack.as_ref());
            }
        }
    }

    /// Tells every group above `row` of a cause.
    fn hear(&mut self, row: RowId, cause: &str) {
        if let Home::Group(source, group) = self.rows[row].home {
            self.sources[source][group].causes.insert(cause.to_owned());
        }
        for parent in self.rows[row].parents.clone() {
            self.hear(parent, cause);
        }
    }

    pub(crate) fn ledger(&self, source: usize) -> SourceLedger {
        let mut ledger = SourceLedger::default();
        for group in &self.sources[source] {
            ledger.accepted += Records::new(u64::from(group.records));
            ledger.ended.add_all(&group.ended);
        }
        ledger.in_flight = ledger.accepted - ledger.ended.total();
        ledger
    }

    pub(crate) fn live(&self, source: usize) -> impl Iterator<Item = &Group> {
        self.sources[source].iter().filter(|group| !group.is_settled())
    }

    pub(crate) fn bytes(&self, source: usize) -> Bytes {
        Bytes::new(self.live(source).map(|group| group.bytes).sum())
    }

    pub(crate) fn has_room(&self, source: usize, lane: u8, bytes: u64) -> bool {
        let in_lane = self.live(source).filter(|group| group.lane == lane).count();
        let held = self.bytes(source).get();
        in_lane < SLOTS && (self.live(source).next().is_none() || held + bytes <= BYTES)
    }

    /// Groups `from .. to` of the next report and whether it is a refused one, by looking at everything again.
    fn next_report(&self, source: usize) -> Option<(usize, usize, bool)> {
        let (groups, from) = (&self.sources[source], self.reported[source]);
        let settled = groups.iter().take_while(|group| group.is_settled()).count();
        let end_of_pulls = (from..settled).rev().find(|at| groups[*at].position.is_some())? + 1;
        let mut first_refused_pull = end_of_pulls;
        let mut start = from;
        for at in from..end_of_pulls {
            if groups[at].position.is_some() {
                if groups[start..=at].iter().any(|group| !group.ended.refused().is_zero()) {
                    first_refused_pull = start;
                    break;
                }
                start = at + 1;
            }
        }
        if first_refused_pull > from {
            Some((from, first_refused_pull, false))
        } else {
            Some((from, end_of_pulls, true))
        }
    }

    pub(crate) fn has_report(&self, source: usize) -> bool {
        self.next_report(source).is_some()
    }

    /// The next report: position, counts, and the kind of nack.
    pub(crate) fn take(&mut self, source: usize) -> Option<(u32, OutcomeCounts, Option<Nack>)> {
        let (from, to, _) = self.next_report(source)?;
        self.reported[source] = to;
        let groups = &self.sources[source][from..to];
        let (mut counts, mut nack) = (OutcomeCounts::default(), None);
        for group in groups {
            counts.add_all(&group.ended);
            keep_of_many(&mut nack, group.nack().as_ref());
        }
        groups.last().and_then(|group| group.position).map(|position| (position, counts, nack))
    }
}

impl Group {
    /// What the source should be told; a refusal without a cause is transient.
    pub(crate) fn nack(&self) -> Option<Nack> {
        let uncaused = !self.ended.refused().is_zero();
        self.kept_nack.clone().or_else(|| uncaused.then(|| Nack::transient("")))
    }
}

/// Of several records: what is to be tried again goes first.
fn keep_of_many(kept: &mut Option<Nack>, next: Option<&Nack>) {
    if let Some(next) = next
        && kept.as_ref().is_none_or(|kept| next.kind < kept.kind)
    {
        *kept = Some(next.clone());
    }
}

/// Of one record: the worst of its branches.
fn keep(kept: &mut Option<Nack>, next: Option<&Nack>) {
    if let Some(next) = next
        && kept.as_ref().is_none_or(|kept| next.kind > kept.kind)
    {
        *kept = Some(next.clone());
    }
}
