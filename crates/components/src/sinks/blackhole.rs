//! `blackhole`: takes records and forgets them, at a rate if one is given: to try a pipeline out, and to play a slow sink.
//!
//! * **Accepted** means taken and forgotten: nothing of it is left anywhere.
//! * **Blocks** as long as `rate` and `latency` say.
//! * **Sheds** nothing.
//! * **Settles** a record as delivered when it was taken.
//! * **Completes** with its input.
//! * **Fails** never.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Meta, Nack, Payload as _};
use tidegate_record::Rows;
use tidegate_runtime::{Accepted, Sink, SinkPolicy};
use tokio::time::{Instant, sleep_until};

use crate::contract::page::page;
use crate::contract::{Check, Ignored, SinkConfig, SinkKind, StartError};
use crate::options::Acknowledgements;
use crate::value::{Period, Rate};
use crate::wiring::SinkSlot;

/// The entry of the list.
pub const KIND: SinkKind = SinkKind::of::<Blackhole>("blackhole", "Takes records and forgets them.", EXAMPLE)
    .page(page!("blackhole.rs"))
    .ignores(&[Ignored { key: "print_interval_secs", why: "the report at the end says how many records there were" }]);

const EXAMPLE: &str = "\
type: blackhole
rate: 5k/s
";

/// Takes records and forgets them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Blackhole {
    /// At most so many records in so much time. Default: no limit.
    pub rate: Option<Rate>,
    /// Each batch takes at least so long, as with a remote that is far away. Default: no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Period>,
    /// Whether sources wait for it.
    pub acknowledgements: Acknowledgements,
}

impl SinkConfig for Blackhole {
    fn check(&self, _at: &mut Check<'_>) {}

    fn accepted(&self) -> &'static str {
        "it was taken, and is gone"
    }

    fn required(&self) -> bool {
        self.acknowledgements.enabled
    }

    fn start(self: Box<Self>, slot: SinkSlot<'_>) -> Result<(), StartError> {
        let latency = self.latency.map_or(Duration::ZERO, Period::get);
        slot.sink(SinkPolicy::default(), Hole { rate: self.rate, latency, free_at: None });
        Ok(())
    }
}

/// The sink at work.
struct Hole {
    rate: Option<Rate>,
    latency: Duration,
    /// When what was taken so far has passed.
    free_at: Option<Instant>,
}

impl Sink<Rows> for Hole {
    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let now = Instant::now();
        let mut until = now + self.latency;
        if let Some(rate) = self.rate {
            let records = u32::try_from(payload.weight().records.get()).unwrap_or(u32::MAX);
            let free_at = self.free_at.map_or(now, |free_at| free_at.max(now)) + rate.interval() * records;
            self.free_at = Some(free_at);
            until = until.max(free_at);
        }
        if until > now {
            sleep_until(until).await;
        }
        Ok(Accepted::All)
    }
}
