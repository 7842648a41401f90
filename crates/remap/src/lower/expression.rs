//! The small change of lowering: paths, literals and the arguments of calls in a syntax tree.

use tidegate_record::{Key, Path, Segment};
use vrl::parser::Literal;
use vrl::parser::ast::{AssignmentTarget, Container, Expr, FunctionArgument, FunctionCall, Node, Query, QueryTarget};
use vrl::parser::template_string::{StringSegment, TemplateString};
use vrl::path::{OwnedSegment, OwnedValuePath, PathPrefix};
use vrl::value::Value;

use super::Why;

const METADATA: &str = "`%` metadata lives in VRL alone";

/// An expression without the brackets around it.
pub(crate) fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Container(container) => match container.inner() {
            Container::Group(group) => bare(group.inner().0.inner()),
            Container::Block(_) | Container::Array(_) | Container::Object(_) => expression,
        },
        _ => expression,
    }
}

/// `.a."b c"`: a path of fields below the root of the record.
pub(crate) fn path(expression: &Expr) -> Result<Path, Why> {
    let Expr::Query(query) = bare(expression) else {
        return Err(format!("`{expression}` is no path"));
    };
    match query.target.inner() {
        QueryTarget::External(PathPrefix::Event) => fields(query.path.inner()),
        QueryTarget::External(PathPrefix::Metadata) => Err(METADATA.to_string()),
        QueryTarget::Internal(_) | QueryTarget::FunctionCall(_) | QueryTarget::Container(_) => {
            Err(format!("`{query}` is no path of the record"))
        }
    }
}

/// Whether a query looks at the record, or somewhere in it.
pub(crate) fn is_record(query: &Query) -> bool {
    matches!(query.target.inner(), QueryTarget::External(PathPrefix::Event))
}

/// The path of the record that an assignment writes; the root is an empty path.
pub(crate) fn target(target: &AssignmentTarget) -> Result<Path, Why> {
    match target {
        AssignmentTarget::External(None) => Ok(Path::default()),
        AssignmentTarget::External(Some(path)) if path.prefix == PathPrefix::Event => {
            if path.path.is_root() {
                Ok(Path::default())
            } else {
                fields(&path.path)
            }
        }
        AssignmentTarget::External(Some(_)) => Err(METADATA.to_string()),
        AssignmentTarget::Query(query) => match query.target.inner() {
            QueryTarget::External(PathPrefix::Event) if query.path.is_root() => Ok(Path::default()),
            QueryTarget::External(PathPrefix::Event) => fields(query.path.inner()),
            QueryTarget::External(PathPrefix::Metadata) => Err(METADATA.to_string()),
            _ => Err(format!("`{query}` is no path of the record")),
        },
        AssignmentTarget::Internal(name, _) => Err(format!("`{name}` is a variable")),
        AssignmentTarget::Noop => Err("`_` is no path of the record".to_string()),
    }
}

fn fields(path: &OwnedValuePath) -> Result<Path, Why> {
    if path.is_root() {
        return Err("the whole record is used".to_string());
    }
    let segment = |segment: &OwnedSegment| match segment {
        OwnedSegment::Field(name) => Ok(Segment::Field(Key::new(name.as_str()))),
        OwnedSegment::Index(_) => Err("the path has an index".to_string()),
    };
    path.segments.iter().map(segment).collect::<Result<Vec<_>, Why>>().map(Path::from)
}

/// A value that is known before any record is seen, among those that JSON has.
pub(crate) fn literal(expression: &Expr) -> Result<Value, Why> {
    match bare(expression) {
        Expr::Literal(literal) => scalar(literal.inner()),
        Expr::Container(container) => match container.inner().clone() {
            Container::Array(array) => array
                .into_inner()
                .into_iter()
                .map(|one| self::literal(one.inner()))
                .collect::<Result<_, Why>>()
                .map(Value::Array),
            Container::Object(object) => object
                .into_inner()
                .into_iter()
                .map(|(key, one)| Ok((key.into_inner().into(), self::literal(one.inner())?)))
                .collect::<Result<_, Why>>()
                .map(Value::Object),
            Container::Group(_) | Container::Block(_) => Err(format!("`{expression}` is no literal")),
        },
        other => Err(format!("`{other}` is no literal")),
    }
}

fn scalar(literal: &Literal) -> Result<Value, Why> {
    match literal {
        Literal::String(TemplateString(segments)) => plain_string(segments).map(Value::from),
        Literal::RawString(text) => Ok(Value::from(text.as_str())),
        Literal::Integer(number) => Ok(Value::Integer(*number)),
        Literal::Float(number) => Ok(Value::Float(*number)),
        Literal::Boolean(yes) => Ok(Value::Boolean(*yes)),
        Literal::Null => Ok(Value::Null),
        Literal::Regex(_) => Err("a regular expression runs in VRL".to_string()),
        Literal::Timestamp(_) => Err("a time is no value that raw text has".to_string()),
    }
}

fn plain_string(segments: &[StringSegment]) -> Result<String, Why> {
    let literal = |segment: &StringSegment| match segment {
        StringSegment::Literal(text, _) => Ok(text.clone()),
        StringSegment::Template(..) => Err("a template needs its variables".to_string()),
    };
    segments.iter().map(literal).collect()
}

/// The literal text of an expression.
pub(crate) fn text(expression: &Expr) -> Result<Box<str>, Why> {
    match literal(expression)? {
        Value::String(text) => Ok((*text).into()),
        Value::Bytes(bytes) => {
            String::from_utf8(bytes.to_vec()).map(Into::into).map_err(|_| "the text is not UTF-8".to_string())
        }
        _ => Err(format!("`{expression}` is no text")),
    }
}

/// The call that an expression is.
pub(crate) fn call(expression: &Expr) -> Option<&FunctionCall> {
    match bare(expression) {
        Expr::FunctionCall(call) => Some(call.inner()),
        _ => None,
    }
}

/// The arguments of a call by the names of its parameters, given by place or by name.
pub(crate) fn arguments<'a, const N: usize>(
    call: &'a FunctionCall,
    names: [&str; N],
) -> Result<[Option<&'a Expr>; N], Why> {
    let mut found = [None; N];
    let unknown = || format!("`{}` is called with more than is known here", call.ident.inner());
    if call.closure.is_some() {
        return Err(unknown());
    }
    let (named, placed): (Vec<&Node<FunctionArgument>>, Vec<_>) =
        call.arguments.iter().partition(|argument| argument.ident.is_some());
    for argument in named {
        let name = argument.ident.as_ref().map(|ident| ident.inner().to_string());
        let place = names.iter().position(|own| Some(*own) == name.as_deref()).ok_or_else(unknown)?;
        found[place] = Some(argument.expr.inner());
    }
    for argument in placed {
        let place = found.iter().position(Option::is_none).ok_or_else(unknown)?;
        found[place] = Some(argument.expr.inner());
    }
    Ok(found)
}
