//! Changes records by a program in VRL.
//!
//! * **Emits** what the program makes of each batch, at once and in order. A record whose root became a list is as many
//!   records.
//! * **Blocks** with what is behind it; it holds nothing.
//! * **Sheds** nothing.
//! * **Settles** a record that the program aborts on as filtered where `drop_on_abort` says so, and one that it fails on
//!   as a permanent nack where `drop_on_error` does; with `reroute_dropped` both go to the output `dropped` instead.
//!   With `dead_letter` both go there, as they were and with the message of VRL, whatever `drop_on_error` and `drop_on_abort`
//!   say. Otherwise such records go on as they were. Both are counted: `records_failed` and `records_aborted`.
//! * **Completes** with its input.
//! * **Fails** never: a record at which the program panics goes back to its source, alone, or to `dead_letter`.

mod dropped;
mod step;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_remap::{Options, Program, Timezone};

use self::dropped::Rerouting;
use self::step::{RemapStep, Treatment};
use super::condition::{first_error, report};
use crate::contract::page::page;
use crate::contract::{BuildContext, BuiltTransform, Check, Ignored, StartError, TransformConfig, TransformKind};

/// The entry in the list of transforms.
pub const KIND: TransformKind = TransformKind::of::<Remap>(
    "remap",
    "Changes records by a program in VRL.",
    "type: remap\nsource: |\n  . = parse_json!(.message)\n  .env = \"prod\"\n",
)
.page(page!("remap.rs"))
.ignores(&[
    Ignored { key: "runtime", why: "programs run as they are; there is one way" },
    Ignored { key: "metric_tag_values", why: "metrics are records like all others" },
])
.lacks(&[Ignored { key: "files", why: "write one file, or several transforms" }])
.counts(&["records_aborted", "records_failed"]);

/// Changes records by a program in VRL.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remap {
    /// The program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A file with the program, in place of `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether a record that the program fails on is dropped. Default: no, it goes on as it was.
    #[serde(default)]
    pub drop_on_error: bool,
    /// Whether a record that the program aborts on is dropped. Default: yes.
    #[serde(default = "yes")]
    pub drop_on_abort: bool,
    /// Whether what is dropped goes to the output `dropped`, with the reason in `.metadata.dropped`. Default: no.
    #[serde(default)]
    pub reroute_dropped: bool,
    /// The zone of times that name none: `local`, or a name like `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

const fn yes() -> bool {
    true
}

/// The largest program that is read from a file, in bytes.
const FILE_MAX_BYTES: u64 = tidegate_remap::SOURCE_MAX_BYTES as u64;

impl Remap {
    /// The program, and the key that it stands under.
    fn text(&self) -> Result<(String, &'static str), StartError> {
        match (&self.source, &self.file) {
            (Some(source), None) => Ok((source.clone(), "source")),
            (None, Some(file)) => {
                let size = std::fs::metadata(file).map(|about| about.len());
                let fault = |why: String| {
                    StartError::new(format!("cannot read the program in {}: {why}", file.display()))
                        .help("`file` names a text file with VRL; or write the program under `source`")
                };
                match size {
                    Ok(size) if size > FILE_MAX_BYTES => Err(fault(format!("it has more than {FILE_MAX_BYTES} bytes"))),
                    _ => match std::fs::read_to_string(file) {
                        Ok(text) => Ok((text, "file")),
                        Err(error) => Err(fault(error.to_string())),
                    },
                }
            }
            (Some(_), Some(_)) => {
                Err(StartError::new("both `source` and `file` are given").help("leave out one of the two"))
            }
            (None, None) => Err(StartError::new("there is no program").help("write one under `source`")),
        }
    }

    fn options(&self) -> Result<Options, StartError> {
        let timezone = match &self.timezone {
            None => Timezone::default(),
            Some(name) => name.parse().map_err(|error| StartError::new(format!("`timezone`: {error}")))?,
        };
        Ok(Options { timezone })
    }
}

impl TransformConfig for Remap {
    fn check(&self, at: &mut Check<'_>) {
        let options = match self.options() {
            Ok(options) => options,
            Err(error) => {
                at.refuse("timezone", error.text);
                Options::default()
            }
        };
        match self.text() {
            Ok((text, key)) => match Program::compile(&text, &options) {
                Ok(compiled) => report(&compiled.warnings, key, at),
                Err(found) => report(&found, key, at),
            },
            Err(error) => {
                let key = if self.file.is_some() { "file" } else { "source" };
                let problem = at.refuse(key, error.text);
                if let Some(help) = error.help {
                    problem.help(help);
                }
            }
        }
        if self.reroute_dropped && !self.drop_on_error && !self.drop_on_abort {
            at.warn("reroute_dropped", "nothing is dropped").help("set `drop_on_error: true`");
        }
    }

    fn outputs(&self) -> Vec<String> {
        if self.reroute_dropped { vec![String::new(), "dropped".to_owned()] } else { Vec::new() }
    }

    fn refuses_records(&self) -> bool {
        true
    }

    fn build(self: Box<Self>, cx: &BuildContext) -> Result<BuiltTransform, StartError> {
        let (text, key) = self.text()?;
        let compiled = Program::compile(&text, &self.options()?).map_err(|found| first_error(&found, key))?;
        let treat = |drops: bool| match (drops, self.reroute_dropped) {
            _ if cx.keeps_refused() => Treatment::Letter,
            (false, _) => Treatment::Keep,
            (true, false) => Treatment::Drop,
            (true, true) => Treatment::Reroute,
        };
        let mut step = RemapStep::new(compiled.program, treat(self.drop_on_abort), treat(self.drop_on_error), cx);
        if !self.reroute_dropped {
            return Ok(BuiltTransform::step(step));
        }
        let rerouting = Rerouting::default();
        step.reroute(rerouting.clone());
        Ok(BuiltTransform::step_then_choice(step, rerouting))
    }
}

#[cfg(test)]
mod tests;
