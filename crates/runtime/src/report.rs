//! What a pipeline did: [`Report`], as data and as a page that a person can read.

use std::fmt;
use std::time::Duration;

use tidegate_flow::blame::Verdict;
use tidegate_flow::{Bytes, Cause, Ledger, StageKind, StageTimes};

use crate::egress::SinkRefusals;

/// How a pipeline ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineEnd {
    /// Every source ended, or was told to, and everything they had read was settled.
    Completed,
    /// The deadline of a drain passed; what was still in flight was abandoned.
    DeadlinePassed,
    /// A stage failed.
    Failed {
        /// The stage.
        stage: String,
        /// Why.
        cause: Cause,
    },
    /// It was stopped at once.
    Stopped,
}

/// What a pipeline did, from its start to its end. Its `Display` is a page: how it ended, what limited it, how much
/// memory it used, what each stage did with its time, and the ledger.
#[derive(Clone, Debug)]
pub struct Report {
    /// The pipeline.
    pub name: String,
    /// How it ended.
    pub end: PipelineEnd,
    /// What became of every record.
    pub ledger: Ledger,
    /// What every stage did with its time.
    pub stages: Vec<StageReport>,
    /// The memory that it was allowed.
    pub budget: Bytes,
    /// The most memory that was charged at once.
    pub peak: Bytes,
    /// How long it ran.
    pub ran: Duration,
    /// What limited it.
    pub bottleneck: Verdict,
    /// The sinks that were refused anything, and why last.
    pub refusals: Vec<SinkRefusals>,
}

/// What one stage did with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageReport {
    /// Its name.
    pub name: String,
    /// Source, transform or sink.
    pub kind: StageKind,
    /// The time in each state, from the start of the stage to its end.
    pub times: StageTimes,
}

impl fmt::Display for PipelineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::DeadlinePassed => f.write_str("stopped at its deadline with records in flight"),
            Self::Failed { stage, cause } => write!(f, "failed in stage \"{stage}\": {cause}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pipeline \"{}\" {} after {:.1?}", self.name, self.end, self.ran)?;
        writeln!(f, "bottleneck: {}", self.bottleneck)?;
        self.refusals.iter().try_for_each(|refusals| writeln!(f, "refused: {refusals}"))?;
        writeln!(f, "memory: at most {} of {} was in use", self.peak, self.budget)?;
        writeln!(f)?;
        write_times(&self.stages, self.ran, f)?;
        writeln!(f)?;
        write!(f, "{}", self.ledger)
    }
}

/// The states as columns: a name, and the time in it.
type Column = (&'static str, fn(&StageTimes, Duration) -> Duration);

const COLUMNS: [Column; 9] = [
    ("idle", |times, _| times.idle),
    ("ready", |times, _| times.ready),
    ("busy", |times, _| times.busy),
    ("blocked", |times, _| times.blocked),
    ("memory", |times, _| times.budget_wait),
    ("settling", |times, _| times.settle_wait),
    ("remote", |times, _| times.external),
    ("throttled", |times, _| times.throttled),
    // Before a stage of a reload began, too: it was not there.
    ("ended", |times, ran| ran.saturating_sub(times.window())),
];

/// The share of the run that each stage spent in each state; states that nobody was in are left out.
fn write_times(stages: &[StageReport], ran: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let share = |time: Duration| if ran.is_zero() { 0.0 } else { time.as_secs_f64() / ran.as_secs_f64() };
    let is_in =
        |time: fn(&StageTimes, Duration) -> Duration| move |stage: &StageReport| !time(&stage.times, ran).is_zero();
    let shown: Vec<Column> = COLUMNS.into_iter().filter(|(_, time)| stages.iter().any(is_in(*time))).collect();
    let kind = |stage: &StageReport| stage.kind.to_string();
    let kinds = stages.iter().map(|stage| kind(stage).len()).max().unwrap_or(0);
    let names = stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
    write!(f, "{:width$}", "share of the run", width = kinds + 2 + names)?;
    for (name, _) in &shown {
        write!(f, "  {name:>9}")?;
    }
    writeln!(f)?;
    // As records pass, however the pipeline was put together.
    let mut rows: Vec<&StageReport> = stages.iter().collect();
    rows.sort_by_key(|stage| stage.kind as u8);
    let width = (kinds + 2 + names).max("share of the run".len()) - kinds - 2;
    for stage in rows {
        write!(f, "{:kinds$}  {:width$}", kind(stage), stage.name)?;
        for (_, time) in &shown {
            write!(f, "  {:>9}", percent(share(time(&stage.times, ran))))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// `97 %`; `<1 %` for what is not nothing, and a dash for what is.
fn percent(share: f64) -> String {
    match share * 100.0 {
        none if none <= 0.0 => "-".to_owned(),
        little if little < 1.0 => "<1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}
