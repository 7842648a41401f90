//! The transforms.

use serde_json::{Value, json};
use tidegate_components::TRANSFORMS;
use tidegate_components::wiring::Part;
use tidegate_runtime::PipelineBuilder;
use tidegate_tck::component::{ProbeSink, ScriptSource, TransformComponent};

use crate::world::{Folder, Objects, Plug, World, node, transform_part, wire};

/// In the order of the list.
pub(crate) const CHECKED: &[&str] = &["dedupe", "filter", "reduce", "remap", "route", "sample", "throttle"];

fn declared(kind: &str) -> Vec<String> {
    let kind = TRANSFORMS.iter().find(|known| known.name == kind).unwrap();
    kind.metrics.iter().map(|name| (*name).to_owned()).collect()
}

macro_rules! transform {
    ($name:ident, $module:ident, $kind:literal, [$($input:literal),+], $config:expr) => {
        struct $name;

        impl TransformComponent for $name {
            type Traffic = Objects;
            type Run = World;
            const NAME: &'static str = $kind;

            fn declared() -> Vec<String> {
                declared($kind)
            }

            fn wire(builder: &PipelineBuilder, source: ScriptSource<Objects>, sink: ProbeSink<Objects>) -> World {
                let config: Value = $config;
                let nodes = vec![
                    node("source", &[], Part::Source(Box::new(Plug(source)))),
                    node("subject", &["source"], transform_part(config)),
                    node("sink", &[$($input),+], Part::Sink(Box::new(Plug(sink)))),
                ];
                wire(builder, nodes, "subject", Folder::new())
            }
        }

        tidegate_tck::transform_component_suite!($module, $name);
    };
}

transform! {
    Dedupe, dedupe, "dedupe", ["subject"],
    json!({"type": "dedupe", "fields": {"match": ["key"]}, "cache": {"num_events": 100}})
}
transform! {
    DedupeSaved, dedupe_saved, "dedupe", ["subject"],
    json!({"type": "dedupe", "fields": {"match": ["key"]}, "cache": {"num_events": 100}, "checkpoint": "20ms"})
}
transform! { Filter, filter, "filter", ["subject"], json!({"type": "filter", "condition": "mod(to_int!(.n), 3) != 0"}) }
transform! {
    Reduce, reduce, "reduce", ["subject"],
    json!({"type": "reduce", "group_by": ["key"], "merge_strategies": {"message": "array"}, "max_events": 4})
}
transform! {
    ReduceAtOnce, reduce_at_once, "reduce", ["subject"],
    json!({"type": "reduce", "group_by": ["key"], "end_every_period_ms": 50, "ack": "on_absorb"})
}
transform! { Remap, remap, "remap", ["subject"], json!({"type": "remap", "source": ".env = \"prod\"\n.message = .message"}) }
transform! {
    RemapAborts, remap_aborts, "remap", ["subject"],
    json!({"type": "remap", "source": "if mod(to_int!(.n), 5) == 0 { abort }\n.x = 1"})
}
transform! {
    RemapReroutes, remap_reroutes, "remap", ["subject", "subject.dropped"],
    json!({"type": "remap", "source": "if mod(to_int!(.n), 5) == 0 { abort }\n.x = 1", "reroute_dropped": true})
}
transform! {
    Route, route, "route", ["subject.even", "subject.three", "subject._unmatched"],
    json!({"type": "route", "route": {"even": "mod(to_int!(.n), 2) == 0", "three": "mod(to_int!(.n), 3) == 0"}})
}
transform! { Sample, sample, "sample", ["subject"], json!({"type": "sample", "rate": 3, "key_field": ".key"}) }
transform! {
    ThrottleSaved, throttle_saved, "throttle", ["subject"],
    json!({"type": "throttle", "threshold": 5, "window_secs": 1, "key_field": "{{ key }}", "checkpoint": "20ms"})
}
transform! {
    Throttle, throttle, "throttle", ["subject"],
    json!({"type": "throttle", "threshold": 5, "window_secs": 1, "key_field": "{{ key }}"})
}
