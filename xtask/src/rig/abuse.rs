//! Peers as nobody wants them: slow, silent, half there, endless or wrong. What became of each is for the other side to
//! tell; here is said how many it still listens to.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Options, io, pause};
use crate::shell::Fail;

/// A request that announces a body of 8 MiB.
const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n";

/// `abuse --kind KIND --to ADDRESS [--count N] [--seconds S]`, where KIND is one of
///
/// * `idle`: connections that send nothing
/// * `half-open`: the head of a request, without its end
/// * `slow`: a byte a second on each connection: of a line, or with `--http 1` of the body of a request
/// * `garbage`: bytes that mean nothing, as fast as they are taken
/// * `long-line`: one line without an end
/// * `deep`: a line of a million brackets, and its end
/// * `gzip`: requests with what is no gzip, over and over
pub(super) fn run(options: &Options) -> Result<(), Fail> {
    let (kind, to) = (options.text("kind")?, options.text("to")?);
    let seconds = Duration::from_secs(options.number("seconds", 10)?);
    let count = options.number("count", 1)?;
    let is_http = options.number("http", 0)? > 0;
    let first: &[u8] = match kind {
        "half-open" => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le",
        "slow" if is_http => HEAD,
        "idle" | "slow" | "garbage" | "long-line" | "deep" | "gzip" => b"",
        other => return Err(Fail::usage(format!("`{other}` is no kind of abuse"))),
    };
    let mut peers = Vec::new();
    for _ in 0..count {
        let mut peer = TcpStream::connect(to).map_err(|error| io(to, &error))?;
        peer.set_nonblocking(true).map_err(|error| io(to, &error))?;
        drop(peer.write(first));
        peers.push(peer);
    }
    let opened = peers.len();
    let begun = Instant::now();
    let mut sent = 0_u64;
    while begun.elapsed() < seconds && !peers.is_empty() {
        peers.retain_mut(|peer| go_on(kind, peer, &mut sent));
        pause(Duration::from_millis(if matches!(kind, "idle" | "half-open" | "slow") { 1_000 } else { 1 }));
    }
    println!("{{\"kind\":\"{kind}\",\"opened\":{opened},\"open\":{},\"sent_bytes\":{sent}}}", peers.len());
    Ok(())
}

/// Sends what is next; whether the other side still listens.
fn go_on(kind: &str, peer: &mut TcpStream, sent: &mut u64) -> bool {
    let next: &[u8] = match kind {
        "slow" => b"x",
        "long-line" => &[b'x'; 1 << 16],
        "deep" => &[b'['; 1 << 16],
        "garbage" => &noise(*sent),
        "gzip" => {
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n\x1f\x8b\x08 no gzip!"
        }
        _ => b"",
    };
    if !next.is_empty() {
        match peer.write(next) {
            Ok(count) => *sent += count as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    // Answers are read and forgotten.
    match peer.read(&mut [0; 4096]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// 64 KiB that are others for each seed (xorshift64*, Vigna 2016).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()[7]
    };
    (0..1 << 16).map(|_| next()).collect()
}
