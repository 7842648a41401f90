//! What a scalar without quotes is: the core schema of YAML 1.2 (section 10.3.2).

use super::Value;

/// The value of a scalar without quotes; `None` where it is text.
pub(crate) fn resolve_plain(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Some(Value::Float(f64::INFINITY * f64::from(sign)));
    }
    if let Some(value) = based(text, "0x", 16).or_else(|| based(text, "0o", 8)) {
        return Some(value);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(number) => Some(Value::Int(number)),
            Err(_) => text.parse().ok().map(Value::Float),
        };
    }
    let number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    (digits.bytes().all(number)).then(|| text.parse().ok()).flatten().map(Value::Float)
}

fn based(text: &str, prefix: &str, radix: u32) -> Option<Value> {
    let digits = text.strip_prefix(prefix)?;
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    i128::from_str_radix(digits, radix).ok().map(Value::Int)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, value) in [
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("-12", Value::Int(-12)),
            ("0x1F", Value::Int(31)),
            ("0o17", Value::Int(15)),
            ("1.5e3", Value::Float(1500.0)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve_plain(text), Some(value), "{text}");
        }
        for text in ["yes", "on", "256MiB", "1.2.3", "10s", "0x", "-", "1_000", "e3", "127.0.0.1:80", "0x+1"] {
            assert_eq!(resolve_plain(text), None, "{text}");
        }
    }
}
