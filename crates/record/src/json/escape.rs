//! Escapes in a string under a scan: checked, not decoded.

use super::invalid::{Invalid, Why, invalid};

/// Reads an escape from behind its backslash; says where it ends.
#[cold]
pub(super) fn escape(text: &[u8], at: usize) -> Result<usize, Invalid> {
    match text.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => {
            let (unit, at) = unit(text, at)?;
            match unit {
                0xDC00..=0xDFFF => Err(invalid(text, at, Why::Surrogate)),
                0xD800..=0xDBFF => low_surrogate(text, at),
                _ => Ok(at),
            }
        }
        _ => Err(invalid(text, at, Why::Escape)),
    }
}

/// Reads the escape of a low surrogate, which must come next.
fn low_surrogate(text: &[u8], at: usize) -> Result<usize, Invalid> {
    if text.get(at..at + 2) != Some(b"\\u") {
        return Err(invalid(text, at, Why::Surrogate));
    }
    match unit(text, at + 1)? {
        (0xDC00..=0xDFFF, end) => Ok(end),
        (_, end) => Err(invalid(text, end, Why::Surrogate)),
    }
}

/// Reads `u` and four hexadecimal digits.
fn unit(text: &[u8], at: usize) -> Result<(u32, usize), Invalid> {
    let mut unit = 0;
    for at in at + 1..at + 5 {
        let digit = text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        unit = unit * 16 + digit.ok_or_else(|| invalid(text, at, Why::Escape))?;
    }
    Ok((unit, at + 5))
}
