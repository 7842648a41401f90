//! Conditions: comparisons with literals, searches in text, questions about kinds, and what joins them.

use vrl::parser::ast::{Expr, FunctionCall, Opcode, Unary};
use vrl::value::Value;

use super::{Why, expression as part};
use crate::plan::{Comparison, Kind, Match, Operand, Test};

/// The test that an expression of type boolean is.
pub(crate) fn lower(expression: &Expr) -> Result<Test, Why> {
    match part::bare(expression) {
        Expr::Op(op) => operator(&op.inner().0, *op.inner().1.inner(), &op.inner().2),
        Expr::Unary(unary) => {
            let Unary::Not(not) = unary.inner();
            let (_, inner) = not.inner().clone().take();
            lower(inner.inner()).map(|test| Test::Not(Box::new(test)))
        }
        Expr::FunctionCall(call) => function(call.inner()),
        Expr::Literal(_) => match part::literal(expression)? {
            Value::Boolean(yes) => Ok(Test::Known(yes)),
            _ => Err(format!("`{expression}` is not true or false")),
        },
        other => Err(format!("`{other}` is tested in VRL")),
    }
}

fn operator(left: &Expr, opcode: Opcode, right: &Expr) -> Result<Test, Why> {
    let join = |join: fn(Box<Test>, Box<Test>) -> Test| Ok(join(Box::new(lower(left)?), Box::new(lower(right)?)));
    let how = match opcode {
        Opcode::And => return join(Test::And),
        Opcode::Or => return join(Test::Or),
        Opcode::Err => return join(Test::Else),
        Opcode::Eq => Comparison::Equal,
        Opcode::Ne => Comparison::Unequal,
        Opcode::Lt => Comparison::Less,
        Opcode::Le => Comparison::LessOrEqual,
        Opcode::Gt => Comparison::Greater,
        Opcode::Ge => Comparison::GreaterOrEqual,
        Opcode::Mul | Opcode::Div | Opcode::Add | Opcode::Sub | Opcode::Merge => {
            return Err(format!("`{opcode}` is computed in VRL"));
        }
    };
    let (what, with) = (operand(left)?, part::literal(right)?);
    match with {
        Value::Array(_) | Value::Object(_) => Err("a list or an object is compared in VRL".to_string()),
        with => Ok(Test::Compare { what, how, with }),
    }
}

/// A field, or a field that must be of a kind: `.a`, `string!(.a)`.
fn operand(expression: &Expr) -> Result<Operand, Why> {
    if let Ok(path) = part::path(expression) {
        return Ok(Operand { path, must: None });
    }
    let Some(call) = part::call(expression) else {
        return Err(format!("`{expression}` is computed in VRL"));
    };
    let must = match call.ident.inner().as_ref() {
        "string" => Kind::String,
        "int" => Kind::Integer,
        "float" => Kind::Float,
        "bool" => Kind::Boolean,
        name => return Err(format!("`{name}` runs in VRL")),
    };
    let [value] = part::arguments(call, ["value"])?;
    let path = part::path(value.ok_or_else(|| "a call without a value".to_string())?)?;
    Ok(Operand { path, must: Some(must) })
}

fn function(call: &FunctionCall) -> Result<Test, Why> {
    let name = call.ident.inner().as_ref();
    let matching = |how| {
        let [what, needle] = part::arguments(call, ["value", "substring"])?;
        let (Some(what), Some(needle)) = (what, needle) else {
            return Err("a search without its text".to_string());
        };
        Ok(Test::Text { what: operand(what)?, how, needle: part::text(needle)? })
    };
    let field = |parameter: &'static str| {
        let [field] = part::arguments(call, [parameter])?;
        part::path(field.ok_or_else(|| "a question about nothing".to_string())?)
    };
    match name {
        "starts_with" => matching(Match::Starts),
        "ends_with" => matching(Match::Ends),
        "contains" => matching(Match::Contains),
        "exists" => field("field").map(Test::Exists),
        "is_null" => field("value").map(|path| Test::Is(path, Kind::Null)),
        "is_string" => field("value").map(|path| Test::Is(path, Kind::String)),
        "is_boolean" => field("value").map(|path| Test::Is(path, Kind::Boolean)),
        "is_integer" => field("value").map(|path| Test::Is(path, Kind::Integer)),
        "is_float" => field("value").map(|path| Test::Is(path, Kind::Float)),
        "is_array" => field("value").map(|path| Test::Is(path, Kind::Array)),
        "is_object" => field("value").map(|path| Test::Is(path, Kind::Object)),
        "bool" => field("value").map(|path| Test::Flag(Operand { path, must: Some(Kind::Boolean) })),
        _ => Err(format!("`{name}` runs in VRL")),
    }
}
