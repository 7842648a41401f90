//! `xtask rig`: the peers of a benchmark, as processes of their own: who sends, who receives and counts, and the floor.
//!
//! They use the standard library and blocking threads alone, so that they are cheap, and share no code with what they
//! measure. Every record carries a number; the receiver counts each number, so that loss and duplicates are per record.

mod abuse;
mod http;
mod pass;
mod receive;
mod record;
mod send;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::shell::Fail;

pub(crate) use record::RECORD_BYTES;

/// Runs the named part with `--key value` options.
pub(crate) fn run(args: &[String]) -> Result<(), Fail> {
    let Some((part, rest)) = args.split_first() else { return Err(usage()) };
    let options = Options::parse(rest)?;
    match part.as_str() {
        "send" => send::run(&options),
        "generate" => send::generate(&options),
        "receive" => receive::run(&options),
        "count" => receive::count(&options),
        "pass" => pass::run(&options),
        "copy" => pass::copy(&options),
        "abuse" => abuse::run(&options),
        "send-http" => http::send(&options),
        "receive-http" => http::receive(&options),
        _ => Err(usage()),
    }
}

fn usage() -> Fail {
    Fail::usage("rig needs one of: send, generate, receive, count, pass, copy, abuse, send-http, receive-http")
}

/// `--key value` pairs.
struct Options(HashMap<String, String>);

impl Options {
    fn parse(args: &[String]) -> Result<Self, Fail> {
        let mut options = HashMap::new();
        let mut args = args.iter();
        while let Some(key) = args.next() {
            let name = key.strip_prefix("--").ok_or_else(|| Fail::usage(format!("`{key}` is no option")))?;
            let value = args.next().ok_or_else(|| Fail::usage(format!("`{key}` needs a value")))?;
            options.insert(name.to_owned(), value.clone());
        }
        Ok(Self(options))
    }

    fn text(&self, name: &str) -> Result<&str, Fail> {
        self.0.get(name).map(String::as_str).ok_or_else(|| Fail::usage(format!("--{name} is missing")))
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, Fail> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Fail::usage(format!("--{name} `{text}` is no number"))),
        }
    }
}

/// The size of a kernel buffer of a socket, where one was asked for: half of what the kernel takes on its books, as
/// everywhere with Linux. Without, the kernel decides, which grows its buffers to megabytes.
fn kernel_buffers(stream: &TcpStream, options: &Options) -> Result<(), Fail> {
    let socket = socket2::SockRef::from(stream);
    if let Ok(size @ 1..) = usize::try_from(options.number("send-buffer", 0)?) {
        socket.set_send_buffer_size(size).map_err(|error| io("--send-buffer", &error))?;
    }
    Ok(())
}

/// Listens on `--listen`, with a receive buffer of `--receive-buffer` bytes where one was asked for, and prints the
/// address. A peer that was killed may listen on its old address at once.
fn listen(options: &Options) -> Result<TcpListener, Fail> {
    let text = options.text("listen")?;
    let address: SocketAddr = text.parse().map_err(|error| Fail::usage(format!("--listen {text}: {error}")))?;
    let open = |size: usize| {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if size > 0 {
            // Inherited by the connections that are accepted.
            socket.set_recv_buffer_size(size)?;
        }
        socket.bind(&address.into())?;
        socket.listen(128)?;
        Ok(TcpListener::from(socket))
    };
    let size = usize::try_from(options.number("receive-buffer", 0)?).unwrap_or(0);
    let listener = open(size).map_err(|error: std::io::Error| io(text, &error))?;
    println!("{}", listener.local_addr().map_err(|error| io(text, &error))?);
    Ok(listener)
}

fn io(what: &str, error: &std::io::Error) -> Fail {
    Fail::red(format!("{what}: {error}"))
}

/// Microseconds since 1970, which sender and receiver on one machine share.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Waits, because the part plays a peer that is slow.
#[allow(clippy::disallowed_methods, reason = "a peer that is slow on purpose, in a process of its own")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
