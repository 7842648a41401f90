//! What a record costs on one core: framing, validating, one lookup, one added field, encoding. In nanoseconds for each
//! record of 256 bytes with 9 keys at the top level, the smallest of several rounds.
//!
//! `cargo run --release -p tidegate-record --example record_cost`

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_flow::{AccountSpec, Budget, Payload, Slab, SlabPool, mib};
use tidegate_record::codec::{Encoder, compress};
use tidegate_record::frame::{DEFAULT_MAX_LENGTH, Framer, Framing};
use tidegate_record::{Origin, Path, Rows, Timestamp, json};

const SLAB: usize = 64 << 10;
const ROUNDS: usize = 40;
const SLABS_A_ROUND: usize = 50;

/// An object of exactly 256 bytes with its newline.
fn record(seq: u64) -> Vec<u8> {
    let level = if seq.is_multiple_of(10) { "debug" } else { "info" };
    let mut text = format!(
        "{{\"seq\":{seq},\"ts\":1795266000123456,\"level\":\"{level}\",\"host\":\"web-07.example.com\",\
         \"service\":\"checkout\",\"status\":200,\"duration_ms\":12.75,\
         \"http\":{{\"method\":\"GET\",\"path\":\"/api/v1/cart/items\",\"bytes\":5120}},\"msg\":\""
    );
    while text.len() < 256 - 3 {
        text.push(if text.len().is_multiple_of(7) { ' ' } else { 'x' });
    }
    text.push_str("\"}\n");
    text.into_bytes()
}

struct Input {
    pool: SlabPool,
    bytes: Vec<u8>,
    records: usize,
}

impl Input {
    fn new() -> Self {
        let budget = Budget::new(mib(64));
        let spec = AccountSpec::holding(mib(16));
        let Ok(account) = budget.account("bench", spec) else { unreachable!("the budget is larger") };
        let mut bytes = Vec::new();
        let mut records = 0;
        while bytes.len() + 256 <= SLAB {
            bytes.extend(record(1_000_000 + records as u64));
            records += 1;
        }
        Self { pool: SlabPool::new(account, SLAB, 16), bytes, records }
    }

    fn slab(&self) -> Slab {
        let Some(mut buffer) = self.pool.try_slab(SLAB) else { unreachable!("one slab at a time") };
        buffer.put(&self.bytes);
        buffer.freeze()
    }

    /// The smallest time of a round for each record, without that of `base`.
    fn measure(&self, name: &str, mut step: impl FnMut(Slab)) {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let mut spent = Duration::ZERO;
            for _ in 0..SLABS_A_ROUND {
                let slab = self.slab();
                let begin = Instant::now();
                step(slab);
                spent += begin.elapsed();
            }
            best = best.min(spent);
        }
        let nanos = best.as_secs_f64() * 1e9 / (SLABS_A_ROUND * self.records) as f64;
        println!("{name:<58} {nanos:>7.1} ns/record {:>6.2} GB/s", 256.0 / nanos);
    }
}

fn main() {
    let input = Input::new();
    let origin = Arc::new(Origin::new("socket", Timestamp::from_unix_nanos(1_795_266_000_000_000_000)));
    let mut framer = Framer::new(Framing::NewlineDelimited, DEFAULT_MAX_LENGTH);
    let mut rows = Rows::default();
    let mut out = Vec::with_capacity(2 * SLAB);
    let (level, pipeline) = (Path::field("level"), Path::field("pipeline"));
    let mut frame = |slab: &Slab, rows: &mut Rows| {
        rows.clear();
        let rest = framer.cut(slab, &origin, rows);
        assert!(rest.is_empty());
    };

    input.measure("frame", |slab| frame(&slab, &mut rows));
    let mut members = Vec::new();
    input.measure("scan alone", |slab| {
        for line in slab.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(black_box(json::scan(line, &mut members)).is_ok());
        }
    });
    input.measure("frame, validate", |slab| {
        frame(&slab, &mut rows);
        for number in 0..rows.len() {
            assert!(rows.row_mut(number).parse_message().is_ok());
        }
    });
    input.measure("frame, validate, encode unchanged (slices)", |slab| {
        frame(&slab, &mut rows);
        for number in 0..rows.len() {
            assert!(rows.row_mut(number).parse_message().is_ok());
        }
        let encoded = rows.encode_slices(Encoder::default(), std::mem::take(&mut out));
        black_box(encoded.bytes());
        out = encoded.take_buffer();
    });
    let mut debug = 0;
    input.measure("frame, validate, look up, set, encode", |slab| {
        frame(&slab, &mut rows);
        for number in 0..rows.len() {
            let mut row = rows.row_mut(number);
            assert!(row.parse_message().is_ok());
            if row.as_row().get(&level).is_some_and(|level| *level == *b"\"debug\"") {
                debug += 1;
            }
            row.set(&pipeline, b"\"edge\"");
        }
        out.clear();
        rows.encode_ndjson(&mut out);
        black_box(&out);
    });
    black_box(debug);
    input.measure("frame, encode as messages in their envelope", |slab| {
        frame(&slab, &mut rows);
        out.clear();
        rows.encode_ndjson(&mut out);
        black_box(&out);
    });
    for compression in [compress::Compression::Gzip, compress::Compression::Zstd] {
        input.measure(&format!("compress with {compression:?}"), |slab| {
            assert!(black_box(compress::compress(compression, &slab)).is_ok());
        });
    }
}
