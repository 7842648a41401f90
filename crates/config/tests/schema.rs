//! The committed schema is that of the code, and is one that the files fit. `UPDATE=1` writes it anew.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::Path;

use serde_json::Value;
use tidegate_config::schema;

const COMMITTED: &str = "../../docs/schema.json";

#[test]
fn the_committed_schema_is_current() {
    let text = schema::schema_text();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(COMMITTED, &text).expect("the schema can be written");
    }
    let committed = std::fs::read_to_string(Path::new(COMMITTED)).unwrap_or_default();
    assert!(committed == text, "docs/schema.json is not that of the code; set UPDATE=1 and run this test");
}

/// Every reference leads to a definition.
#[test]
fn references_lead_somewhere() {
    fn walk(value: &Value, defs: &serde_json::Map<String, Value>) {
        match value {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    let name = reference.strip_prefix("#/$defs/").expect("a local reference");
                    assert!(defs.contains_key(name), "{reference}");
                }
                object.values().for_each(|value| walk(value, defs));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, defs)),
            _ => {}
        }
    }
    let schema = schema::schema();
    let defs = schema["$defs"].as_object().expect("definitions");
    assert!(defs.len() > 3);
    walk(&schema, defs);
}
