//! [`ConditionText`]: a condition as it stands in a configuration, and what the compiler has to say about programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_record::Row;
use tidegate_remap::{Condition, Diagnostic, Options, Severity};

use crate::contract::{BuildContext, Check, Counter, StartError};

/// A VRL expression that is true or false for a record. One that fails on a record is not true of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ConditionText {
    /// The expression.
    Source(String),
    /// The expression, with its language.
    Typed(TypedCondition),
}

/// An expression with its language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypedCondition {
    /// The language.
    #[serde(rename = "type")]
    pub language: Language,
    /// The expression.
    pub source: String,
}

/// The languages of conditions.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// VRL.
    Vrl,
}

impl ConditionText {
    /// The expression.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Source(source) => source,
            Self::Typed(typed) => &typed.source,
        }
    }

    /// Reports what the compiler finds, under `key`.
    pub fn check(&self, key: &str, at: &mut Check<'_>) {
        if let Err(found) = Condition::compile(self.source(), &Options::default()) {
            let key = match self {
                Self::Source(_) => key.to_owned(),
                Self::Typed(_) => format!("{key}.source"),
            };
            report(&found, &key, at);
        }
    }

    /// Compiles it for a node.
    ///
    /// # Errors
    /// What the compiler found first; `key` says of what.
    pub(super) fn asked(&self, key: &str, cx: &BuildContext) -> Result<Asked, StartError> {
        Ok(Asked { condition: self.build(key)?, failed: counter(cx) })
    }

    /// Compiles it.
    ///
    /// # Errors
    /// What the compiler found first; `key` says of what.
    pub fn build(&self, key: &str) -> Result<Condition, StartError> {
        Condition::compile(self.source(), &Options::default()).map_err(|found| first_error(&found, key))
    }
}

/// What transforms with conditions count.
pub(super) const COUNTED: &[&str] = &["conditions_failed"];

/// The counter of the records that conditions of this node fail on, there whether it has any or not.
pub(super) fn counter(cx: &BuildContext) -> Counter {
    cx.meters.counter(&cx.node, "conditions_failed")
}

/// A condition of a node, which counts the records that it fails on.
pub(super) struct Asked {
    condition: Condition,
    failed: Counter,
}

impl Asked {
    /// Whether the condition is true of the record. One that fails is not true, and counted.
    pub(super) fn matches(&mut self, row: Row<'_>) -> bool {
        self.ask(row).unwrap_or(false)
    }

    /// The same.
    ///
    /// # Errors
    /// The condition failed, in the words of VRL; counted.
    pub(super) fn ask(&mut self, row: Row<'_>) -> Result<bool, String> {
        self.condition.check(row).map_err(|failure| {
            self.failed.one(|| format!("a condition failed, so it is not true: {}", failed_on(&failure.0, row)));
            failure.0
        })
    }
}

/// The most characters that are shown of an error.
const ERROR_CHARS: usize = 300;

/// The most characters that are shown of a record.
const RECORD_CHARS: usize = 40;

/// An error and the beginning of the record that it is about, both shortened.
pub(super) fn failed_on(error: &str, row: Row<'_>) -> String {
    let bytes = row.bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * RECORD_CHARS)]);
    format!("{} (the record begins with {:?})", cut(error, ERROR_CHARS), cut(&text, RECORD_CHARS))
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reports findings of the compiler about the program under `key`.
pub(super) fn report(found: &[Diagnostic], key: &str, at: &mut Check<'_>) {
    for one in found {
        let code = if one.code == 0 { String::new() } else { format!(" [E{:03}]", one.code) };
        let text = format!("{}{code}", one.message);
        let problem = match one.severity {
            Severity::Error => at.refuse(key, text),
            Severity::Warning => at.warn(key, text),
        };
        problem.within(one.range.clone());
        let labels = one.labels.iter().map(|label| label.message.trim()).filter(|text| !text.is_empty());
        let help: Vec<&str> = labels.chain(one.notes.iter().map(|note| note.trim())).collect();
        if !help.is_empty() {
            problem.help(help.join("; "));
        }
    }
}

/// The first error among the findings, for who starts what was not checked.
pub(super) fn first_error(found: &[Diagnostic], key: &str) -> StartError {
    let worst = found.iter().find(|one| one.severity == Severity::Error).or(found.first());
    StartError::new(match worst {
        Some(one) => format!("`{key}` does not compile: {one}"),
        None => format!("`{key}` does not compile"),
    })
}
