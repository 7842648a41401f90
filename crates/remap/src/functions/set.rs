//! `set`, as VRL has it but for one thing: an index that comes out of a record may not make an array of any length.

use vrl::compiler::prelude::{
    ArgumentList, Compiled, Context, Example, Expression, ExpressionError, Function, FunctionCompileContext,
    FunctionExpression, Parameter, Resolved, TypeDef, TypeState,
};
use vrl::path::OwnedValuePath;
use vrl::stdlib::Set;
use vrl::value::Value;

use crate::limits::INDEX_MAX;

/// The function. What is said of it is what is said of VRL's.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundedSet;

impl Function for BoundedSet {
    fn identifier(&self) -> &'static str {
        Set.identifier()
    }

    fn usage(&self) -> &'static str {
        Set.usage()
    }

    fn category(&self) -> &'static str {
        Set.category()
    }

    fn internal_failure_reasons(&self) -> &'static [&'static str] {
        Set.internal_failure_reasons()
    }

    fn return_kind(&self) -> u16 {
        Set.return_kind()
    }

    fn parameters(&self) -> &'static [Parameter] {
        Set.parameters()
    }

    fn examples(&self) -> &'static [Example] {
        Set.examples()
    }

    fn compile(&self, state: &TypeState, cx: &mut FunctionCompileContext, arguments: ArgumentList) -> Compiled {
        let [path, value, data] = ["path", "value", "data"].map(|name| arguments.required(name));
        // For its type alone: it evaluates its arguments itself, and they must be evaluated once.
        let theirs = Set.compile(state, cx, arguments)?;
        Ok(SetCall { path, value, data, theirs }.as_expr())
    }
}

#[derive(Clone, Debug)]
struct SetCall {
    path: Box<dyn Expression>,
    value: Box<dyn Expression>,
    data: Box<dyn Expression>,
    theirs: Box<dyn Expression>,
}

impl FunctionExpression for SetCall {
    fn resolve(&self, cx: &mut Context<'_>) -> Resolved {
        let path = self.path.resolve(cx)?;
        let mut value = self.value.resolve(cx)?;
        let data = self.data.resolve(cx)?;
        let Value::Array(segments) = path else {
            return Err(ExpressionError::from("the path must be an array"));
        };
        let is_far = |segment: &Value| matches!(segment, Value::Integer(index) if index.unsigned_abs() > INDEX_MAX);
        if segments.iter().any(is_far) {
            let text = format!("an index over {INDEX_MAX}: the array would be filled up to it");
            return Err(ExpressionError::from(text));
        }
        value.insert(&OwnedValuePath::try_from(segments)?, data);
        Ok(value)
    }

    fn type_def(&self, state: &TypeState) -> TypeDef {
        self.theirs.type_def(state)
    }
}
