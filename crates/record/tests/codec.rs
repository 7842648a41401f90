//! What is written: the envelope as Vector writes it, every framing, compression, and limits on the way in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::sync::Arc;

use tidegate_flow::Slab;
use tidegate_record::codec::compress::{Compression, Compressor, DecompressError, Limits, compress, decompress};
use tidegate_record::codec::{Codec, EncodeFraming, Encoder};
use tidegate_record::{Form, JsonText, Origin, Path, Rows, Timestamp};

fn origin() -> Arc<Origin> {
    let received = Timestamp::from_unix_nanos(1_795_266_000_123_456_789);
    let origin =
        Origin::new("file", received).with_host("web-07").with_field("file", JsonText::string("/var/log/a\"b.log"));
    Arc::new(origin.with_field("port", JsonText::number(514)))
}

fn messages(texts: &[&[u8]]) -> Rows {
    let mut rows = Rows::default();
    texts.iter().for_each(|text| rows.push_copy(text, Form::Message, &origin()));
    rows
}

fn encode(rows: &Rows, codec: Codec, framing: EncodeFraming) -> String {
    let mut out = Vec::new();
    rows.encode(Encoder { codec, framing }, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_message_is_written_with_its_envelope_in_the_order_of_names() {
    let rows = messages(&[b"plain", b"say \"hi\"\t\xFF", b""]);
    let wrap = |message: &str| {
        format!(
            "{{\"file\":\"/var/log/a\\\"b.log\",\"host\":\"web-07\",\"message\":{message},\"port\":514,\
             \"source_type\":\"file\",\"timestamp\":\"2026-11-21T13:00:00.123456789Z\"}}"
        )
    };
    let lines = [wrap("\"plain\""), wrap("\"say \\\"hi\\\"\\t\u{FFFD}\""), wrap("\"\"")];
    assert_eq!(encode(&rows, Codec::Json, EncodeFraming::NewlineDelimited), lines.join("\n") + "\n");
    assert_eq!(encode(&rows, Codec::Json, EncodeFraming::JsonArray), format!("[{}]", lines.join(",")));
    for (row, line) in rows.iter().zip(&lines) {
        let mut out = Vec::new();
        row.write_json(&mut out);
        assert_eq!(&String::from_utf8(out).unwrap(), line);
    }
    let mut text = Vec::new();
    rows.encode(Encoder { codec: Codec::Text, framing: EncodeFraming::NewlineDelimited }, &mut text);
    assert_eq!(text, b"plain\nsay \"hi\"\t\xFF\n\n", "text keeps the bytes as they came");
}

#[test]
fn every_framing_is_written_as_it_is_called() {
    let mut rows = messages(&[b"a", b"{\"n\":1}", b"c"]);
    rows.row_mut(1).parse_message().unwrap();
    rows.row_mut(1).set(&Path::field("message"), b"\"b\\n\"");
    for (framing, expected) in [
        (EncodeFraming::NewlineDelimited, "a\nb\n\nc\n"),
        (EncodeFraming::CharacterDelimited(b';'), "a;b\n;c;"),
        (EncodeFraming::Bytes, "ab\nc"),
    ] {
        assert_eq!(encode(&rows, Codec::Text, framing), expected);
    }
    let none = Rows::default();
    assert_eq!(encode(&none, Codec::Json, EncodeFraming::JsonArray), "[]");
    assert_eq!(encode(&none, Codec::Json, EncodeFraming::NewlineDelimited), "");
}

#[test]
fn an_object_of_many_lines_goes_out_as_one() {
    let mut rows = Rows::default();
    let pretty = "{\n  \"a\": \"x\\ny\",\r\n  \"b\": [\n]\n}";
    rows.push_copy(pretty.as_bytes(), Form::Object, &origin());
    rows.push_copy(pretty.as_bytes(), Form::Message, &origin());
    rows.row_mut(1).parse_message().unwrap();
    rows.push_copy(b"{}", Form::Object, &origin());
    rows.row_mut(2).set(&Path::field("c"), b"{\n}");
    rows.push_copy(b"{}", Form::Object, &origin());
    rows.row_mut(3).replace(b"{\n}");
    let flat = pretty.replace('\n', " ");
    let lines = format!("{flat}\n{flat}\n{{\"c\":{{ }}}}\n{{ }}\n");
    assert_eq!(encode(&rows, Codec::Json, EncodeFraming::NewlineDelimited), lines);
}

#[test]
fn a_last_row_without_a_newline_gets_one() {
    let mut rows = Rows::default();
    rows.push_message(Slab::default(), &origin());
    assert_eq!(encode(&rows, Codec::Text, EncodeFraming::NewlineDelimited), "\n");
    let rows = messages(&[b"last"]);
    let sliced = rows.encode_slices(Encoder { codec: Codec::Text, ..Encoder::default() }, b"old".to_vec());
    assert_eq!(sliced.slices().collect::<Vec<_>>().concat(), b"last\n");
    assert_eq!(sliced.bytes(), 5);
}

const ALL: [Compression; 4] = [Compression::None, Compression::Gzip, Compression::Zlib, Compression::Zstd];

#[test]
fn what_is_compressed_comes_back() {
    let text = "{\"level\":\"info\",\"message\":\"request served\"}\n".repeat(3_000);
    for compression in ALL {
        let mut stream = Compressor::new(compression, b"old".to_vec()).unwrap();
        let mut sent = Vec::new();
        for chunk in text.as_bytes().chunks(777) {
            stream.write(chunk).unwrap();
            sent.append(stream.output());
        }
        stream.flush().unwrap();
        sent.append(stream.output());
        sent.extend(stream.finish().unwrap());
        assert!(compression == Compression::None || sent.len() < text.len() / 10, "{compression:?}: {}", sent.len());
        assert_eq!(decompress(compression, &sent, Limits::default()).unwrap(), text.as_bytes());
        let name = compression.content_encoding().unwrap_or("identity");
        assert_eq!(Compression::from_content_encoding(name), Some(compression));
    }
    assert_eq!(Compression::from_content_encoding("br"), None);
}

#[test]
fn a_flushed_stream_can_be_read_so_far() {
    let mut stream = Compressor::new(Compression::Gzip, Vec::new()).unwrap();
    stream.write(b"first").unwrap();
    stream.flush().unwrap();
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    decoder.write_all(stream.output()).unwrap();
    decoder.flush().unwrap();
    assert_eq!(decoder.get_ref(), b"first");
}

#[test]
fn broken_input_is_an_error_at_every_cut() {
    let text = "some text that is compressed, ".repeat(20);
    for compression in [Compression::Gzip, Compression::Zlib, Compression::Zstd] {
        let whole = compress(compression, text.as_bytes()).unwrap();
        for end in 1..whole.len() {
            let cut = decompress(compression, &whole[..end], Limits::default());
            assert!(matches!(cut, Err(DecompressError::Broken(_))), "{compression:?} cut at {end}: {cut:?}");
        }
        let mut flipped = whole.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 0xFF;
        if compression != Compression::Zstd {
            assert!(matches!(decompress(compression, &flipped, Limits::default()), Err(DecompressError::Broken(_))));
        }
        assert!(decompress(compression, b"no such format", Limits::default()).is_err());
        let twice = [whole.clone(), whole].concat();
        if compression != Compression::Zlib {
            assert_eq!(decompress(compression, &twice, Limits::default()).unwrap().len(), 2 * text.len());
        }
    }
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let zeros = vec![0; 4 << 20];
    for compression in [Compression::Gzip, Compression::Zlib, Compression::Zstd] {
        let bomb = compress(compression, &zeros).unwrap();
        let dense = decompress(compression, &bomb, Limits { bytes: usize::MAX, ratio: 20 });
        assert_eq!(dense, Err(DecompressError::TooDense(20)), "{compression:?} of {}", bomb.len());
        let large = decompress(compression, &bomb, Limits { bytes: 1 << 20, ratio: usize::MAX });
        assert_eq!(large, Err(DecompressError::TooLarge(1 << 20)));
        let exact = decompress(compression, &bomb, Limits { bytes: zeros.len(), ratio: usize::MAX });
        assert_eq!(exact.map(|out| out.len()), Ok(zeros.len()));
    }
    assert_eq!(decompress(Compression::None, b"abc", Limits { bytes: 2, ratio: 1 }), Err(DecompressError::TooLarge(2)));
}
