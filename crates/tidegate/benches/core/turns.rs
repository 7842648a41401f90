//! Running the cases of all rows in turns, and what becomes of the samples.
#![allow(clippy::cast_precision_loss, reason = "a benchmark")]

use std::time::Instant;

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) smoke: bool,
    /// Only rows whose name begins so.
    pub(crate) only: Option<String>,
    /// Leave the peers out: for profiles.
    pub(crate) alone: bool,
    /// Run one case of the pipeline and print its figure.
    pub(crate) one: Option<String>,
    /// The same benchmark, built with `--cfg tidegate_unmetered`.
    pub(crate) unmetered: Option<String>,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { unmetered: std::env::var("TIDEGATE_BENCH_UNMETERED").ok(), ..Self::default() };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--alone" => options.alone = true,
                "--smoke" => options.smoke = true,
                "--only" => options.only = Some(value()?),
                "--one" => options.one = Some(value()?),
                // What cargo adds.
                "--bench" | "--test" => {}
                other => {
                    return Err(format!("unknown argument {other}; known are --json, --smoke, --only NAME, --alone"));
                }
            }
        }
        Ok(options)
    }

    fn repetitions(&self) -> usize {
        if self.smoke { 3 } else { 11 }
    }

    /// Records for one sample of a case that handles about `millions` of them in a second.
    pub(crate) fn records(&self, millions: u64) -> u64 {
        millions * if self.smoke { 10_000 } else { 100_000 }
    }
}

/// A way to do what a row measures. Called with a number of records; says what a record cost, in the row's unit.
pub(crate) struct Case {
    pub(crate) label: &'static str,
    /// How many million records a second it roughly does: sizes its samples.
    pub(crate) millions: u64,
    pub(crate) run: Box<dyn FnMut(u64) -> f64>,
}

impl Case {
    pub(crate) fn new(label: &'static str, millions: u64, run: impl FnMut(u64) -> f64 + 'static) -> Self {
        Self { label, millions, run: Box::new(run) }
    }
}

/// How the value of a row follows from the medians of its cases.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// The first case itself.
    First,
    /// The first minus the second.
    Over,
    /// The first divided by the second.
    Ratio,
    /// By how many percent the first is below the second.
    PercentBelow,
}

/// What counts as good.
#[derive(Copy, Clone)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Shown beside the others; nothing is promised.
    None,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    pub(crate) value: Value,
    pub(crate) cases: Vec<Case>,
}

/// A row with its medians.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    pub(crate) value: f64,
    /// Half the distance between the quartiles of the first case, as a share of its median.
    pub(crate) spread: f64,
    /// The first case itself, where the value is not that already; then all the others.
    pub(crate) baselines: Vec<(&'static str, f64)>,
}

/// Warms every case up, then runs all of them again and again in turns.
pub(crate) fn measure(mut rows: Vec<Row>, options: &Options) -> Vec<Figure> {
    let mut samples: Vec<Vec<Vec<f64>>> = rows.iter().map(|row| vec![Vec::new(); row.cases.len()]).collect();
    for repetition in 0..=options.repetitions() {
        for (row, kept) in rows.iter_mut().zip(&mut samples) {
            for (case, kept) in row.cases.iter_mut().zip(kept) {
                let figure = (case.run)(options.records(case.millions));
                if repetition > 0 {
                    kept.push(figure);
                }
            }
        }
    }
    rows.into_iter().zip(samples).map(|(row, samples)| figure(&row, samples)).collect()
}

fn figure(row: &Row, mut samples: Vec<Vec<f64>>) -> Figure {
    // Differences and ratios are taken turn by turn: the two halves of a turn saw the same machine.
    let values: Vec<f64> = (0..samples[0].len())
        .map(|turn| {
            let (first, second) = (samples[0][turn], samples.get(1).map_or(f64::NAN, |case| case[turn]));
            match row.value {
                Value::First => first,
                Value::Over => first - second,
                Value::Ratio => first / second,
                Value::PercentBelow => (1.0 - first / second) * 100.0,
            }
        })
        .collect();
    let labels = row.cases.iter().map(|case| case.label);
    let medians = labels.zip(samples.iter_mut().map(|samples| quantile(samples, 0.5)));
    let skip = usize::from(row.value == Value::First);
    let baselines = medians.skip(skip).collect();
    let spread =
        (quantile(&mut samples[0], 0.75) - quantile(&mut samples[0], 0.25)) / 2.0 / quantile(&mut samples[0], 0.5);
    let spread = if spread.is_finite() { spread } else { 0.0 };
    let value = quantile(&mut values.clone(), 0.5);
    Figure { name: row.name, unit: row.unit, target: row.target, value, spread, baselines }
}

fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let index = ((samples.len() - 1) as f64 * share).round() as usize;
    samples[index]
}

/// Nanoseconds per record of `work`, which handles `records` on so many threads.
///
/// With one thread this is CPU time of this thread, where the system tells it, so that what else runs on the machine
/// does not count; with more it is the time on the wall.
pub(crate) fn nanos_per_record(threads: usize, records: u64, work: impl FnOnce()) -> f64 {
    let (wall, busy) = (Instant::now(), busy_nanos());
    work();
    let busy = busy.and_then(|before| busy_nanos()?.checked_sub(before)).filter(|_| threads == 1);
    let nanos = busy.map_or_else(|| wall.elapsed().as_secs_f64() * 1e9, |nanos| nanos as f64);
    nanos / records as f64
}

/// CPU time of this thread so far (Linux; `None` elsewhere).
fn busy_nanos() -> Option<u64> {
    // Giving way brings the kernel's books up to date; otherwise they are as old as its last tick.
    std::thread::yield_now();
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// A runtime with one thread, or with two.
pub(crate) fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_time().build().expect("a runtime")
}
