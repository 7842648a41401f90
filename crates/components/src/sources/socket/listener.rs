//! [`Listener`]: the sockets that a source listens on, opened as its configuration says.

use std::fs;
use std::io;
use std::net::{self, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};

use super::{Mode, Socket};
use crate::contract::StartError;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a source listens on.
pub(super) enum Listener {
    Stream(StreamListener),
    Packets(PacketSocket),
}

/// Where connections come from.
pub(super) enum StreamListener {
    Tcp(TcpListener, Option<TcpKeepalive>),
    Unix(UnixListener, #[allow(dead_code, reason = "removes the file when it is dropped")] Placed, usize),
}

/// One connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Where packets come from.
pub(super) enum PacketSocket {
    Udp(UdpSocket),
    Unix(UnixDatagram, #[allow(dead_code, reason = "removes the file when it is dropped")] Placed),
}

/// Who sent something.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer(pub(super) Option<SocketAddr>);

/// The file of a unix socket, removed with it.
pub(super) struct Placed(PathBuf);

impl Drop for Placed {
    fn drop(&mut self) {
        // It may be gone already; nobody is left to be told otherwise.
        drop(fs::remove_file(&self.0));
    }
}

impl Listener {
    /// Opens what the configuration says, and gives the address as the system has it.
    pub(super) fn open(config: &Socket) -> Result<(Self, Option<SocketAddr>), StartError> {
        match (config.mode, config.address, &config.path) {
            (Mode::Tcp, Some(address), _) => open_tcp(config, address).map_err(|error| taken(&address, &error)),
            (Mode::Udp, Some(address), _) => open_udp(config, address).map_err(|error| taken(&address, &error)),
            (Mode::UnixStream | Mode::UnixPackets, _, Some(path)) => {
                clear(path)?;
                open_unix(config, path).map_err(|error| unplaced(path, &error))
            }
            _ => Err(StartError::new(format!("mode `{}` needs an address or a path", config.mode.name()))),
        }
    }
}

fn open_tcp(config: &Socket, address: SocketAddr) -> io::Result<(Listener, Option<SocketAddr>)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Inherited by the connections that are accepted.
    socket.set_recv_buffer_size(u32::try_from(config.receive_buffer()).unwrap_or(u32::MAX))?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    let time = config.keepalive.time_secs.get();
    let keepalive = (!time.is_zero()).then(|| TcpKeepalive::new().with_time(time));
    Ok((Listener::Stream(StreamListener::Tcp(listener, keepalive)), Some(address)))
}

fn open_udp(config: &Socket, address: SocketAddr) -> io::Result<(Listener, Option<SocketAddr>)> {
    let socket = net::UdpSocket::bind(address)?;
    SockRef::from(&socket).set_recv_buffer_size(config.receive_buffer())?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((Listener::Packets(PacketSocket::Udp(UdpSocket::from_std(socket)?)), Some(address)))
}

fn open_unix(config: &Socket, path: &Path) -> io::Result<(Listener, Option<SocketAddr>)> {
    let placed = || Placed(path.to_owned());
    let listener = if config.mode == Mode::UnixStream {
        Listener::Stream(StreamListener::Unix(UnixListener::bind(path)?, placed(), config.receive_buffer()))
    } else {
        let socket = UnixDatagram::bind(path)?;
        let placed = placed();
        SockRef::from(&socket).set_recv_buffer_size(config.receive_buffer())?;
        Listener::Packets(PacketSocket::Unix(socket, placed))
    };
    Ok((listener, None))
}

/// Removes the file of a socket that nobody listens on any more.
fn clear(path: &Path) -> Result<(), StartError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let shown = path.display();
    if !metadata.file_type().is_socket() {
        return Err(StartError::new(format!("{shown} is there already, and is no socket")).help("choose another path"));
    }
    if is_served(path) {
        return Err(
            StartError::new(format!("another process listens on {shown}")).help("stop it, or choose another path")
        );
    }
    fs::remove_file(path).map_err(|error| unplaced(path, &error))
}

fn is_served(path: &Path) -> bool {
    unix::UnixStream::connect(path).is_ok()
        || unix::UnixDatagram::unbound().is_ok_and(|socket| socket.connect(path).is_ok())
}

/// Whether it could be opened; nothing stays open.
pub(super) fn probe(config: &Socket) -> Result<(), StartError> {
    match (config.mode, config.address, &config.path) {
        (Mode::Tcp, Some(address), _) => {
            net::TcpListener::bind(address).map(drop).map_err(|error| taken(&address, &error))
        }
        (Mode::Udp, Some(address), _) => {
            net::UdpSocket::bind(address).map(drop).map_err(|error| taken(&address, &error))
        }
        (Mode::UnixStream | Mode::UnixPackets, _, Some(path)) => probe_path(path),
        // Reported as missing.
        _ => Ok(()),
    }
}

fn probe_path(path: &Path) -> Result<(), StartError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        let text = format!("there is no folder {}", parent.display());
        return Err(StartError::new(text).help("create it, or choose another path"));
    }
    if path.exists() && is_served(path) {
        return Err(StartError::new(format!("another process listens on {}", path.display()))
            .help("stop it, or choose another path"));
    }
    Ok(())
}

fn taken(address: &SocketAddr, error: &io::Error) -> StartError {
    let failed = StartError::new(format!("cannot listen on {address}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => failed.help("stop what listens there, or choose another port"),
        io::ErrorKind::PermissionDenied => failed.help("ports below 1024 need rights; choose a higher one"),
        io::ErrorKind::AddrNotAvailable => {
            failed.help("this machine does not have that address; 0.0.0.0 is all that it has")
        }
        _ => failed,
    }
}

fn unplaced(path: &Path, error: &io::Error) -> StartError {
    StartError::new(format!("cannot listen on {}: {error}", path.display()))
        .help("choose a path in a folder that can be written to")
}

impl StreamListener {
    pub(super) fn poll_accept(&self, task: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match self {
            Self::Tcp(listener, keepalive) => {
                let (stream, address) = ready!(listener.poll_accept(task))?;
                if let Some(keepalive) = keepalive {
                    SockRef::from(&stream).set_tcp_keepalive(keepalive)?;
                }
                Poll::Ready(Ok((Stream::Tcp(stream), Peer(Some(address)))))
            }
            Self::Unix(listener, _, receive_buffer) => {
                let (stream, _) = ready!(listener.poll_accept(task))?;
                SockRef::from(&stream).set_recv_buffer_size(*receive_buffer)?;
                Poll::Ready(Ok((Stream::Unix(stream), Peer(None))))
            }
        }
    }
}

impl Stream {
    pub(super) fn poll_ready(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(task),
            Self::Unix(stream) => stream.poll_read_ready(task),
        }
    }

    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(into),
            Self::Unix(stream) => stream.try_read(into),
        }
    }
}

impl PacketSocket {
    pub(super) fn poll_ready(&self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Udp(socket) => socket.poll_recv_ready(task),
            Self::Unix(socket, _) => socket.poll_recv_ready(task),
        }
    }

    pub(super) fn try_receive(&self, into: &mut [u8]) -> io::Result<(usize, Peer)> {
        match self {
            Self::Udp(socket) => socket.try_recv_from(into).map(|(count, from)| (count, Peer(Some(from)))),
            Self::Unix(socket, _) => socket.try_recv(into).map(|count| (count, Peer(None))),
        }
    }
}
