//! [`PacketSink`]: sends each record as one packet.

use std::io;

use tidegate_flow::{Meta, Nack};
use tidegate_record::codec::Codec;
use tidegate_runtime::{Accepted, Sink};

use super::target::{Packets, Target};
use crate::Rows;

pub(super) struct PacketSink {
    target: Target,
    codec: Codec,
    socket: Option<Packets>,
    buffer: Vec<u8>,
}

impl PacketSink {
    pub(super) const fn new(target: Target, codec: Codec) -> Self {
        Self { target, codec, socket: None, buffer: Vec::new() }
    }

    async fn open(&mut self) -> Result<Packets, Nack> {
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
    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let socket = self.open().await?;
        let mut refused = Vec::new();
        for (row, number) in payload.iter().zip(0_u32..) {
            self.buffer.clear();
            match self.codec {
                Codec::Json => row.write_json(&mut self.buffer),
                Codec::Text => row.write_text(&mut self.buffer),
            }
            let Err(error) = socket.send(&self.buffer).await else { continue };
            if is_too_long(&error) {
                let length = self.buffer.len();
                let cause = format!("a record of {length} bytes does not fit into a packet to {}", self.target);
                refused.push((number, Nack::permanent(cause)));
                continue;
            }
            // Nobody is there, or the buffer of a unix socket is full: the rest waits, and a new socket is opened.
            let nack = Nack::transient(format!("cannot send to {}: {error}", self.target));
            let rest = number..u32::try_from(payload.len()).unwrap_or(u32::MAX);
            refused.extend(rest.map(|row| (row, nack.clone())));
            return Ok(Accepted::all_but(refused));
        }
        self.socket = Some(socket);
        Ok(Accepted::all_but(refused))
    }
}

/// Whether the packet was longer than any may be (`EMSGSIZE`, which the standard library has no kind for everywhere).
fn is_too_long(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = 90;
    error.raw_os_error() == Some(EMSGSIZE)
}
