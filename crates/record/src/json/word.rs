//! Eight bytes at a time: finds the bytes that end or interrupt a string, in plain 64-bit arithmetic.
//!
//! The tests for a byte are those of Sean Anderson's "Bit Twiddling Hacks" (determine if a word has a byte equal to or
//! less than n). A false hit can only stand above a true one, so that the lowest hit is always right.

const ONES: u64 = 0x0101_0101_0101_0101;
/// The top bit of every byte.
pub(super) const TOPS: u64 = 0x8080_8080_8080_8080;

/// The eight bytes at `at`, the first of them lowest; `None` where there are fewer.
#[inline(always)]
pub(super) fn load(text: &[u8], at: usize) -> Option<u64> {
    let eight = text.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*eight))
}

/// Marks, by its top bit, the lowest byte that is a quote, a backslash or a control character.
#[inline(always)]
pub(super) const fn marks_in_string(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20);
    ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash) | (control & !word)) & TOPS
}

/// Marks, by its top bit, the lowest byte that is a quote or a backslash.
#[inline(always)]
pub(super) const fn marks_end(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash)) & TOPS
}

/// Which byte the lowest mark stands on.
#[inline(always)]
pub(super) const fn lowest(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// How many of the eight bytes, from the lowest, are digits.
#[inline(always)]
pub(super) const fn digits(word: u64) -> usize {
    // A digit has 3 as its high half, also with 6 added. An addition that carries comes from a byte that is no digit.
    let high_halves = word & 0xF0F0_F0F0_F0F0_F0F0;
    let carried = word.wrapping_add(ONES * 6) & 0xF0F0_F0F0_F0F0_F0F0;
    let others = (high_halves | (carried >> 4)) ^ 0x3333_3333_3333_3333;
    (others.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_mark_is_the_first_such_byte() {
        for position in 0..8 {
            for byte in 0..=u8::MAX {
                for fill in [b'a', b'"' + 1, 0x21, 0x80, 0xFF, b'\\' + 1] {
                    let mut bytes = [fill; 8];
                    bytes[position] = byte;
                    let word = u64::from_le_bytes(bytes);
                    let ends = |byte: u8| byte == b'"' || byte == b'\\';
                    let expected = bytes.iter().position(|byte| ends(*byte) || *byte < 0x20).unwrap_or(8);
                    assert_eq!(lowest(marks_in_string(word)), expected, "{bytes:?}");
                    let expected = bytes.iter().position(|byte| ends(*byte)).unwrap_or(8);
                    assert_eq!(lowest(marks_end(word)), expected, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn digits_are_counted_up_to_the_first_other_byte() {
        for position in 0..8 {
            for byte in 0..=u8::MAX {
                for fill in *b"0958" {
                    let mut bytes = [fill; 8];
                    bytes[position] = byte;
                    let expected = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(8);
                    assert_eq!(digits(u64::from_le_bytes(bytes)), expected, "{bytes:?}");
                }
            }
        }
        assert_eq!(digits(u64::from_le_bytes(*b"12\xFF\xFF5678")), 2);
    }
}
