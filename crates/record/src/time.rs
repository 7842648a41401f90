//! [`Timestamp`]: wall time in nanoseconds, and its text as in RFC 3339.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall time: nanoseconds since 1970-01-01T00:00:00Z, from the year 1677 to 2262. Times beyond are clamped.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const NANOS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

impl Timestamp {
    /// So many nanoseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Appends the time as in RFC 3339, in UTC with `Z`. The fraction has no, 3, 6 or 9 digits, as few as lose nothing,
    /// as Vector writes it: `2026-11-21T13:00:00.250Z`.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (seconds, nanos) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS));
        let (days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        let (year, month, day) = civil(days);
        digits(out, year, 4);
        for (sign, number) in [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60)] {
            out.push(sign);
            digits(out, number, 2);
        }
        out.push(b':');
        digits(out, second % 60, 2);
        let (fraction, width) = match nanos {
            0 => (0, 0),
            _ if nanos % 1_000_000 == 0 => (nanos / 1_000_000, 3),
            _ if nanos % 1_000 == 0 => (nanos / 1_000, 6),
            _ => (nanos, 9),
        };
        if width > 0 {
            out.push(b'.');
            digits(out, fraction, width);
        }
        out.push(b'Z');
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(30);
        self.write_rfc3339(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Year, month and day of a day number since 1970-01-01 in the proleptic Gregorian calendar; Howard Hinnant's
/// `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Appends `number` (not negative) with leading zeros.
fn digits(out: &mut Vec<u8>, number: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(b'0' + digit.unsigned_abs().to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_text() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_709_210_096_250_000_000, "2024-02-29T12:34:56.250Z"),
            (1_709_210_096_000_001_000, "2024-02-29T12:34:56.000001Z"),
            (1_709_210_096_000_000_001, "2024-02-29T12:34:56.000000001Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        ] {
            assert_eq!(Timestamp::from_unix_nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn system_time_keeps_its_nanoseconds() {
        let time = UNIX_EPOCH + std::time::Duration::new(5, 7);
        assert_eq!(Timestamp::from(time).unix_nanos(), 5_000_000_007);
        assert_eq!(Timestamp::from(UNIX_EPOCH - std::time::Duration::new(0, 7)).unix_nanos(), -7);
    }
}
