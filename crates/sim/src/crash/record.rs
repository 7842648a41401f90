//! The records: lines that say their number and their key, and that nothing can be mistaken for.

/// Bytes of a line, its newline included.
pub(super) const BYTES: usize = 160;

const HEAD: &[u8] = b"{\"id\":";
const KEY: &[u8] = b",\"key\":";
const PAD: &[u8] = b",\"pad\":\"";
const TAIL: &[u8] = b"\"}\n";
/// Numbers begin here, so that all have as many digits.
const FIRST: u64 = 100_000_000_000;
const FIRST_KEY: u64 = 1_000;

/// Appends a line.
pub(super) fn write(id: u64, key: u16, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(HEAD);
    out.extend_from_slice((FIRST + id).to_string().as_bytes());
    out.extend_from_slice(KEY);
    out.extend_from_slice((FIRST_KEY + u64::from(key)).to_string().as_bytes());
    out.extend_from_slice(PAD);
    // What stands there follows from the number, so that no line is the end of another.
    let letter = b'a' + u8::try_from(id % 26).unwrap_or(0);
    out.resize(at + BYTES - TAIL.len(), letter);
    out.extend_from_slice(TAIL);
}

/// The number and the key of a line without its newline; `None`: it is not one of ours, or not whole.
pub(super) fn read(line: &[u8]) -> Option<(u64, u16)> {
    let rest = line.strip_prefix(HEAD)?;
    let id = digits(rest)?.checked_sub(FIRST)?;
    let rest = rest.get(12..)?.strip_prefix(KEY)?;
    let key = u16::try_from(digits(rest)?.checked_sub(FIRST_KEY)?).ok()?;
    let mut whole = Vec::with_capacity(BYTES);
    write(id, key, &mut whole);
    (whole[..BYTES - 1] == *line).then_some((id, key))
}

/// The numbers that stand anywhere in these bytes.
pub(super) fn ids_in(bytes: &[u8]) -> Vec<u64> {
    let mut ids = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(HEAD.len()).position(|window| window == HEAD) {
        rest = &rest[at + HEAD.len()..];
        ids.extend(digits(rest).and_then(|number| number.checked_sub(FIRST)));
    }
    ids
}

fn digits(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_nothing_else_is() {
        let mut text = Vec::new();
        write(0, 0, &mut text);
        write(123_456, 77, &mut text);
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        assert_eq!((lines[0].len() + 1, lines.len()), (BYTES, 3));
        assert_eq!((read(lines[0]), read(lines[1])), (Some((0, 0)), Some((123_456, 77))));
        for broken in [&lines[1][1..], &lines[1][..100], b"", b"{\"id\":1}"] {
            assert_eq!(read(broken), None);
        }
        assert_eq!(ids_in(&text), [0, 123_456]);
    }
}
