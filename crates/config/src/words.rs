//! Quantities in words.

use tidegate_flow::{Bytes, Records};

/// "256 MiB", "1.5 KiB": at most one digit behind the point, and exact where that is enough.
#[must_use]
pub fn bytes(bytes: Bytes) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in units {
        if bytes.get() >= factor {
            let tenths = (u128::from(bytes.get()) * 10).div_ceil(u128::from(factor));
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
        }
    }
    format!("{} B", bytes.get())
}

/// "4,096 records".
#[must_use]
pub fn records(records: Records) -> String {
    let number = grouped(records.get());
    if records.get() == 1 { format!("{number} record") } else { format!("{number} records") }
}

/// "1,234,567".
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// "1 sink", "2 sinks".
#[must_use]
pub fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(bytes(Bytes::new(256 << 20)), "256 MiB");
        assert_eq!(bytes(Bytes::new(1536)), "1.5 KiB");
        assert_eq!(bytes(Bytes::new((1 << 20) + 1)), "1.1 MiB");
        assert_eq!(bytes(Bytes::new(12)), "12 B");
        assert_eq!(records(Records::new(1_234_567)), "1,234,567 records");
        assert_eq!((grouped(999), grouped(1000)), ("999".to_string(), "1,000".to_string()));
    }
}
