//! Statements: assignments, `del`, `if` and `abort`.

use tidegate_record::Path;
use vrl::parser::ast::{Assignment, AssignmentOp, Block, Expr, FunctionCall, IfStatement, Predicate};
use vrl::value::Value;

use super::{Place, Why, expression as part, test};
use crate::plan::Step;

/// The deepest that a lowered assignment may reach, in levels: half of what a record may have, so that it never has more.
const DEPTH_MAX: usize = 64;

/// The step that a statement is; none for one that changes nothing.
pub(crate) fn lower(expression: &Expr, place: Place) -> Result<Option<Step>, Why> {
    match part::bare(expression) {
        Expr::Assignment(assignment) => assign(assignment.inner(), place).map(Some),
        Expr::FunctionCall(call) if call.ident.inner().as_ref() == "del" => {
            removed(call.inner()).map(|path| Some(Step::Remove { path }))
        }
        Expr::IfStatement(branch) => branches(branch.inner(), place.inner()).map(Some),
        Expr::Abort(abort) if abort.message.is_none() => Ok(Some(Step::Abort)),
        Expr::Abort(_) => Err("the message of `abort` is made in VRL".to_string()),
        Expr::Literal(_) => part::literal(expression).map(|_| None),
        Expr::Query(query) if part::is_record(query.inner()) => Ok(None),
        Expr::FunctionCall(call) => Err(format!("`{}` runs in VRL", call.ident.inner())),
        other => Err(format!("{} runs in VRL", kind(other))),
    }
}

fn kind(expression: &Expr) -> &'static str {
    match expression {
        Expr::Container(_) => "a block",
        Expr::Op(_) | Expr::Unary(_) => "an operator",
        Expr::Query(_) => "a query",
        Expr::Variable(_) => "a variable",
        Expr::Return(_) => "`return`",
        Expr::Break(_) => "`break`",
        _ => "this statement",
    }
}

fn assign(assignment: &Assignment, place: Place) -> Result<Step, Why> {
    let Assignment::Single { target, op: AssignmentOp::Assign, expr } = assignment else {
        return Err("only `=` with one target is lowered".to_string());
    };
    let to = part::target(target.inner())?;
    let value = expr.inner();
    if to.is_root() {
        return match (parses_message(value), place) {
            (true, Place::First) => Ok(Step::Parse),
            (true, Place::Parsed | Place::Later) => {
                Err("the message is parsed after the record was changed".to_string())
            }
            (false, _) => Err("the whole record is replaced".to_string()),
        };
    }
    if let Ok(from) = part::path(value) {
        return is_text(&from, place).map(|()| Step::Copy { to, from });
    }
    if let Some(call) = part::call(value).filter(|call| call.ident.inner().as_ref() == "del") {
        let from = removed(call)?;
        return is_text(&from, place).map(|()| Step::Move { to, from });
    }
    if let Some(call) = part::call(value) {
        return Err(format!("`{}` runs in VRL", call.ident.inner()));
    }
    let literal = part::literal(value)?;
    if to.segments().len() + depth(&literal) > DEPTH_MAX {
        return Err("the value stands deep in the record".to_string());
    }
    let json = serde_json::to_vec(&literal).map_err(|error| error.to_string())?;
    Ok(Step::Set { path: to, json: json.into() })
}

/// How many levels a value has.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether a value is `parse_json!(.message)` or `parse_json!(string!(.message))`, with no options.
fn parses_message(value: &Expr) -> bool {
    let Some(parsed) = only_argument(value, "parse_json") else {
        return false;
    };
    let message = only_argument(parsed, "string").unwrap_or(parsed);
    part::path(message).is_ok_and(|path| path == Path::field("message"))
}

/// The one argument of a call `name!(value)`.
fn only_argument<'a>(expression: &'a Expr, name: &str) -> Option<&'a Expr> {
    let call = part::call(expression).filter(|call| call.ident.inner().as_ref() == name && call.abort_on_error)?;
    part::arguments(call, ["value"]).ok().and_then(|[value]| value)
}

/// Whether a field is sure to be to VRL what its text says. The envelope's time is not: a copy of its text would be text.
fn is_text(path: &Path, place: Place) -> Result<(), Why> {
    let is_time = path.top().is_some_and(|key| key.name() == "timestamp");
    if is_time && place != Place::Parsed { Err("`.timestamp` may be a time, not text".to_string()) } else { Ok(()) }
}

/// The path of `del(.a)`.
fn removed(call: &FunctionCall) -> Result<Path, Why> {
    let [target] = part::arguments(call, ["target"])?;
    part::path(target.ok_or_else(|| "`del` of nothing".to_string())?)
}

fn branches(branch: &IfStatement, place: Place) -> Result<Step, Why> {
    let test = match branch.predicate.inner() {
        Predicate::One(test) => test::lower(test.inner())?,
        Predicate::Many(_) => return Err("the predicate has several statements".to_string()),
    };
    let then = block(branch.if_node.inner(), place)?;
    let otherwise = branch.else_node.as_ref().map_or_else(|| Ok(Vec::new()), |node| block(node.inner(), place))?;
    Ok(Step::If { test, then, otherwise })
}

fn block(block: &Block, place: Place) -> Result<Vec<Step>, Why> {
    let steps = block.0.iter().map(|statement| lower(statement.inner(), place));
    steps.filter_map(Result::transpose).collect()
}

/// What a step does, in words.
pub(crate) fn describe(step: &Step) -> String {
    match step {
        Step::Parse => "the bytes of the message become the record, checked but not decoded".to_string(),
        Step::Set { path, .. } => format!("writes `{path}`"),
        Step::Copy { to, from } => format!("copies the text of `{from}` to `{to}`"),
        Step::Move { to, from } => format!("moves the text of `{from}` to `{to}`"),
        Step::Remove { path } => format!("removes `{path}`"),
        Step::If { then, otherwise, .. } => format!("tests, then takes {} or {} steps", then.len(), otherwise.len()),
        Step::Abort => "aborts".to_string(),
    }
}
