//! Anything may come in: seeded garbage through every door, from framing to output. It never panics, nothing is lost
//! between the doors, and what comes out as JSON is JSON.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use tidegate_flow::{AccountSpec, Budget, Payload, Records, Share, SlabPool, mib};
use tidegate_record::codec::compress::{Compression, Limits, compress, decompress};
use tidegate_record::codec::{Codec, EncodeFraming, Encoder};
use tidegate_record::frame::{Framer, Framing};
use tidegate_record::{JsonText, Origin, Path, Rows, Timestamp, json};

/// xorshift64*, Vigna 2016.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len())]
    }
}

/// Bytes that are mostly nearly JSON.
fn garbage(random: &mut Random) -> Vec<u8> {
    const WORDS: [&[u8]; 24] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"a\"",
        b"\"level\"",
        b":",
        b",",
        b"\n",
        b"\r\n",
        b"\"",
        b"\\",
        b"\\u00",
        b"\\ud800",
        b"0",
        b"-1.5e3",
        b"true",
        b"null",
        b"\x00",
        b"\xFF\xFE",
        b"\xC3\xA9",
        b"{\"a\":1}\n",
        b"{\"level\":{\"b\":[1,2]}}\n",
        b" ",
    ];
    let mut bytes = Vec::new();
    for _ in 0..random.below(60) {
        match random.below(8) {
            0 => bytes.push(u8::try_from(random.below(256)).unwrap()),
            1 => bytes.extend(std::iter::repeat_n(random.pick(b"[{x\"\\ "), random.below(300))),
            _ => bytes.extend_from_slice(random.pick(&WORDS)),
        }
    }
    bytes
}

fn edit(rows: &mut Rows, random: &mut Random) {
    const PATHS: [&str; 7] = [".a", ".level", ".level.b[1]", ".message", ".x.y", ".a[-2]", ".\"q\\\"\""];
    for number in 0..rows.len() {
        for _ in 0..random.below(4) {
            let path = Path::parse(random.pick(&PATHS)).unwrap();
            let mut row = rows.row_mut(number);
            let mark = row.mark();
            match random.below(6) {
                0 => drop(row.parse_message()),
                1 => row.set(&path, random.pick(&[&b"1"[..], b"\"v\"", b"{\"k\":[]}", b"[0,null]"])),
                2 => drop(row.remove(&path)),
                3 => row.replace(b"{\"a\":[1],\"level\":\"info\"}"),
                4 => row.index(),
                _ => {
                    row.set(&path, b"0");
                    row.restore(mark);
                }
            }
            let found = rows.row(number).get(&path);
            assert!(found.is_none_or(|text| json::validate(&text).is_ok()));
        }
    }
}

fn check(rows: &Rows) {
    assert_eq!(rows.weight().bytes.get(), rows.iter().map(|row| row.weight()).sum::<u64>());
    let mut out = Vec::new();
    rows.encode(Encoder { codec: Codec::Json, framing: EncodeFraming::JsonArray }, &mut out);
    let model: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(model.as_array().unwrap().len(), rows.len());
    let slices = rows.encode_slices(Encoder::default(), Vec::new());
    let lines = slices.slices().collect::<Vec<_>>().concat();
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), rows.len(), "a line each");
}

#[test]
fn nothing_that_comes_in_breaks_anything() {
    let budget = Budget::new(mib(8));
    let pool = SlabPool::new(budget.account("test", AccountSpec::holding(mib(8))).unwrap(), 512, 4);
    let origin = Origin::new("test", Timestamp::default()).with_field("n", JsonText::number(1));
    let origin = Arc::new(origin.with_host("h"));
    for seed in 1..=4_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let framing = random.pick(&[Framing::NewlineDelimited, Framing::CharacterDelimited(b'}'), Framing::Bytes]);
        let mut framer = Framer::new(framing, 1 + random.below(400));
        let mut rows = Rows::default();
        for _ in 0..3 {
            let bytes = garbage(&mut random);
            let mut buffer = pool.try_slab(bytes.len()).unwrap();
            buffer.put(&bytes);
            framer.finish(&buffer.freeze(), &origin, &mut rows);
        }
        let count = rows.len();
        edit(&mut rows, &mut random);
        check(&rows);
        let sibling = (random.below(2) == 0).then(|| rows.share());
        let rest = rows.split_off(Records::from(random.below(count + 1)));
        edit(&mut rows, &mut random);
        assert!(rows.append(rest).is_ok());
        assert_eq!(rows.len(), count);
        edit(&mut rows, &mut random);
        rows.compact();
        check(&rows);
        if let Some(sibling) = sibling {
            check(&sibling);
        }
        drop(rows);
    }
    pool.trim();
    assert!(pool.account().used().is_zero(), "every slab came back");
}

#[test]
fn no_compressed_garbage_breaks_anything() {
    let limits = Limits { bytes: 100_000, ratio: 100 };
    for seed in 1..=3_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let compression = random.pick(&[Compression::Gzip, Compression::Zlib, Compression::Zstd]);
        let text = garbage(&mut random);
        let mut bytes = if random.below(4) == 0 { text } else { compress(compression, &text).unwrap() };
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        if let Ok(out) = decompress(compression, &bytes, limits) {
            assert!(out.len() <= limits.bytes);
        }
    }
}
