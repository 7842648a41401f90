//! What a pipeline did: [`Report`], as data and as a page that a person can read.

use std::fmt;
use std::time::Duration;

use tidegate_flow::blame::Verdict;
use tidegate_flow::{Bytes, Cause, Ledger, StageKind, StageTimes};

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
        writeln!(f, "memory: at most {} of {} was in use", self.peak, self.budget)?;
        writeln!(f)?;
        write_times(&self.stages, f)?;
        writeln!(f)?;
        write!(f, "{}", self.ledger)
    }
}

/// The states as columns: a name, and the time in it.
type Column = (&'static str, fn(&StageTimes) -> Duration);

const COLUMNS: [Column; 8] = [
    ("idle", |times| times.idle),
    ("ready", |times| times.ready),
    ("busy", |times| times.busy),
    ("blocked", |times| times.blocked),
    ("memory", |times| times.budget_wait),
    ("settling", |times| times.settle_wait),
    ("remote", |times| times.external),
    ("throttled", |times| times.throttled),
];

/// The share of its time that each stage spent in each state; states that nobody was in are left out.
fn write_times(stages: &[StageReport], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown: Vec<Column> =
        COLUMNS.into_iter().filter(|(_, time)| stages.iter().any(|stage| !time(&stage.times).is_zero())).collect();
    let kind = |stage: &StageReport| stage.kind.to_string();
    let kinds = stages.iter().map(|stage| kind(stage).len()).max().unwrap_or(0);
    let names = stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
    write!(f, "{:width$}", "time spent", width = kinds + 2 + names)?;
    for (name, _) in &shown {
        write!(f, "  {name:>9}")?;
    }
    writeln!(f)?;
    // As records pass, however the pipeline was put together.
    let mut rows: Vec<&StageReport> = stages.iter().collect();
    rows.sort_by_key(|stage| stage.kind as u8);
    for stage in rows {
        write!(f, "{:kinds$}  {:names$}", kind(stage), stage.name)?;
        for (_, time) in &shown {
            write!(f, "  {:>9}", percent(stage.times.share(time(&stage.times))))?;
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
