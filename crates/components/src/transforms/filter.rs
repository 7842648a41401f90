//! Passes on the records for which a condition is true.
//!
//! * **Emits** what is left of each batch, at once and in order.
//! * **Blocks** with what is behind it; it holds nothing.
//! * **Sheds** nothing.
//! * **Settles** the others as filtered. A condition that fails on a record is not true of it, and counted as `conditions_failed`;
//!   with `dead_letter` that record goes there, with the message of VRL.
//! * **Completes** with its input.
//! * **Fails** never: a record at which the condition panics goes back to its source, alone, or to `dead_letter`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_flow::{Batch, Nack, ShedReason};
use tidegate_runtime::{StageContext, Step, Transform};

use super::condition::{Asked, COUNTED, ConditionText};
use super::edits::{Decision, Edits};
use crate::Rows;
use crate::contract::page::page;
use crate::contract::{BuildContext, BuiltTransform, Check, StartError, TransformConfig, TransformKind};

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Filter>(
    "filter",
    "Passes on the records for which a condition is true.",
    "type: filter\ncondition: .level == \"error\"\n",
)
.page(page!("filter.rs"))
.counts(COUNTED);

/// Passes on the records for which a condition is true.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// What must be true of a record.
    pub condition: ConditionText,
}

impl TransformConfig for Filter {
    fn check(&self, at: &mut Check<'_>) {
        self.condition.check("condition", at);
    }

    fn refuses_records(&self) -> bool {
        true
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        let condition = self.condition.asked("condition", cx)?;
        Ok(BuiltTransform::step(FilterStep { condition, edits: Edits::of(cx) }))
    }
}

struct FilterStep {
    condition: Asked,
    edits: Edits,
}

impl Transform<Rows> for FilterStep {
    type Out = Rows;

    fn process(&mut self, input: Batch<Rows>, out: &mut Option<Batch<Rows>>, cx: &mut StageContext) -> Step {
        let Self { condition, edits } = self;
        let keeps_refused = edits.keeps_refused();
        edits.decide(&input.payload, |row| match condition.ask(row) {
            Ok(true) => Decision::Keep,
            Err(why) if keeps_refused => Decision::Refuse(Nack::permanent(why)),
            Ok(false) | Err(_) => Decision::Filter,
        });
        *out = edits.apply(input, ShedReason::Throttle, cx);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::bench::{Bench, built};

    #[test]
    fn what_matches_goes_on_and_the_rest_is_filtered() {
        let mut bench = Bench::new(built(r#"{"condition": ".message == \"b\" || .message == \"d\""}"#, KIND));
        assert_eq!(bench.texts(["a", "b", "c", "d"]), ["b", "d"]);
        assert_eq!(bench.texts(["a"]), Vec::<String>::new());
        assert_eq!(bench.flows().filtered.get(), 3);
    }

    #[test]
    fn a_condition_that_fails_is_not_true() {
        let mut bench = Bench::new(built(r#"{"condition": {"type": "vrl", "source": "int!(.message) > 1"}}"#, KIND));
        assert_eq!(bench.texts(["a", "2"]), Vec::<String>::new(), "a message is a string");
        assert_eq!((bench.flows().filtered.get(), bench.flows().returned.get()), (2, 0));
    }
}
