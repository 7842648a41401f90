//! Sends each record to every output whose condition is true of it.
//!
//! * **Emits** records on the outputs `<name>.<route>`; those of which no condition is true on `<name>._unmatched`. One
//!   that several conditions are true of goes to each of them, and settles when all have settled it.
//! * **Blocks** while an output that somebody takes is full.
//! * **Sheds** nothing.
//! * **Settles** what no output takes as filtered. A condition that fails on a record is not true of it, and counted as `conditions_failed`.
//! * **Completes** with its input.
//! * **Fails** never: a condition that panics on a record is not true of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidegate_runtime::{BranchSet, Chooser};

use super::condition::{Asked, COUNTED, ConditionText};
use crate::Rows;
use crate::contract::page::page;
use crate::contract::{BuildContext, BuiltTransform, Check, StartError, TransformConfig, TransformKind};
use crate::wiring::MAX_OUTPUTS;

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Route>(
    "route",
    "Sends each record to every output whose condition is true of it.",
    "type: route\nroute:\n  errors: .level == \"error\"\n  slow: (to_int(.ms) ?? 0) > 1000\n",
)
.page(page!("route.rs"))
.counts(COUNTED);

/// The output of records that no condition is true of.
const UNMATCHED: &str = "_unmatched";

/// Sends each record to every output whose condition is true of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The condition of each output, by name.
    pub route: BTreeMap<String, ConditionText>,
    /// Whether records that no condition is true of go to the output `_unmatched`. Default: yes.
    #[serde(default = "yes")]
    pub reroute_unmatched: bool,
}

const fn yes() -> bool {
    true
}

impl TransformConfig for Route {
    fn check(&self, at: &mut Check<'_>) {
        if self.route.is_empty() && !self.reroute_unmatched {
            at.refuse("route", "there are no routes").help("add one: `name: condition`");
        }
        if self.route.len() >= MAX_OUTPUTS {
            let text = format!("{} routes are more than the {} that there can be", self.route.len(), MAX_OUTPUTS - 1);
            at.refuse("route", text).help("split them: a route behind a route");
        }
        at.under("route", |at| {
            for (name, condition) in &self.route {
                if name == UNMATCHED || name.is_empty() || name.contains('.') {
                    at.refuse(name, format!("\"{name}\" cannot be the name of a route"))
                        .help("use letters, digits, `-` and `_`; `_unmatched` is what no route takes");
                }
                condition.check(name, at);
            }
        });
    }

    fn outputs(&self) -> Vec<String> {
        let unmatched = self.reroute_unmatched.then(|| UNMATCHED.to_owned());
        self.route.keys().cloned().chain(unmatched).collect()
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        let compile = |(name, text): (&String, &ConditionText)| text.asked(&format!("route.{name}"), cx);
        let conditions = self.route.iter().map(compile).collect::<Result<_, _>>()?;
        let unmatched = if self.reroute_unmatched { BranchSet::only(self.route.len()) } else { BranchSet::NONE };
        Ok(BuiltTransform::Choice(Box::new(Conditions { conditions, unmatched })))
    }
}

/// One condition for each branch, and the branch of the rest.
struct Conditions {
    conditions: Vec<Asked>,
    unmatched: BranchSet,
}

impl Chooser<Rows> for Conditions {
    fn choose(&mut self, payload: &Rows, choices: &mut Vec<BranchSet>) {
        choices.extend(payload.iter().map(|row| {
            let mut chosen = BranchSet::NONE;
            for (branch, condition) in self.conditions.iter_mut().enumerate() {
                let answer = catch_unwind(AssertUnwindSafe(|| condition.matches(row)));
                if answer.unwrap_or(false) {
                    chosen = chosen.with(branch);
                }
            }
            if chosen.is_empty() { self.unmatched } else { chosen }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::bench::{built, problems};

    fn choices(json: &str, texts: [&str; 4]) -> Vec<Vec<usize>> {
        let BuiltTransform::Choice(mut chooser) = built(json, KIND) else { panic!("it has one output") };
        let mut chosen = Vec::new();
        chooser.choose(&Rows::from_texts(texts), &mut chosen);
        chosen.into_iter().map(|set| set.iter().collect()).collect()
    }

    #[test]
    fn a_record_goes_where_its_conditions_say() {
        let routes =
            r#""route": {"a": "contains(string!(.message), \"a\")", "b": "contains(string!(.message), \"b\")"}"#;
        let json = format!("{{{routes}}}");
        assert_eq!(choices(&json, ["a", "b", "ab", "c"]), [vec![0], vec![1], vec![0, 1], vec![2]]);
        let json = format!("{{{routes}, \"reroute_unmatched\": false}}");
        assert_eq!(choices(&json, ["a", "b", "ab", "c"]), [vec![0], vec![1], vec![0, 1], vec![]]);
    }

    #[test]
    fn the_conditions_of_the_example_compile() {
        for condition in KIND.example.lines().skip(2).filter_map(|line| line.split_once(": ")) {
            let json = serde_json::json!({"route": {"a": condition.1}}).to_string();
            assert_eq!(problems(&json, KIND), [], "{json}");
        }
    }

    #[test]
    fn outputs_are_in_the_order_of_the_branches() {
        let route: Route = serde_json::from_str(r#"{"route": {"z": "true", "a": "true"}}"#).unwrap();
        assert_eq!(route.outputs(), ["a", "z", "_unmatched"]);
    }

    #[test]
    fn what_cannot_work_is_reported_by_key() {
        let found = problems(r#"{"route": {"a.b": "true", "c": "nonsense("}}"#, KIND);
        let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["route.a.b", "route.c"]);
        assert!(found[1].within.is_some());
    }
}
