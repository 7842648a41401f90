//! The record of the benchmarks: one JSON object of exactly 256 bytes with its newline, with nine top-level keys and one
//! nested object, a number of its own and the time at which it was sent. Every tenth is at level `debug`.

/// Bytes of one record, its newline included.
pub(crate) const RECORD_BYTES: usize = 256;
/// Numbers begin here, so that all have as many digits.
const FIRST: u64 = 1_000_000_000_000;
/// Where the digits of the number stand, and how many they are.
const SEQ: (usize, usize) = (7, 13);
/// The same for the time, in microseconds.
const SENT: (usize, usize) = (28, 16);

/// Blocks of records with the digits to be filled in.
pub(crate) struct Template([[u8; RECORD_BYTES]; 2]);

impl Template {
    pub(crate) fn new() -> Self {
        Self([Self::of("info"), Self::of("debug")])
    }

    fn of(level: &str) -> [u8; RECORD_BYTES] {
        let head = format!(
            "{{\"seq\":{FIRST},\"sent\":{:016},\"level\":\"{level}\",\"host\":\"web-07.example.com\",\"service\":\"checkout\",\
             \"status\":200,\"took_ms\":12.75,\"user\":{{\"id\":48213,\"tier\":\"gold\"}},\"message\":\"",
            1_000_000_000_000_000_u64
        );
        let tail = "\"}\n";
        let pad = "GET /cart/items served from cache, nothing unusual to report here ".repeat(3);
        let fill = RECORD_BYTES - head.len() - tail.len();
        let text = format!("{head}{}{tail}", &pad[..fill]);
        let mut bytes = [b' '; RECORD_BYTES];
        bytes.copy_from_slice(text.as_bytes());
        bytes
    }

    /// Appends record `number`, sent at `micros`.
    pub(crate) fn write(&self, number: u64, micros: u64, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&self.0[usize::from(number.is_multiple_of(10))]);
        digits(FIRST + number, &mut out[at + SEQ.0..at + SEQ.0 + SEQ.1]);
        digits(micros, &mut out[at + SENT.0..at + SENT.0 + SENT.1]);
    }
}

fn digits(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// What a receiver reads of a line.
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) sent: u64,
}

/// The number and the time of a line, wherever they stand in it; `None` for what is no record of ours.
pub(crate) fn read(line: &[u8]) -> Option<Seen> {
    let number = field(line, b"\"seq\":", SEQ.0 - 6)?.checked_sub(FIRST)?;
    Some(Seen { number, sent: field(line, b"\"sent\":", SENT.0 - 7)? })
}

/// The digits behind `key`, looked for at `guess` first.
fn field(line: &[u8], key: &[u8], guess: usize) -> Option<u64> {
    let at = if line.get(guess..guess + key.len()) == Some(key) {
        guess
    } else {
        line.windows(key.len()).position(|window| window == key)?
    };
    let digits = line[at + key.len()..].iter().map(|byte| byte.wrapping_sub(b'0')).skip_while(|digit| *digit > 9);
    Some(digits.take_while(|digit| *digit <= 9).fold(0, |number, digit| number * 10 + u64::from(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_json_of_256_bytes_and_is_read_back_also_when_its_keys_were_sorted() {
        let template = Template::new();
        for number in [0, 1, 10, 123_456_789] {
            let mut line = Vec::new();
            template.write(number, 1_763_730_000_000_001, &mut line);
            assert_eq!(line.len(), RECORD_BYTES);
            let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(object.as_object().unwrap().len(), 9);
            assert_eq!(object["level"], if number % 10 == 0 { "debug" } else { "info" });
            for text in [line.clone(), serde_json::to_vec(&object).unwrap()] {
                let seen = read(&text).unwrap();
                assert_eq!((seen.number, seen.sent), (number, 1_763_730_000_000_001));
            }
        }
        assert!(read(b"{\"message\":\"garbage\"}").is_none());
    }
}
