//! [`PacketSink`]: sends each record as one packet.

use std::io;
use std::task::{Context, Poll};

use tidegate_flow::{Meta, Nack};
use tidegate_record::codec::Codec;
use tidegate_runtime::{Accepted, Sink, SinkContext};

use super::PACKET;
use super::target::{Packets, Target};
use crate::Rows;
use crate::sinks::desk::Desk;

pub(super) struct PacketSink {
    target: Target,
    codec: Codec,
    socket: Option<Packets>,
    /// For the record at hand.
    desk: Desk,
}

impl PacketSink {
    pub(super) fn new(target: Target, codec: Codec) -> Self {
        Self { target, codec, socket: None, desk: Desk::new(PACKET) }
    }

    async fn connect(&mut self) -> Result<Packets, Nack> {
        match self.socket.take() {
            Some(socket) => Ok(socket),
            None => {
                let opened = self.target.open().await;
                opened.map_err(|error| Nack::transient(format!("cannot send to {}: {error}", self.target)))
            }
        }
    }
}

impl Sink<Rows> for PacketSink {
    fn open(&mut self, cx: SinkContext) {
        self.desk.open(cx);
    }

    fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_memory(task)
    }

    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let socket = self.connect().await?;
        let longest = payload.iter().map(|row| row.encoded_most(self.codec)).max().unwrap_or(0);
        let mut sheet = self.desk.take(longest, 0, payload.len())?;
        let mut refused = Vec::new();
        for (row, number) in payload.iter().zip(0_u32..) {
            sheet.buffer.clear();
            match self.codec {
                Codec::Json => row.write_json(&mut sheet.buffer),
                Codec::Text => row.write_text(&mut sheet.buffer),
            }
            let Err(error) = socket.send(&sheet.buffer).await else { continue };
            if is_too_long(&error) {
                let length = sheet.buffer.len();
                let cause = format!("a record of {length} bytes does not fit into a packet to {}", self.target);
                refused.push((number, Nack::permanent(cause)));
                continue;
            }
            // Nobody is there, or the buffer of a unix socket is full: the rest waits, and a new socket is opened.
            let nack = Nack::transient(format!("cannot send to {}: {error}", self.target));
            let rest = number..u32::try_from(payload.len()).unwrap_or(u32::MAX);
            refused.extend(rest.map(|row| (row, nack.clone())));
            self.desk.put_back(sheet);
            return Ok(Accepted::all_but(refused));
        }
        self.desk.put_back(sheet);
        self.socket = Some(socket);
        Ok(Accepted::all_but(refused))
    }
}

/// Whether the packet was longer than any may be (`EMSGSIZE`, which the standard library has no kind for everywhere).
fn is_too_long(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = 90;
    error.raw_os_error() == Some(EMSGSIZE)
}
