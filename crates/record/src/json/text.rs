//! Strings in and out of JSON: [`quote`] and [`unquote`].

use std::borrow::Cow;

use super::word;

/// Appends `text` as a JSON string with its quotes. What is not UTF-8 becomes U+FFFD, as in `from_utf8_lossy`.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match std::str::from_utf8(text) {
        Ok(text) => escape(text.as_bytes(), out),
        Err(_) => escape(String::from_utf8_lossy(text).as_bytes(), out),
    }
    out.push(b'"');
}

/// Appends `text`, which is UTF-8, with the escapes that a JSON string needs.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let plain = plain_length(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(byte) = rest.get(plain) else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            other => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = &rest[plain + 1..];
    }
}

/// How many bytes at the front need no escape.
fn plain_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(eight) = word::load(text, at) {
        let marks = word::marks_in_string(eight);
        if marks != 0 {
            return at + word::lowest(marks);
        }
        at += 8;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
    text[at..].iter().position(is_special).map_or(text.len(), |offset| at + offset)
}

/// What the JSON string `text`, with its quotes, stands for. Borrowed where it has no escapes.
#[must_use]
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let inner = text.strip_prefix(b"\"").unwrap_or(text);
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    match memchr::memchr(b'\\', inner) {
        None => Cow::Borrowed(inner),
        Some(first) => Cow::Owned(unescape(inner, first)),
    }
}

fn unescape(text: &[u8], first: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut next = Some(first);
    while let Some(at) = next {
        out.extend_from_slice(&rest[..at]);
        let (length, character) = escaped(&rest[at..]);
        let mut utf8 = [0; 4];
        out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        rest = rest.get(at + length..).unwrap_or_default();
        next = memchr::memchr(b'\\', rest);
    }
    out.extend_from_slice(rest);
    out
}

/// The length of the escape at the front of `text`, and its character; U+FFFD where it is none.
fn escaped(text: &[u8]) -> (usize, char) {
    let character = match text.get(1) {
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return escaped_unit(text),
        Some(other) if other.is_ascii() => char::from(*other),
        _ => char::REPLACEMENT_CHARACTER,
    };
    (2, character)
}

fn escaped_unit(text: &[u8]) -> (usize, char) {
    let Some(high) = unit(text) else { return (2, char::REPLACEMENT_CHARACTER) };
    let low = text.get(6..).and_then(unit);
    match (char::from_u32(high), low) {
        (Some(character), _) => (6, character),
        (None, Some(low)) if (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(&low) => {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            (12, char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
        }
        (None, _) => (6, char::REPLACEMENT_CHARACTER),
    }
}

/// The number in an escape of the form `\u1234` at the front of `text`.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, byte| Some(unit * 16 + char::from(*byte).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_what_comes_back() {
        for text in ["", "plain", "a\"b\\c", "\u{0}\u{1f}\n\r\t\u{8}\u{c}", "é𝄞 and more than eight bytes \" long"]
        {
            let mut quoted = Vec::new();
            quote(text.as_bytes(), &mut quoted);
            assert_eq!(quoted, serde_json::to_vec(text).unwrap());
            assert_eq!(&*unquote(&quoted), text.as_bytes());
        }
    }

    #[test]
    fn escapes_of_every_form_are_decoded() {
        let text = br#""\u0041\/\"\\\ud834\udd1e\u00e9 tail""#;
        assert_eq!(&*unquote(text), "A/\"\\𝄞é tail".as_bytes());
        assert_eq!(&*unquote(br#""\ud834x""#), "\u{FFFD}x".as_bytes());
        assert_eq!(&*unquote(br#""\"#), "\u{FFFD}".as_bytes());
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        let mut quoted = Vec::new();
        quote(b"a\xFFb", &mut quoted);
        assert_eq!(quoted, "\"a\u{FFFD}b\"".as_bytes());
    }
}
