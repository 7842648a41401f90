//! A sensor that heeds pressure: it sends less before it is made to wait, and as much as it has when it may.
//!
//! ```text
//! sensor (1000 readings/s) \
//!                           > channel -> store (200 readings/s)
//! a thread that logs       /
//! ```
//!
//! The sensor watches the channel's pressure level. From high water on it sends one reading in 20, and every reading
//! again when the channel is calm. The thread knows nothing of that: it is parked when the channel is full.
//!
//! `cargo run --release -p tidegate --example pressure`

use std::error::Error;
use std::time::Duration;

use tidegate::edge::SendError;
use tidegate::source::Sender;
use tidegate::{EdgeSpec, Level, Pipeline, PressureWatch, Weight, kib, mib, sink, source};
use tokio::time::Instant;

mod say;
use say::say;

/// How many readings of the sensor make one that it sends when the channel is pressured.
const THIN: u64 = 20;

/// What the sensor did.
#[derive(Debug, Default)]
struct Sensed {
    sent: u64,
    left_out: u64,
    /// How often the channel had no room: heeding pressure is to avoid that.
    refused: u64,
    slowed: u32,
}

/// Reads a value every millisecond until the pipeline takes no more.
async fn sense(mut readings: Sender<u64>, mut pressure: PressureWatch) -> Sensed {
    let start = Instant::now();
    let mut sensed = Sensed::default();
    let mut one_in = 1;
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    for reading in 0_u64.. {
        tokio::select! {
            biased;
            level = pressure.changed() => {
                let Some(level) = level else { break };
                let slow = level != Level::Normal;
                sensed.slowed += u32::from(slow && one_in == 1);
                one_in = if slow { THIN } else { 1 };
                let sends = if slow { format!("one reading in {THIN}") } else { "every reading".to_owned() };
                say!("{:4.1} s  pressure {}: {sends}", start.elapsed().as_secs_f64(), level.name());
            }
            _ = tick.tick() => {
                if !reading.is_multiple_of(one_in) {
                    sensed.left_out += 1;
                    continue;
                }
                match readings.try_send(reading) {
                    Ok(()) => sensed.sent += 1,
                    Err(unsent) if matches!(unsent.error, SendError::Full { .. }) => sensed.refused += 1,
                    Err(_) => break,
                }
            }
        }
    }
    sensed
}

/// A thread that is no task. Says how many lines it could send before the pipeline took no more.
fn log(mut lines: Sender<u64>) -> u64 {
    (0..).take_while(|line| lines.blocking_send(*line).is_ok()).take(100).count() as u64
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sensor, readings) = source::channel(Weight::new(200, kib(16).get()));
    let logger = sensor.try_clone()?;
    let builder = Pipeline::builder("readings").budget(mib(4)).batch(Weight::new(10, kib(4).get()));
    builder
        .source("readings", readings)
        .edge(EdgeSpec::new("to-store").records(20))
        .sink("store", sink::for_each_async(|_| tokio::time::sleep(Duration::from_millis(5))));
    let running = builder.build()?.start();

    let pressure = sensor.watch()?;
    let sensing = tokio::spawn(sense(sensor, pressure));
    let logging = std::thread::spawn(move || log(logger));
    tokio::time::sleep(seconds(6.0)).await;
    say!("\n{}\n", running.bottleneck());
    let report = running.drain(Duration::from_secs(10)).await;
    let (sensed, logged) = (sensing.await?, logging.join().map_err(|_| "the thread panicked")?);

    say!("{report}\n");
    report.ledger.check()?;
    let Sensed { sent, left_out, refused, slowed } = sensed;
    say!(
        "the sensor sent {sent} readings, left out {left_out} and slowed down {slowed} times; {logged} lines were logged"
    );
    assert!(slowed > 0 && left_out > 0, "it had to slow down");
    assert_eq!(refused, 0, "and so it was never refused");
    say!("the sensor was never made to wait");
    Ok(())
}

/// Seconds, as long as the environment says that a second is; tests are in a hurry.
fn seconds(count: f64) -> Duration {
    let speed = std::env::var("TIDEGATE_EXAMPLE_SPEED").ok().and_then(|speed| speed.parse().ok()).unwrap_or(1.0);
    Duration::from_secs_f64(count / speed)
}
