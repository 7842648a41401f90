//! Peers that are slow, silent, half there, endless or wrong.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// How many bytes the long line has.
pub(crate) const LONG: usize = 100 << 20;

/// Writes a line of 100 MiB between two short ones.
pub(crate) fn write_long_line(mut to: impl std::io::Write) {
    let block = vec![b'x'; 1 << 20];
    to.write_all(b"before\n").unwrap();
    (0..LONG / block.len()).for_each(|_| to.write_all(&block).unwrap());
    to.write_all(b"\nafter\n").unwrap();
}

/// Bytes that are the same each time, and nothing (xorshift64*, Vigna 2016).
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()[7]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Sends a request, and gives the status of the answer.
pub(crate) fn post(to: SocketAddr, headers: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(to).unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // It may have refused it by the head alone.
    drop(stream.write_all(body));
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..]).parse().unwrap()
}

/// Connections, each of which has sent this and no more.
pub(crate) fn silent(to: SocketAddr, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let connect = || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    (0..count).map(|_| connect()).collect()
}

/// A gzip that says 258 zeros in every 13 bits (RFC 1951, fixed codes): so many bytes become 158 times as many.
pub(crate) fn bomb(bytes: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut filled) = (0_u64, 0);
    let mut put = |value: u64, count: u32, out: &mut Vec<u8>| {
        bits |= value << filled;
        filled += count;
        while filled >= 8 {
            out.push((bits & 255) as u8);
            bits >>= 8;
            filled -= 8;
        }
    };
    // The last block, of fixed codes; a zero byte (00110000); then matches of length 258 (11000101), distance 1 (00000).
    // Codes stand with their first bit lowest.
    put(0b011, 3, &mut out);
    put(0b0000_1100, 8, &mut out);
    while out.len() < bytes {
        put(0b0_0000_1010_0011, 13, &mut out);
    }
    out
}
