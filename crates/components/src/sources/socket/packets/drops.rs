//! [`Drops`]: what the kernel dropped of a UDP socket's packets, as `/proc/net/udp` counts it.

use std::fs;
use std::os::fd::{AsRawFd as _, RawFd};

use super::super::listener::PacketSocket;
use crate::contract::Counter;

/// The drops of one socket. Unknown where the system does not say.
pub(super) struct Drops {
    /// The number by which the kernel's table knows the socket.
    inode: Option<u64>,
    counted: u64,
    counter: Counter,
}

const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

impl Drops {
    pub(super) fn of(socket: &PacketSocket, counter: Counter) -> Self {
        let inode = match socket {
            PacketSocket::Udp(socket) => inode_of(socket.as_raw_fd()),
            // A sender waits, or is told.
            PacketSocket::Unix(..) => None,
        };
        Self { inode, counted: 0, counter }
    }

    /// Counts what was dropped since the last time.
    pub(super) fn ask(&mut self) {
        let Some(inode) = self.inode else { return };
        let tables = TABLES.iter().filter_map(|table| fs::read_to_string(table).ok());
        if let Some(drops) = tables.filter_map(|table| drops_in(&table, inode)).next() {
            self.counter.add(drops.saturating_sub(self.counted));
            self.counted = drops;
        }
    }
}

/// `socket:[12345]` is what the link says.
fn inode_of(fd: RawFd) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The last column of the line with this inode (the tenth).
fn drops_in(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_ours = columns.get(9)?.parse() == Ok(inode);
        is_ours.then(|| columns.last()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_socket_is_found_by_its_inode() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 1234: 0100007F:2328 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 42
 1235: 0100007F:2329 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
";
        assert_eq!((drops_in(table, 4711), drops_in(table, 4712), drops_in(table, 1)), (Some(42), Some(0), None));
    }
}
