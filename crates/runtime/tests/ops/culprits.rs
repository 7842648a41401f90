//! A panic costs the record at fault and no other, wherever user code is asked about records; and where that record goes.

use std::time::Duration;

use tidegate_flow::{EdgeSpec, Items, Nack, Outcome, Weight, kib, mib};
use tidegate_runtime::{
    Backoff, BranchSet, ByRecord, Chooser, DeadLetter, Pipeline, PipelineBuilder, PipelineEnd, Supervision,
    ThrottleSpec, source,
};

use crate::{NO_PAUSE, accepting, complete, ended, run};

const CULPRITS: [u64; 5] = [0, 7, 30, 31, 49];

fn builder() -> PipelineBuilder {
    Pipeline::builder("culprits").batch(Weight::new(50, kib(64).get()))
}

fn guilty(n: u64) {
    assert!(!CULPRITS.contains(&n), "culprit {n}");
}

fn innocent(to: u64) -> Vec<u64> {
    (0..to).filter(|n| !CULPRITS.contains(n)).collect()
}

/// Shows even numbers to one branch, odd ones to the other.
fn halves(builder: &PipelineBuilder) -> (crate::Seen<u64>, crate::Seen<u64>) {
    let [even, odd] = builder.source("numbers", source::iter(0..100_u64)).partition(
        |n| {
            guilty(*n);
            (*n % 2) as usize
        },
        ["even", "odd"].map(EdgeSpec::new),
    );
    let ((even_seen, even_sink), (odd_seen, odd_sink)) = (accepting(NO_PAUSE), accepting(NO_PAUSE));
    even.sink("even", even_sink);
    odd.sink("odd", odd_sink);
    (even_seen, odd_seen)
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_partition_costs_one_record() {
    let builder = builder();
    let (even, odd) = halves(&builder);
    let report = complete(&builder).await;
    let (evens, odds): (Vec<u64>, Vec<u64>) = innocent(100).into_iter().partition(|n| n % 2 == 0);
    assert_eq!((even.rows(), odd.rows()), (evens, odds));
    assert_eq!((ended(&report, Outcome::Returned), ended(&report, Outcome::Delivered)), (5, 95), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_stops_or_pauses_as_its_supervision_says() {
    let stops = builder().supervision(Supervision::Stop);
    halves(&stops);
    let report = run(&stops).await;
    assert!(matches!(report.end, PipelineEnd::Failed { .. }), "{report}");
    let second = Duration::from_secs(1);
    let pauses = Supervision::Restart(Backoff { first: second, longest: second, restarts: 9 });
    let pauses = builder().supervision(pauses);
    halves(&pauses);
    assert_eq!(complete(&pauses).await.ran, second, "one pause for a batch");
}

/// Sends every record to the first branch.
struct First;

impl Chooser<Items<u64>> for First {
    fn choose(&mut self, payload: &Items<u64>, choices: &mut Vec<BranchSet>) {
        for n in payload.as_slice() {
            guilty(*n);
            choices.push(BranchSet::only(0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_chooser_costs_one_record() {
    let builder = builder();
    let (port, flow) = builder.port::<Items<u64>>("port");
    let (seen, sink) = accepting(NO_PAUSE);
    flow.sink("sink", sink);
    builder.source("numbers", source::iter(0..100_u64)).choose_to(First, &[Some(&port)]);
    let report = complete(&builder).await;
    assert_eq!(seen.rows(), innocent(100));
    assert_eq!(ended(&report, Outcome::Returned), 5, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_cost_or_key_of_a_throttle_costs_one_record() {
    let builder = builder();
    let (seen, sink) = accepting(NO_PAUSE);
    let cost = |n: &u64| {
        guilty(*n);
        1.0
    };
    builder
        .source("numbers", source::iter(0..100_u64))
        .throttle_cost(ThrottleSpec::shape(1_000.0), ByRecord(cost))
        .throttle_by_cost(
            ThrottleSpec::enforce(10.0).burst(30.0),
            ByRecord(|n: &u64| {
                assert!(*n != 50, "its cost");
                f64::from(u8::from(*n != 51))
            }),
            |n| {
                assert!(*n != 52, "its key");
                n % 2
            },
        )
        .sink("sink", sink);
    let report = complete(&builder).await;
    // Each key has a burst of 30, and the record that costs nothing is let through beyond that.
    let fits = |parity: u64| innocent(100).into_iter().filter(move |n| n % 2 == parity && *n != 50 && *n != 52);
    let mut expected: Vec<u64> = fits(0).take(30).chain(fits(1).take(31)).collect();
    expected.sort_unstable();
    assert_eq!(seen.rows(), expected);
    assert_eq!(ended(&report, Outcome::Returned), 7, "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_a_try_map_makes_fits_into_one_batch_at_a_time() {
    let builder = builder().budget(mib(4));
    let (letters, dead) = builder.dead_letters::<u64>("letters");
    let (letters_seen, letters_sink) = accepting::<DeadLetter<u64>>(NO_PAUSE);
    dead.sink("letters-sink", letters_sink);
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("numbers", source::iter(0..1_000_u64))
        .try_map_or(&letters, |n| match n % 10 {
            3 => Err((n, Nack::permanent("three"))),
            _ => Ok(vec![0_u8; kib(10).get() as usize]),
        })
        .edge("out")
        .sink("sink", sink);
    let report = complete(&builder).await;
    assert_eq!((ended(&report, Outcome::Delivered), ended(&report, Outcome::DeadLettered)), (900, 100), "{report}");
    assert!(seen.sizes().into_iter().all(|rows| rows <= 7), "{:?}", seen.sizes());
    let letters: Vec<u64> = letters_seen.rows().into_iter().map(|letter| letter.record).collect();
    assert_eq!(letters, (3..1_000).step_by(10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_panics_in_a_chain_goes_to_the_dead_letters_as_it_was_before() {
    let builder = builder();
    let (letters, dead) = builder.dead_letters::<String>("letters");
    let (letters_seen, letters_sink) = accepting::<DeadLetter<String>>(NO_PAUSE);
    dead.sink("letters-sink", letters_sink);
    let (seen, sink) = accepting(NO_PAUSE);
    builder
        .source("lines", source::iter((0..100).map(|n| format!("line {n}"))))
        .map(|line| line.trim_start_matches("line ").parse::<u64>().unwrap())
        .filter(|n| *n != 8)
        .map(|n| {
            guilty(n);
            n
        })
        .try_map(|n| if n == 9 { Err(Nack::permanent("nine")) } else { Ok(n) })
        .dead_letters_to(&letters)
        .map(|n| n)
        .edge("out")
        .sink("sink", sink);
    let report = complete(&builder).await;
    let expected: Vec<u64> = innocent(100).into_iter().filter(|n| ![8, 9].contains(n)).collect();
    assert_eq!(seen.rows(), expected);
    let letters = letters_seen.rows();
    let records: Vec<&str> = letters.iter().map(|letter| letter.record.as_str()).collect();
    assert_eq!(records, ["line 0", "line 7", "line 9", "line 30", "line 31", "line 49"]);
    assert_eq!(letters[1].cause.as_str(), "panicked: culprit 7");
    assert_eq!(letters[2].cause.as_str(), "nine");
    let counts = [Outcome::DeadLettered, Outcome::Filtered, Outcome::Returned, Outcome::Delivered];
    assert_eq!(counts.map(|outcome| ended(&report, outcome)), [6, 1, 0, 93], "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_after_a_dead_letter_forgets_the_state() {
    let second = Duration::from_secs(1);
    let supervision = Supervision::Restart(Backoff { first: second, longest: second, restarts: 9 });
    let builder = builder().supervision(supervision);
    let (letters, dead) = builder.dead_letters::<u64>("letters");
    let (letters_seen, letters_sink) = accepting::<DeadLetter<u64>>(NO_PAUSE);
    dead.sink("letters-sink", letters_sink);
    let (seen, sink) = accepting(NO_PAUSE);
    let mut count = 0;
    builder
        .source("numbers", source::iter(0..40_u64))
        .map(move |n| {
            count += 1;
            guilty(n);
            (n, count)
        })
        .restartable()
        .dead_letters_to(&letters)
        .sink("sink", sink);
    let report = complete(&builder).await;
    assert_eq!(letters_seen.rows().len(), 4, "{report}");
    assert_eq!(report.ran, second * 4);
    assert_eq!(seen.rows()[0], (1, 1));
    assert_eq!(seen.rows().last(), Some(&(39, 8)), "counted from the last panic on");
}
