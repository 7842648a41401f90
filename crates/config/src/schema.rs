//! The JSON Schema (draft 2020-12) of a pipeline file, made of the config structs, for editors to complete and check.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tidegate_components::columns::Columns;
use tidegate_components::options::Buffer;
use tidegate_components::sinks::dead_letter_queue::DeadLetterQueue;
use tidegate_components::value::ByteSize;
use tidegate_components::{SINKS, SOURCES, TRANSFORMS};

/// The schema of a whole file.
#[must_use]
pub fn schema() -> Value {
    let mut builder = Builder { generator: SchemaSettings::draft2020_12().into_generator(), defs: Map::new() };
    let memory = builder.of::<ByteSize>();
    let buffer = builder.of::<Buffer>();
    let columns = builder.of::<Columns>();
    builder.defs.insert("inputs".to_string(), inputs());
    builder.defs.insert("buffer".to_string(), buffer);
    builder.defs.insert("columns".to_string(), columns);
    let queue = builder.of::<DeadLetterQueue>();
    builder.defs.insert("dead_letter".to_string(), dead_letter(queue));
    let mut all = |kinds: Vec<(&str, &str, Schema)>, keys: &[&str], needed: bool| {
        let one = |(name, summary, schema)| builder.component(name, summary, schema, keys, needed);
        let variants: Vec<Value> = kinds.into_iter().map(one).collect();
        json!({ "type": "object", "additionalProperties": { "type": "object", "oneOf": variants } })
    };
    macro_rules! listed {
        ($kinds:ident) => {
            $kinds
                .iter()
                .map(|kind| {
                    (kind.name, kind.summary, (kind.schema)(&mut SchemaSettings::draft2020_12().into_generator()))
                })
                .collect()
        };
    }
    let sources = all(listed!(SOURCES), &["columns"], false);
    let transforms = all(listed!(TRANSFORMS), &["inputs", "buffer", "dead_letter"], true);
    let sinks = all(listed!(SINKS), &["inputs", "buffer", "dead_letter"], false);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline file of tidegate",
        "type": "object",
        "properties": {
            "memory": described(memory, "The budget that everything in flight is charged to. Default: 256 MiB."),
            "data_dir": { "type": "string", "description": "Where components keep what must survive a restart." },
            "sources": described(sources, "Where records come from, by name."),
            "transforms": described(transforms, "What happens to records on the way, by name."),
            "sinks": described(sinks, "Where records go to, by name."),
            "tests": tests(),
        },
        "additionalProperties": false,
        "$defs": builder.defs,
    })
}

/// The text of the schema as it is committed: with two blanks of indentation and a newline at the end.
#[must_use]
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

struct Builder {
    generator: SchemaGenerator,
    defs: Map<String, Value>,
}

impl Builder {
    fn of<T: JsonSchema>(&mut self) -> Value {
        let schema = self.generator.root_schema_for::<T>();
        self.take(schema)
    }

    /// The schema without what belongs to the root: its definitions go to those of the file.
    fn take(&mut self, schema: Schema) -> Value {
        let mut value = schema.to_value();
        if let Some(object) = value.as_object_mut() {
            object.remove("$schema");
            if let Some(Value::Object(defs)) = object.remove("$defs") {
                self.defs.extend(defs);
            }
        }
        value
    }

    fn component(&mut self, name: &str, summary: &str, schema: Schema, keys: &[&str], needs_inputs: bool) -> Value {
        let mut value = self.take(schema);
        let Some(object) = value.as_object_mut() else { return value };
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("type".to_string(), json!({ "const": name, "description": summary }));
            for key in keys {
                properties.insert((*key).to_string(), json!({ "$ref": format!("#/$defs/{key}") }));
            }
        }
        let required = object.entry("required").or_insert_with(|| json!([]));
        if let Some(required) = required.as_array_mut() {
            required.push(json!("type"));
            if needs_inputs {
                required.push(json!("inputs"));
            }
        }
        object.insert("title".to_string(), json!(name));
        object.insert("description".to_string(), json!(summary));
        value
    }
}

fn described(mut schema: Value, text: &str) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_string(), json!(text));
    }
    schema
}

fn inputs() -> Value {
    json!({
        "description": "What it reads: names of sources and transforms, `name.output`, or wildcards such as `app*`.",
        "anyOf": [
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            { "type": "string" }
        ]
    })
}

fn dead_letter(queue: Value) -> Value {
    json!({
        "description": "Where records go that the component refuses for good: true, or a table with its limits, for a queue in the data directory, or the name of a sink, or false for back to their source. Default: for a sink a queue where a source before it has nobody to tell, back to their source otherwise; for a transform what its own keys say.",
        "anyOf": [ { "type": "boolean" }, { "type": "string" }, queue ]
    })
}

fn tests() -> Value {
    let names = json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] });
    let input = json!({
        "type": "object",
        "properties": {
            "insert_at": names,
            "type": { "enum": ["raw", "log", "vrl"], "default": "raw" },
            "value": { "type": "string", "description": "The line, for `raw`." },
            "log_fields": { "type": "object", "description": "The fields, for `log`." },
            "source": { "type": "string", "description": "The program that makes the record, for `vrl`." }
        },
        "required": ["insert_at"],
        "additionalProperties": false
    });
    let condition = json!({
        "anyOf": [
            { "type": "string" },
            {
                "type": "object",
                "properties": { "type": { "const": "vrl" }, "source": { "type": "string" } },
                "required": ["type", "source"],
                "additionalProperties": false
            }
        ]
    });
    json!({
        "type": "array",
        "description": "Unit tests of transforms.",
        "items": {
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "input": input,
                "inputs": { "type": "array", "items": input },
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "extract_from": names,
                            "conditions": { "type": "array", "items": condition }
                        },
                        "required": ["extract_from"],
                        "additionalProperties": false
                    }
                },
                "no_outputs_from": { "type": "array", "items": { "type": "string" } }
            },
            "required": ["name"],
            "additionalProperties": false
        }
    })
}
