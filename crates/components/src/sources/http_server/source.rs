//! [`Requests`]: the source that reads what the server takes, and hands each request the watch on its records.

use std::collections::VecDeque;
use std::future::poll_fn;

use tidegate_flow::{Cause, GroupWatch, Weight};
use tidegate_record::{Form, Rows};
use tidegate_runtime::{Companion, Intake, NoCommit, Pull, Readiness, Source, SourceContext};

use super::requests::{Given, Meeting, Parcel, Reply};
use super::serve::Server;
use crate::ids::Counted;
use crate::sources::decode::{Envelope, ROW_BYTES, most_rows};

/// The source at work.
pub(super) struct Requests {
    server: Option<Server>,
    meeting: Meeting,
    given: Option<Given>,
    /// Who gets the next watches: one for each read.
    watching: VecDeque<Reply>,
    envelope: Envelope,
    /// Of records that their senders do not name.
    numbers: Counted,
}

impl Requests {
    pub(super) fn new(server: Server, node: &str) -> Self {
        let (meeting, numbers) = (server.meeting.clone(), Counted::fresh(node));
        let (watching, envelope) = (VecDeque::new(), Envelope::default());
        Self { server: Some(server), meeting, given: None, watching, envelope, numbers }
    }

    /// The records of `parcel` that there is room for.
    fn read_some(&mut self, parcel: &mut Parcel, room: Weight, rows: &mut Rows) {
        let Parcel { body, form, records, ids, origin, .. } = parcel;
        let (most, mut bytes) = (most_rows(room), 0);
        let fitting = records.iter().take(most).take_while(|record| {
            let fits = bytes < room.bytes.get();
            bytes += record.len() as u64 + ROW_BYTES;
            fits
        });
        let count = fitting.count();
        let mut left = count;
        while left > 0
            && let Some((first, next)) = ids.take(u32::try_from(left).unwrap_or(u32::MAX))
        {
            let next = (next as usize).min(left);
            rows.push_ranges_from(first, body, *form, origin, records.drain(..next));
            left -= next;
        }
        if left > 0 {
            rows.push_ranges(body, *form, origin, records.drain(..left));
            self.numbers.number(rows);
        }
        if *form == Form::Object {
            self.envelope.add(rows);
        }
        // Small bodies do not fill their slab; the rows are copied out, and the slab is used again.
        rows.compact();
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.meeting.end();
    }
}

impl Source for Requests {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        self.given = Some(Given { pool: cx.slabs, holding: cx.holding, clock: cx.clock });
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    fn companions(&mut self, closing: &Intake) -> Vec<Companion> {
        match (self.server.take(), &self.given) {
            (Some(server), Some(given)) => server.serve(given, closing),
            _ => Vec::new(),
        }
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        tokio::task::coop::consume_budget().await;
        poll_fn(|task| self.meeting.poll_waiting(task)).await;
        Ok(Readiness::Ready)
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let Some(mut parcel) = self.meeting.take() else { return Ok(Pull { payload: rows, position: None }) };
        self.read_some(&mut parcel, room, &mut rows);
        let reply = parcel.reply.clone();
        let is_last = parcel.records.is_empty();
        if !is_last {
            self.meeting.put_back(parcel);
        }
        reply.was_read(is_last);
        self.watching.push_back(reply);
        Ok(Pull { payload: rows, position: None })
    }

    fn watches(&self) -> bool {
        true
    }

    fn watch(&mut self, watch: GroupWatch) {
        if let Some(reply) = self.watching.pop_front() {
            reply.watch(watch);
        }
    }
}
