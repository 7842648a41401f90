//! [`Coverage`]: what the runs had in them, as a table, and whether that is enough.

use std::collections::BTreeMap;
use std::fmt;

use tidegate_flow::{OnFull, Outcome, OutcomeCounts};

use crate::plan::{Plan, Step};
use crate::run::Ran;

/// From so many runs on, the shares must be what they are to be.
const ENOUGH: u64 = 200;

/// The policies, each of which must be on a share of the edges.
const POLICIES: [&str; 7] = ["block", "block for a time", "drop_newest", "drop_oldest", "sample", "fail", "divert"];

/// What can never answer again; each must have been named.
const STALLS: [&str; 3] = ["a sink", "a call", "a wait for nothing"];

/// What the runs had in them.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    runs: u64,
    stages: [u64; 4],
    forked_and_joined: u64,
    edges: u64,
    policies: BTreeMap<&'static str, u64>,
    shapes: BTreeMap<&'static str, u64>,
    ends: BTreeMap<&'static str, u64>,
    oversize: (u64, u64),
    cut: u64,
    panicked: u64,
    disturbed: u64,
    exact: u64,
    stalls: BTreeMap<&'static str, u64>,
    diverted: u64,
    outcomes: OutcomeCounts,
    looks: u64,
    features: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Adds a run.
    pub fn add(&mut self, plan: &Plan, ran: &Ran) {
        self.runs += 1;
        let size = plan.stages();
        self.stages[[size > 8, size > 16, size > 28].iter().filter(|more| **more).count()] += 1;
        self.forked_and_joined += u64::from(plan.forks() && plan.joins());
        for edge in plan.edges() {
            self.edges += 1;
            *self.policies.entry(policy(&edge.when_full)).or_default() += 1;
        }
        for shape in plan.shapes() {
            *self.shapes.entry(shape.name()).or_default() += 1;
        }
        *self.ends.entry(plan.end.name()).or_default() += 1;
        self.oversize.0 += ran.oversize.0;
        self.oversize.1 += ran.oversize.1;
        self.cut += u64::from(plan.end.cancels());
        self.panicked += u64::from(ran.panicked);
        self.disturbed += u64::from(plan.end.cancels() || ran.panicked);
        self.exact += u64::from(ran.exact);
        if let (Some(stall), true) = (plan.stall, ran.stalled) {
            *self.stalls.entry(stall.site.name()).or_default() += 1;
        }
        self.diverted += ran.diverted;
        self.outcomes.add_all(&ran.totals.ended);
        self.looks += ran.looks;
        self.add_features(plan, ran);
    }

    fn add_features(&mut self, plan: &Plan, ran: &Ran) {
        let best_effort =
            |step: &Step| matches!(step, Step::Fork { arms, .. } if arms.iter().any(|(_, required)| !required));
        let dead = |step: &Step| matches!(step, Step::Sink { dead_letters: Some(_), .. });
        let has = [
            ("several sources", plan.sources.len() > 1),
            ("lanes", plan.sources.iter().any(|source| source.lanes > 1)),
            ("deadlines", plan.sources.iter().any(|source| source.deadline > 0)),
            ("records of zero bytes", plan.sources.iter().any(|source| source.weight == 0)),
            ("best-effort branches", plan.steps.iter().any(best_effort)),
            ("dead letters of a sink", plan.steps.iter().any(dead)),
            ("the least budget", plan.budget_times == 1),
            ("failed as planned", ran.end.starts_with("failed")),
            ("deadline of a drain passed", ran.end.starts_with("stopped at its deadline")),
        ];
        for (name, is) in has {
            *self.features.entry(name).or_default() += u64::from(is);
        }
    }

    /// What is missing, in words. Only of many runs can it be asked.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        if self.runs < ENOUGH {
            return Vec::new();
        }
        let mut shares = vec![
            ("runs with fork and join".to_owned(), percent(self.forked_and_joined, self.runs), 50.0),
            ("oversize batches".to_owned(), percent(self.oversize.0, self.oversize.1), 1.0),
            ("runs with a cancel or panic".to_owned(), percent(self.disturbed, self.runs), 30.0),
            ("runs with each record's end checked".to_owned(), percent(self.exact, self.runs), 30.0),
        ];
        for policy in POLICIES {
            let edges = self.policies.get(policy).copied().unwrap_or(0);
            shares.push((format!("edges that {policy}"), percent(edges, self.edges), 5.0));
        }
        let low = shares.iter().filter(|(_, is, least)| is < least);
        let mut missing: Vec<String> =
            low.map(|(what, is, least)| format!("{what}: {is:.1} %, at least {least} %")).collect();
        let unnamed = STALLS.iter().filter(|what| !self.stalls.contains_key(*what));
        missing.extend(unnamed.map(|what| format!("no stall of {what}")));
        missing.extend((self.diverted == 0).then(|| "no record was diverted".to_owned()));
        let unseen = Outcome::ALL.iter().filter(|outcome| **outcome != Outcome::Absorbed);
        missing.extend(
            unseen
                .filter(|outcome| self.outcomes.get(**outcome).is_zero())
                .map(|outcome| format!("no record ended as {outcome}")),
        );
        missing
    }

    /// The rows of the table: what, how often, of how many.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, u64, u64)> {
        let of_runs = |what: &str, count| (what.to_owned(), count, self.runs);
        let mut rows = vec![of_runs("runs", self.runs)];
        let sizes = ["3 to 8 stages", "9 to 16 stages", "17 to 28 stages", "29 and more stages"];
        rows.extend(sizes.iter().zip(self.stages).map(|(what, count)| of_runs(what, count)));
        rows.push(of_runs("fork and join", self.forked_and_joined));
        rows.push(of_runs("cut short", self.cut));
        rows.push(of_runs("panics", self.panicked));
        rows.push(of_runs("cut short, or panics", self.disturbed));
        rows.push(of_runs("each record's end checked", self.exact));
        rows.push(("oversize batches".to_owned(), self.oversize.0, self.oversize.1));
        rows.extend(self.policies.iter().map(|(policy, count)| (format!("edges: {policy}"), *count, self.edges)));
        let shapes = self.shapes.values().sum();
        rows.extend(self.shapes.iter().map(|(shape, count)| (format!("operators: {shape}"), *count, shapes)));
        rows.extend(self.ends.iter().map(|(end, count)| of_runs(&format!("ends: {end}"), *count)));
        rows.extend(self.stalls.iter().map(|(what, count)| of_runs(&format!("stalls named: {what}"), *count)));
        rows.extend(self.features.iter().map(|(name, count)| of_runs(name, *count)));
        let records = self.outcomes.total().get();
        rows.extend(self.outcomes.iter().map(|(outcome, count)| (format!("records {outcome}"), count.get(), records)));
        rows.push(("records diverted".to_owned(), self.diverted, records));
        rows.push(("looks during a run".to_owned(), self.looks, self.looks));
        rows
    }

    /// The table as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let row =
            |(what, count, of): (String, u64, u64)| format!("{{\"what\":\"{what}\",\"count\":{count},\"of\":{of}}}");
        let rows: Vec<String> = self.rows().into_iter().map(row).collect();
        let missing: Vec<String> = self.missing().iter().map(|text| format!("\"{text}\"")).collect();
        format!("{{\"rows\":[{}],\"missing\":[{}]}}", rows.join(","), missing.join(","))
    }
}

fn policy(when_full: &OnFull) -> &'static str {
    match when_full {
        OnFull::Block { max: Some(_) } => "block for a time",
        other => other.name(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 * 100.0 / of as f64 }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(what, ..)| what.chars().count()).max().unwrap_or(0);
        for (what, count, of) in &rows {
            writeln!(f, "{what:width$}  {count:>10}  {:>5.1} %", percent(*count, *of))?;
        }
        match self.missing() {
            missing if missing.is_empty() => write!(f, "coverage: enough"),
            missing => write!(f, "coverage is missing:\n  {}", missing.join("\n  ")),
        }
    }
}
