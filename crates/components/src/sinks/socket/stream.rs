//! [`StreamSink`]: writes records to a connection, and connects again when it breaks.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_flow::{Meta, Nack};
use tidegate_record::Row;
use tidegate_record::codec::{Codec, Encoder};
use tidegate_runtime::{Accepted, Sink, SinkContext};

use super::BATCH;
use super::target::{Stream, Target};
use crate::Rows;
use crate::sinks::desk::Desk;

/// The most slices that are given to one write; the kernel takes no more than 1024.
const SLICES: usize = 512;

pub(super) struct StreamSink {
    target: Target,
    encoder: Encoder,
    connect_timeout: Duration,
    stream: Option<Stream>,
    /// For records that must be put together.
    desk: Desk,
}

impl StreamSink {
    pub(super) fn new(target: Target, encoder: Encoder, connect_timeout: Duration) -> Self {
        Self { target, encoder, connect_timeout, stream: None, desk: Desk::new(BATCH.bytes) }
    }

    /// The connection, made anew where there is none or the peer has closed it.
    async fn connect(&mut self) -> Result<Stream, Nack> {
        if let Some(stream) = self.stream.take().filter(|stream| !stream.is_closed_by_peer()) {
            return Ok(stream);
        }
        let connected = tokio::time::timeout(self.connect_timeout, self.target.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error| Nack::transient(format!("cannot connect to {}: {error}", self.target)))
    }
}

impl Sink<Rows> for StreamSink {
    fn open(&mut self, cx: SinkContext) {
        self.desk.open(cx);
    }

    fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.desk.poll_memory(task)
    }

    async fn deliver(&mut self, payload: &mut Rows, _meta: &Meta) -> Result<Accepted, Nack> {
        let mut stream = self.connect().await?;
        let mut sheet = self.desk.take(payload.encoded_most(self.encoder), 0, payload.len())?;
        let encoded = payload.encode_slices(self.encoder, std::mem::take(&mut sheet.buffer));
        let mut written = 0;
        let outcome = write_all(&mut stream, &mut encoded.io_slices(), &mut written).await;
        sheet.buffer = encoded.take_buffer();
        self.desk.put_back(sheet);
        match outcome {
            Ok(()) => {
                self.stream = Some(stream);
                Ok(Accepted::All)
            }
            Err(error) => {
                let nack = Nack::transient(format!("the connection to {} broke: {error}", self.target));
                let whole = rows_within(payload, self.encoder, written);
                if whole == 0 {
                    return Err(nack);
                }
                let rest = (whole..payload.len()).map(|row| (u32::try_from(row).unwrap_or(u32::MAX), nack.clone()));
                Ok(Accepted::all_but(rest.collect()))
            }
        }
    }
}

/// Writes everything; `written` is how far it came.
async fn write_all(stream: &mut Stream, slices: &mut [IoSlice<'_>], written: &mut usize) -> io::Result<()> {
    let mut left = slices;
    while !left.is_empty() {
        let some = stream.write(&left[..left.len().min(SLICES)]).await?;
        if some == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *written += some;
        IoSlice::advance_slices(&mut left, some);
    }
    Ok(())
}

/// How many rows lie whole within the first `bytes` of what they are written as.
fn rows_within(rows: &Rows, encoder: Encoder, bytes: usize) -> usize {
    let mut end = 0;
    let fits = |row: &Row<'_>| {
        let mut text = Vec::new();
        match encoder.codec {
            Codec::Json => row.write_json(&mut text),
            Codec::Text => row.write_text(&mut text),
        }
        end += text.len() + encoder.framing_bytes(text.len());
        end <= bytes
    };
    rows.iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use tidegate_record::codec::EncodeFraming;

    use super::*;

    #[test]
    fn a_row_counts_as_written_with_its_newline() {
        let rows = Rows::from_texts(["ab", "", "cde"]);
        let text = Encoder { codec: Codec::Text, framing: EncodeFraming::NewlineDelimited };
        let counts: Vec<usize> = (0..=8).map(|bytes| rows_within(&rows, text, bytes)).collect();
        assert_eq!(counts, [0, 0, 0, 1, 2, 2, 2, 2, 3]);
        let mut whole = Vec::new();
        rows.encode(Encoder::default(), &mut whole);
        assert_eq!(rows_within(&rows, Encoder::default(), whole.len()), 3);
        assert_eq!(rows_within(&rows, Encoder::default(), whole.len() - 1), 2);
    }
}
