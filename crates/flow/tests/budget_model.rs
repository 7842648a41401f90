//! The budget against a plain model: one process, two pipelines, seven accounts, random operations.
//!
//! The model keeps a list of charges and computes every figure from scratch; the budget keeps counters. After each
//! operation both must agree on the verdict and on every figure, and the invariants must hold.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test or benchmark fails by panicking, on numbers that it chose itself"
)]
#![cfg(not(tidegate_loom))]

use proptest::prelude::*;
use tidegate_flow::{Account, AccountSpec, Budget, Bytes, Lease, OverBudget};

const TOTAL: u64 = 1000;
const LIMITS: [u64; 2] = [700, 600];

/// (pipeline, minimum, maximum, overdraft)
const ACCOUNTS: [(usize, u64, Option<u64>, u64); 7] = [
    (0, 100, None, 0),
    (0, 50, None, 60),
    (0, 20, Some(80), 0),
    (0, 0, None, 0),
    (1, 100, None, 0),
    (1, 30, Some(30), 40),
    (1, 10, None, 0),
];

#[derive(Clone, Debug)]
enum Op {
    Lease {
        account: usize,
        bytes: u64,
    },
    /// Exactly what is left of the minimum: must be granted.
    FillMinimum {
        account: usize,
    },
    Overdraw {
        account: usize,
        bytes: u64,
    },
    Drop {
        lease: usize,
    },
    Rebind {
        lease: usize,
        to: usize,
    },
    Share {
        lease: usize,
    },
    Split {
        lease: usize,
        bytes: u64,
    },
    Merge {
        into: usize,
        from: usize,
    },
    Grow {
        lease: usize,
        bytes: u64,
        overdraw: bool,
    },
    Shrink {
        lease: usize,
        bytes: u64,
    },
    ResizeAccount {
        account: usize,
        minimum: u64,
        fixed: bool,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let account = 0..ACCOUNTS.len();
    let bytes = prop_oneof![3 => 0_u64..60, 2 => 40_u64..300, 1 => 300_u64..1100];
    let lease = 0_usize..64;
    let op = prop_oneof![
        8 => (account.clone(), bytes.clone()).prop_map(|(account, bytes)| Op::Lease { account, bytes }),
        2 => account.clone().prop_map(|account| Op::FillMinimum { account }),
        4 => (account.clone(), bytes.clone()).prop_map(|(account, bytes)| Op::Overdraw { account, bytes }),
        6 => lease.clone().prop_map(|lease| Op::Drop { lease }),
        8 => (lease.clone(), account.clone()).prop_map(|(lease, to)| Op::Rebind { lease, to }),
        2 => lease.clone().prop_map(|lease| Op::Share { lease }),
        2 => (lease.clone(), bytes.clone()).prop_map(|(lease, bytes)| Op::Split { lease, bytes }),
        2 => (lease.clone(), lease.clone()).prop_map(|(into, from)| Op::Merge { into, from }),
        3 => (lease.clone(), bytes.clone(), any::<bool>())
            .prop_map(|(lease, bytes, overdraw)| Op::Grow { lease, bytes, overdraw }),
        3 => (lease, bytes).prop_map(|(lease, bytes)| Op::Shrink { lease, bytes }),
        1 => (account, 0_u64..150, any::<bool>())
            .prop_map(|(account, minimum, fixed)| Op::ResizeAccount { account, minimum, fixed }),
    ];
    proptest::collection::vec(op, 1..120)
}

/// One charge and how many handles it has.
#[derive(Clone, Debug)]
struct Charge {
    account: usize,
    bytes: u64,
    handles: usize,
    shared: bool,
}

#[derive(Clone, Debug)]
struct ModelAccount {
    pipeline: usize,
    minimum: u64,
    maximum: Option<u64>,
    overdraft: u64,
    used: u64,
    debt: u64,
    peak: u64,
    refused: u64,
}

impl ModelAccount {
    fn own(&self) -> u64 {
        self.used - self.debt
    }

    fn give_back(&mut self, bytes: u64) {
        self.used -= bytes;
        self.debt = self.debt.saturating_sub(bytes);
    }
}

#[derive(Clone, Debug)]
struct Model {
    accounts: Vec<ModelAccount>,
    charges: Vec<Charge>,
    /// Peaks of the process and of the pipelines.
    peaks: [u64; 3],
}

impl Model {
    fn new() -> Self {
        let account = |&(pipeline, minimum, maximum, overdraft): &(usize, u64, Option<u64>, u64)| ModelAccount {
            pipeline,
            minimum: maximum.unwrap_or(minimum),
            maximum,
            overdraft,
            used: 0,
            debt: 0,
            peak: 0,
            refused: 0,
        };
        Self { accounts: ACCOUNTS.iter().map(account).collect(), charges: Vec::new(), peaks: [0; 3] }
    }

    fn sum(&self, pipeline: Option<usize>, figure: impl Fn(&ModelAccount) -> u64) -> u64 {
        self.accounts.iter().filter(|a| pipeline.is_none_or(|p| a.pipeline == p)).map(figure).sum()
    }

    fn committed(&self, pipeline: Option<usize>) -> u64 {
        self.sum(pipeline, |a| a.own().max(a.minimum) + a.overdraft)
    }

    fn reserved(&self, pipeline: Option<usize>) -> u64 {
        self.sum(pipeline, |a| a.minimum + a.overdraft)
    }

    fn fits(&self) -> bool {
        self.committed(None) <= TOTAL && (0..2).all(|p| self.committed(Some(p)) <= LIMITS[p])
    }

    fn largest(&self, account: usize) -> u64 {
        let a = &self.accounts[account];
        let floats = (TOTAL - self.reserved(None)).min(LIMITS[a.pipeline] - self.reserved(Some(a.pipeline)));
        a.maximum.unwrap_or(a.minimum + floats)
    }

    fn note_peaks(&mut self) {
        for account in &mut self.accounts {
            account.peak = account.peak.max(account.used);
        }
        for (peak, pipeline) in [None, Some(0), Some(1)].into_iter().enumerate() {
            self.peaks[peak] = self.peaks[peak].max(self.sum(pipeline, |a| a.used));
        }
    }

    fn refuse(&mut self, account: usize, bytes: u64, more: u64) -> Result<(), OverBudget> {
        self.accounts[account].refused += 1;
        let never = bytes > self.largest(account) + more;
        Err(if never { OverBudget::Never } else { OverBudget::Busy })
    }

    /// Charges as a plain lease, if the result fits.
    fn try_charge(&mut self, account: usize, bytes: u64) -> bool {
        let mut after = self.clone();
        let a = &mut after.accounts[account];
        let may = a.debt == 0 && a.maximum.is_none_or(|maximum| a.own() + bytes <= maximum);
        a.used += bytes;
        let granted = bytes == 0 || (may && after.fits());
        if granted {
            *self = after;
            self.note_peaks();
        }
        granted
    }

    fn charge(&mut self, account: usize, bytes: u64) -> Result<(), OverBudget> {
        if self.try_charge(account, bytes) { Ok(()) } else { self.refuse(account, bytes, 0) }
    }

    fn overdraw(&mut self, account: usize, bytes: u64) -> Result<(), OverBudget> {
        if self.try_charge(account, bytes) {
            return Ok(());
        }
        let mut after = self.clone();
        let a = &mut after.accounts[account];
        let beyond = bytes.saturating_sub(a.minimum.saturating_sub(a.own()));
        let debt = beyond.min(a.overdraft - a.debt);
        a.used += bytes;
        a.debt += debt;
        let overdraft = a.overdraft;
        let may = a.maximum.is_none() || beyond == debt;
        if may && after.fits() {
            *self = after;
            self.note_peaks();
            return Ok(());
        }
        self.refuse(account, bytes, overdraft)
    }

    fn rebind(&mut self, from: usize, to: usize, bytes: u64) -> Result<(), OverBudget> {
        if bytes == 0 || from == to {
            return Ok(());
        }
        let mut after = self.clone();
        let same_pool = after.accounts[from].pipeline == after.accounts[to].pipeline;
        if same_pool {
            after.accounts[from].give_back(bytes);
        }
        let a = &mut after.accounts[to];
        let may = a.debt == 0 && a.maximum.is_none_or(|maximum| a.own() + bytes <= maximum);
        a.used += bytes;
        if !may || !after.fits() {
            return self.refuse(to, bytes, 0);
        }
        *self = after;
        self.note_peaks();
        if !same_pool {
            self.accounts[from].give_back(bytes);
        }
        Ok(())
    }

    fn resize_account(&mut self, account: usize, minimum: u64, maximum: Option<u64>) -> bool {
        let mut after = self.clone();
        let a = &mut after.accounts[account];
        (a.minimum, a.maximum) = (maximum.unwrap_or(minimum), maximum);
        // Giving back is always possible; only asking for more can fail.
        let more = after.committed(None) > self.committed(None);
        let granted = !more || after.fits();
        if granted {
            *self = after;
        }
        granted
    }
}

struct Run {
    process: Budget,
    pipelines: [Budget; 2],
    accounts: Vec<Account>,
    /// Handles, each with the number of its charge in the model.
    leases: Vec<(Lease, usize)>,
    model: Model,
}

impl Run {
    fn new() -> Self {
        let process = Budget::new(Bytes::new(TOTAL));
        let pipelines = [0, 1].map(|p| process.child(&format!("p{p}"), Bytes::new(LIMITS[p])));
        let open = |(i, &(p, minimum, maximum, overdraft)): (usize, &(usize, u64, Option<u64>, u64))| {
            let spec = AccountSpec::edge(Bytes::new(minimum)).overdraft(Bytes::new(overdraft));
            let spec = AccountSpec { maximum: maximum.map(Bytes::new), ..spec };
            pipelines[p].account(&format!("a{i}"), spec).expect("the minima fit")
        };
        let accounts = ACCOUNTS.iter().enumerate().map(open).collect();
        Self { process, pipelines, accounts, leases: Vec::new(), model: Model::new() }
    }

    fn adopt(&mut self, lease: Lease, account: usize, bytes: u64) {
        self.model.charges.push(Charge { account, bytes, handles: 1, shared: false });
        self.leases.push((lease, self.model.charges.len() - 1));
    }

    fn pick(&self, lease: usize) -> Option<usize> {
        (!self.leases.is_empty()).then(|| lease % self.leases.len())
    }

    fn let_go(&mut self, index: usize) {
        let (lease, id) = self.leases.swap_remove(index);
        drop(lease);
        let charge = &mut self.model.charges[id];
        charge.handles -= 1;
        if charge.handles == 0 {
            let charge = charge.clone();
            self.model.accounts[charge.account].give_back(charge.bytes);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Lease { account, bytes } => self.lease(account, bytes),
            Op::FillMinimum { account } => {
                let a = &self.model.accounts[account];
                let (left, debt) = (a.minimum.saturating_sub(a.own()), a.debt);
                let lease = self.accounts[account].try_lease(Bytes::new(left));
                assert!(lease.is_some() || debt > 0, "the minimum of account {account} was not there");
                assert_eq!(lease.is_some(), self.model.charge(account, left).is_ok());
                if let Some(lease) = lease {
                    self.adopt(lease, account, left);
                }
            }
            Op::Overdraw { account, bytes } => {
                let got = self.accounts[account].overdraw(Bytes::new(bytes));
                assert_eq!(got.as_ref().map(drop), self.model.overdraw(account, bytes).as_ref().copied());
                if let Ok(lease) = got {
                    self.adopt(lease, account, bytes);
                }
            }
            Op::ResizeAccount { account, minimum, fixed } => {
                let maximum = fixed.then_some(minimum);
                let done = self.accounts[account].resize(Bytes::new(minimum), maximum.map(Bytes::new)).is_ok();
                assert_eq!(done, self.model.resize_account(account, minimum, maximum));
            }
            Op::Merge { into, from } => self.merge(into, from),
            Op::Drop { lease }
            | Op::Rebind { lease, .. }
            | Op::Share { lease }
            | Op::Split { lease, .. }
            | Op::Grow { lease, .. }
            | Op::Shrink { lease, .. } => {
                if let Some(index) = self.pick(lease) {
                    self.apply_to(index, op);
                }
            }
        }
    }

    fn lease(&mut self, account: usize, bytes: u64) {
        let got = self.accounts[account].lease(Bytes::new(bytes));
        assert_eq!(got.as_ref().map(drop), self.model.charge(account, bytes).as_ref().copied());
        if let Ok(lease) = got {
            self.adopt(lease, account, bytes);
        }
    }

    fn apply_to(&mut self, index: usize, op: &Op) {
        let id = self.leases[index].1;
        let Charge { account, bytes: old, shared, .. } = self.model.charges[id];
        let lease = &mut self.leases[index].0;
        match *op {
            Op::Rebind { to, .. } => {
                let expected = if shared { Ok(()) } else { self.model.rebind(account, to, old) };
                assert_eq!(lease.rebind(&self.accounts[to]), expected);
                if !shared && expected.is_ok() {
                    self.model.charges[id].account = to;
                }
            }
            Op::Share { .. } => self.share(index),
            Op::Split { .. } if shared => self.share(index),
            Op::Split { bytes, .. } => {
                let part = lease.split(Bytes::new(bytes));
                self.model.charges[id].bytes -= bytes.min(old);
                self.adopt(part, account, bytes.min(old));
            }
            Op::Grow { bytes, overdraw, .. } => {
                let to = Bytes::new(old + bytes);
                let got = if overdraw { lease.resize_overdrawing(to) } else { lease.resize(to) };
                let expected = match (shared, overdraw) {
                    (true, _) if bytes > 0 => Err(OverBudget::Busy),
                    (true, _) => Ok(()),
                    (false, true) => self.model.overdraw(account, bytes),
                    (false, false) => self.model.charge(account, bytes),
                };
                assert_eq!(got, expected);
                if !shared && got.is_ok() {
                    self.model.charges[id].bytes += bytes;
                }
            }
            Op::Shrink { bytes, .. } => {
                let to = old.min(bytes);
                assert_eq!(lease.resize(Bytes::new(to)), Ok(()));
                if !shared {
                    self.model.accounts[account].give_back(old - to);
                    self.model.charges[id].bytes = to;
                }
            }
            _ => self.let_go(index),
        }
    }

    fn share(&mut self, index: usize) {
        let (lease, id) = &mut self.leases[index];
        let (handle, id) = (lease.share(), *id);
        let charge = &mut self.model.charges[id];
        (charge.handles, charge.shared) = (charge.handles + 1, true);
        self.leases.push((handle, id));
    }

    fn merge(&mut self, into: usize, from: usize) {
        let (Some(into), Some(from)) = (self.pick(into), self.pick(from)) else { return };
        if into == from {
            return;
        }
        let (mine, theirs) = (self.leases[into].1, self.leases[from].1);
        let (a, b) = (self.model.charges[mine].clone(), self.model.charges[theirs].clone());
        if a.bytes == 0 || b.bytes == 0 {
            return;
        }
        let other = std::mem::take(&mut self.leases[from].0);
        let merged = self.leases[into].0.merge(other);
        assert_eq!(merged.is_ok(), mine == theirs || (!a.shared && !b.shared && a.account == b.account));
        match merged {
            Err(other) => self.leases[from].0 = other,
            Ok(()) => {
                drop(self.leases.swap_remove(from));
                if mine == theirs {
                    self.model.charges[mine].handles -= 1;
                } else {
                    self.model.charges[mine].bytes += b.bytes;
                    self.model.charges[theirs].handles = 0;
                }
            }
        }
    }

    fn check(&self) {
        for (account, model) in self.accounts.iter().zip(&self.model.accounts) {
            assert_eq!(account.used().get(), model.used, "used of {account:?}");
            assert_eq!(account.peak().get(), model.peak, "peak of {account:?}");
            assert_eq!(account.in_debt(), model.debt > 0, "debt of {account:?}");
            assert_eq!(account.refused(), model.refused, "refusals of {account:?}");
        }
        let total = TOTAL - self.model.committed(None);
        for (pool, pipeline, size) in [
            (&self.process, None, TOTAL),
            (&self.pipelines[0], Some(0), LIMITS[0]),
            (&self.pipelines[1], Some(1), LIMITS[1]),
        ] {
            let used = self.model.sum(pipeline, |a| a.used);
            assert_eq!(pool.used().get(), used, "used of {pool:?}");
            assert!(used <= size, "{pool:?} is overcharged");
            assert_eq!(pool.reserved().get(), self.model.reserved(pipeline), "reserved of {pool:?}");
            assert_eq!(pool.free().get(), total.min(size - self.model.committed(pipeline)), "free of {pool:?}");
        }
        let peaks = [self.process.peak(), self.pipelines[0].peak(), self.pipelines[1].peak()].map(Bytes::get);
        assert_eq!(peaks, self.model.peaks, "peaks of the pools");
        for (lease, id) in &self.leases {
            let charge = &self.model.charges[*id];
            assert_eq!((lease.bytes().get(), lease.is_shared()), (charge.bytes, charge.shared), "{lease:?}");
        }
    }

    /// Lets go of everything, in any order, and looks whether the budget is as new.
    fn finish(mut self) {
        while !self.leases.is_empty() {
            self.let_go(0);
            self.check();
        }
        let Self { process, pipelines, accounts, .. } = self;
        assert!(accounts.iter().all(|account| account.used().is_zero()));
        drop(accounts);
        for pool in [&process, &pipelines[0], &pipelines[1]] {
            assert_eq!((pool.used(), pool.reserved(), pool.free()), (Bytes::ZERO, Bytes::ZERO, pool.total()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn the_budget_agrees_with_the_model(ops in ops()) {
        let mut run = Run::new();
        for op in &ops {
            run.apply(op);
            run.check();
        }
        run.finish();
    }
}
