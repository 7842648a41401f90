//! Bodies of HTTP requests: any encoding, any way of cutting, any bytes. They become records or words, within the limits;
//! what came whole is found again, record by record.

use tidegate_components::sources::http_server::{HttpServer, records_of};
use tidegate_record::codec::compress::{Compression, compress};
use tidegate_record::json;

use crate::dice::Dice;

/// The largest body, before and after it is inflated.
const MOST: usize = 1 << 20;

const ENCODINGS: [(Option<&str>, Compression); 4] = [
    (None, Compression::None),
    (Some("gzip"), Compression::Gzip),
    (Some("deflate"), Compression::Zlib),
    (Some("zstd"), Compression::Zstd),
];

/// How a body is cut, as it is configured.
const CUTS: [&str; 4] = [
    r#""decoding":{"codec":"bytes"}"#,
    r#""decoding":{"codec":"bytes"},"framing":{"method":"newline_delimited"}"#,
    r#""decoding":{"codec":"json"}"#,
    r#""decoding":{"codec":"json"},"framing":{"method":"newline_delimited"}"#,
];

/// The first bytes choose encoding, cut and damage; the rest is the body.
pub(crate) fn check(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let (encoding, compression) = dice.pick(&ENCODINGS);
    let cut = dice.below(CUTS.len());
    let text = format!(r#"{{"address":"127.0.0.1:1","max_body_bytes":{MOST},{}}}"#, CUTS[cut]);
    let config: HttpServer = serde_json::from_str(&text).expect("it is a configuration");
    let damage = dice.below(4);
    let place = dice.below(65_536);
    let plain = dice.rest();
    let mut body = if damage == 1 { plain.to_vec() } else { compress(compression, plain).expect("it has memory") };
    match damage {
        2 => body.truncate(place % (body.len() + 1)),
        3 if !body.is_empty() => {
            let at = place % body.len();
            body[at] ^= 1 << (place >> 13);
        }
        _ => {}
    }
    let found = records_of(&config, encoding, &body);
    if let Ok(records) = &found {
        assert!(records.iter().map(Vec::len).sum::<usize>() <= MOST, "more than the limit came out");
        if cut >= 2 {
            let is_object =
                |record: &Vec<u8>| json::validate(record).is_ok() && json::kind(record) == json::Kind::Object;
            assert!(records.iter().all(is_object), "a record is no object");
        }
    }
    if damage == 0 {
        whole(cut, plain, found);
    }
}

/// A body that was not damaged: its records are those of a naive reader.
fn whole(cut: usize, plain: &[u8], found: Result<Vec<Vec<u8>>, String>) {
    match cut {
        0 => assert_eq!(found, Ok(if plain.is_empty() { Vec::new() } else { vec![plain.to_vec()] })),
        1 => assert_eq!(found, Ok(lines(plain).map(<[u8]>::to_vec).collect())),
        _ => {
            let values: Option<Vec<serde_json::Value>> = found
                .ok()
                .map(|records| records.iter().filter_map(|record| serde_json::from_slice(record).ok()).collect());
            let (Some(values), Some(model)) = (values, model(cut, plain)) else { return };
            assert_eq!(values, model);
        }
    }
}

/// The objects of a body of JSON, if it is one by the book: ours refuses a little more (depth, half a surrogate).
fn model(cut: usize, plain: &[u8]) -> Option<Vec<serde_json::Value>> {
    let whole = if cut == 2 { serde_json::from_slice(plain).ok() } else { None };
    match whole {
        Some(serde_json::Value::Array(items)) => Some(items),
        Some(object @ serde_json::Value::Object(_)) => Some(vec![object]),
        _ => lines(plain)
            .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
            .map(|line| serde_json::from_slice(line).ok())
            .collect(),
    }
}

fn lines(plain: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trim = |line: &'_ [u8]| line.len() - usize::from(line.ends_with(b"\r"));
    plain.split(|byte| *byte == b'\n').map(move |line| &line[..trim(line)]).filter(|line| !line.is_empty())
}
