//! [`Acknowledgements`] and [`Healthcheck`]: switches that may be written as a map or as a bare boolean, as in Vector.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Whether sources wait for this sink before they acknowledge. On by default (Vector: off).
///
/// With `false` the sink's branch counts its own losses, and no source hears of them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Switch", into = "Map")]
pub struct Acknowledgements {
    /// Whether sources wait.
    pub enabled: bool,
}

/// Whether a sink is tried before the pipeline starts. On by default.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Switch", into = "Map")]
pub struct Healthcheck {
    /// Whether it is tried.
    pub enabled: bool,
}

/// `true`, or `{ enabled: true }`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true or false, or a map with the key `enabled`")]
enum Switch {
    Bare(bool),
    Map(Map),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    #[serde(default = "on")]
    enabled: bool,
}

const fn on() -> bool {
    true
}

impl Switch {
    const fn is_on(&self) -> bool {
        match self {
            Self::Bare(enabled) => *enabled,
            Self::Map(map) => map.enabled,
        }
    }
}

macro_rules! switch {
    ($name:ident, $text:literal) => {
        impl Default for $name {
            fn default() -> Self {
                Self { enabled: true }
            }
        }

        impl From<Switch> for $name {
            fn from(switch: Switch) -> Self {
                Self { enabled: switch.is_on() }
            }
        }

        impl From<$name> for Map {
            fn from(switch: $name) -> Self {
                Self { enabled: switch.enabled }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $text,
                    "anyOf": [
                        { "type": "boolean" },
                        {
                            "type": "object",
                            "properties": { "enabled": { "type": "boolean", "default": true } },
                            "additionalProperties": false
                        }
                    ],
                    "default": true
                })
            }
        }
    };
}

switch!(Acknowledgements, "Whether sources wait for this sink before they acknowledge.");
switch!(Healthcheck, "Whether the sink is tried before the pipeline starts.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (json, enabled) in [("true", true), ("false", false), ("{}", true), (r#"{"enabled":false}"#, false)] {
            assert_eq!(serde_json::from_str::<Acknowledgements>(json).unwrap(), Acknowledgements { enabled });
            assert_eq!(serde_json::from_str::<Healthcheck>(json).unwrap(), Healthcheck { enabled });
        }
        let refused = serde_json::from_str::<Acknowledgements>(r#"{"enable":true}"#).unwrap_err().to_string();
        assert!(refused.contains("a map with the key `enabled`"), "{refused}");
    }
}
