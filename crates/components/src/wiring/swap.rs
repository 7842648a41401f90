//! [`put_sink`] and [`new_step`]: one node of a plan made anew, for the place of the one that runs.

use std::sync::Arc;

use tidegate_flow::{Bytes, EdgeSpec};
use tidegate_runtime::{NewStep, PipelineBuilder};

use super::slot::SinkSlot;
use super::{Node, Part, WireError};
use crate::Rows;
use crate::contract::{BuildContext, BuiltTransform, StartError};

/// Starts a sink and puts it on `builder`, which is one of [`Running::places`](tidegate_runtime::Running::places). Must
/// be called within a tokio runtime.
///
/// # Errors
/// What the sink said when it was started; or that the node is none.
pub fn put_sink(builder: &PipelineBuilder, node: Node, cx: &BuildContext) -> Result<(), WireError> {
    let Node { name, buffer, dead_letters, part, .. } = node;
    let Part::Sink(sink) = part else { return Err(WireError::new(&name, "it is no sink")) };
    // Only the names of these edges count: those that run are taken over.
    let (_, flow) = builder.boxed_port(buffer.filter(|buffer| !buffer.is_on_disk()).unwrap_or_default().spec(&name, 1));
    let letters = dead_letters.map(|to| builder.boxed_port(EdgeSpec::new(&*to).max_producers(2)).0);
    let slot =
        SinkSlot { name: Arc::clone(&name), cx, builder, flow, dead_letters: letters.as_ref(), encoding: Bytes::ZERO };
    sink.start(slot).map_err(|error| WireError { node: name, error })
}

/// Builds a transform as a step.
///
/// # Errors
/// What the transform said; or that the node is no transform with one output.
pub fn new_step(node: Node, cx: &BuildContext) -> Result<NewStep<Rows>, WireError> {
    let Node { name, part, .. } = node;
    let built = match part {
        Part::Transform(transform) => transform.build(&cx.for_node(&name)),
        Part::Source(_) | Part::Sink(_) => Err(StartError::new("it is no transform")),
    };
    match built {
        Ok(BuiltTransform::Step { step, holds }) => Ok(NewStep { name: name.to_string(), step, holds }),
        Ok(BuiltTransform::Choice(_) | BuiltTransform::StepThenChoice { .. }) => {
            Err(WireError::new(&name, "it has several outputs"))
        }
        Err(error) => Err(WireError { node: name, error }),
    }
}
