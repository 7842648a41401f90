//! [`Target`]: where a socket leads, and how it is opened.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::{TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host};

use crate::contract::StartError;

/// Where a socket leads.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Address { host_port: String, send_buffer: Option<u32> },
    Unix(PathBuf),
}

/// A connection that carries a stream of bytes.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket that carries packets to one peer.
pub(super) enum Packets {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Target {
    /// An address as `host:port`, with the size of the send buffer where it is bounded.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn address(text: &str, send_buffer: Option<u64>) -> Result<Self, StartError> {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(1..)) => {
                let send_buffer = send_buffer.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
                Ok(Self::Address { host_port: text.to_owned(), send_buffer })
            }
            _ => Err(StartError::new(format!("\"{text}\" is no address"))
                .help("write `host:port`, such as \"127.0.0.1:9000\"")),
        }
    }

    pub(super) const fn unix(path: PathBuf) -> Self {
        Self::Unix(path)
    }

    /// Connects. Names are looked up each time, and their addresses tried in turn.
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            Self::Address { host_port, send_buffer } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in lookup_host(host_port).await? {
                    match connect_tcp(address, *send_buffer).await {
                        Ok(stream) => return Ok(Stream::Tcp(stream)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// Opens a socket for packets to this target.
    pub(super) async fn open(&self) -> io::Result<Packets> {
        match self {
            Self::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Packets::Unix(socket))
            }
            Self::Address { host_port, .. } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in lookup_host(host_port).await? {
                    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
                    let socket = UdpSocket::bind(any).await?;
                    match socket.connect(address).await {
                        Ok(()) => return Ok(Packets::Udp(socket)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

async fn connect_tcp(address: SocketAddr, send_buffer: Option<u32>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    bound_unsent(&stream)?;
    Ok(stream)
}

/// The most bytes that the kernel holds and has not sent. A peer far away has as much under way as its window and the send
/// buffer allow; what a slow one does not take yet would only grow old there (`TCP_NOTSENT_LOWAT`, `tcp(7)`).
const UNSENT_BYTES: u32 = 64 << 10;

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_unsent(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES)
}

/// Elsewhere the send buffer is the bound.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_unsent(_stream: &TcpStream) -> io::Result<()> {
    let _ = UNSENT_BYTES;
    Ok(())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { host_port, .. } => f.write_str(host_port),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Stream {
    /// Writes some of the slices; says how many bytes.
    pub(super) async fn write(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let written = match self {
                Self::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write_vectored(slices)
                }
                Self::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_write_vectored(slices)
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// Whether the peer has closed its side. What it sent is read and dropped; costs no call to the kernel where nothing
    /// came.
    pub(super) fn is_closed_by_peer(&self) -> bool {
        let mut scrap = [0; 512];
        // Bounded: a peer that sends without end is looked at again with the next batch.
        for _ in 0..64 {
            let read = match self {
                Self::Tcp(stream) => stream.try_read(&mut scrap),
                Self::Unix(stream) => stream.try_read(&mut scrap),
            };
            match read {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl Packets {
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.send(packet).await,
            Self::Unix(socket) => socket.send(packet).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_kernel_holds_is_bounded_sent_or_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::address(&listener.local_addr().unwrap().to_string(), Some(128 << 10)).unwrap();
        let Stream::Tcp(stream) = target.connect().await.unwrap() else { panic!("an address is reached over TCP") };
        let socket = socket2::SockRef::from(&stream);
        // Linux books twice what it is asked for.
        assert!((128 << 10..=256 << 10).contains(&socket.send_buffer_size().unwrap()));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
    }
}
