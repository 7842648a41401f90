//! What the calls made, in the order in which it is sent on, and how it is joined into batches.

use std::collections::VecDeque;

use tidegate_flow::{Batch, Bytes, Deadlines, Items, Lease, Meta, Time, Weigh, Weight};

use super::Order;
use super::call::Shell;

/// The result of a call.
pub(super) struct Made<U> {
    pub(super) record: U,
    pub(super) bytes: Bytes,
    pub(super) shell: Shell,
    /// Whether the lease covers the record.
    pub(super) is_paid: bool,
}

/// A place in the order.
enum Slot<U> {
    /// Its call is in flight.
    Running,
    Made(Made<U>),
    /// Its call made nothing.
    Gone,
}

/// The results that were not sent on.
pub(super) struct Results<U> {
    order: Order,
    /// Where order is kept, one slot for each call from the oldest that was not sent on; else the results alone.
    slots: VecDeque<Slot<U>>,
    /// The number of the call of the first slot, where order is kept.
    first: u64,
    /// The number of the next call.
    next: u64,
    unpaid: usize,
}

impl<U: Weigh + Send + 'static> Results<U> {
    pub(super) fn new(order: Order) -> Self {
        Self { order, slots: VecDeque::new(), first: 0, next: 0, unpaid: 0 }
    }

    /// A call starts; the number says where its result belongs.
    pub(super) fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        if self.order == Order::Ordered {
            self.slots.push_back(Slot::Running);
        }
        number
    }

    /// A call is over and made this, or nothing.
    pub(super) fn end(&mut self, number: u64, made: Option<Made<U>>) {
        self.unpaid += usize::from(made.as_ref().is_some_and(|made| !made.is_paid));
        let slot = made.map_or(Slot::Gone, Slot::Made);
        match self.order {
            Order::Ordered => {
                let place = usize::try_from(number - self.first).unwrap_or(usize::MAX);
                self.slots[place] = slot;
                self.trim();
            }
            Order::Unordered if matches!(slot, Slot::Gone) => {}
            Order::Unordered => self.slots.push_back(slot),
        }
    }

    /// Lets go of the places at the front that have nothing to send.
    fn trim(&mut self) {
        while matches!(self.slots.front(), Some(Slot::Gone)) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// How many of the slots that the limit allows are taken, with `running` calls in flight. Where order is kept, so
    /// is the place of a call that made nothing, or one slow call would let the list behind it grow without bound.
    pub(super) fn taken(&self, running: usize) -> usize {
        match self.order {
            Order::Ordered => self.slots.len(),
            Order::Unordered => self.slots.len() + running,
        }
    }

    /// Whether there is something to send on.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Made(_)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether a result waits that the budget had no room for.
    pub(super) fn has_unpaid(&self) -> bool {
        self.unpaid > 0
    }

    /// Joins as many results as are ready, up to the first that closes a batch of `chunk`. Leases that cannot be
    /// joined come besides: to be kept until the batch is covered.
    pub(super) fn take(&mut self, chunk: Weight) -> Option<(Batch<Items<U>>, Vec<Lease>)> {
        let count = self.joinable(chunk);
        if count == 0 {
            return None;
        }
        let mut rows = Vec::with_capacity(count);
        let mut column = Vec::new();
        let mut apart = Vec::new();
        let mut joined: Option<Shell> = None;
        for made in self.slots.drain(..count).filter_map(Slot::into_made) {
            self.unpaid -= usize::from(!made.is_paid);
            note_deadline(&mut column, rows.len(), made.shell.deadline());
            rows.push(made.record);
            match &mut joined {
                None => joined = Some(made.shell),
                Some(joined) => join(joined, made.shell, &mut apart),
            }
        }
        self.first += count as u64;
        self.trim();
        let Shell { ticket, lease, meta } = joined?;
        let deadlines = Deadlines::from_column(column);
        Some((Batch { payload: Items::from(rows), ticket, lease, meta: Meta { deadlines, ..meta } }, apart))
    }

    /// How many results at the front fit into one batch: equal in lane, bucket and dead letter note.
    fn joinable(&self, chunk: Weight) -> usize {
        let most = usize::try_from(chunk.records.get()).unwrap_or(usize::MAX);
        let mut bytes = Bytes::ZERO;
        let mut first: Option<&Meta> = None;
        for (count, slot) in self.slots.iter().take(most).enumerate() {
            let Slot::Made(made) = slot else { return count };
            let (meta, like) = (&made.shell.meta, *first.get_or_insert(&made.shell.meta));
            let is_like = (meta.lane, meta.bucket) == (like.lane, like.bucket) && meta.dead_letter == like.dead_letter;
            if !is_like || bytes >= chunk.bytes {
                return count;
            }
            bytes += made.bytes;
        }
        self.slots.len().min(most)
    }
}

impl<U> Slot<U> {
    fn into_made(self) -> Option<Made<U>> {
        match self {
            Self::Made(made) => Some(made),
            Self::Running | Self::Gone => None,
        }
    }
}

/// Keeps a column of deadlines only where a row has one.
fn note_deadline(column: &mut Vec<Time>, rows: usize, deadline: Option<Time>) {
    if deadline.is_some() && column.is_empty() {
        column.resize(rows, Time::MAX);
    }
    if deadline.is_some() || !column.is_empty() {
        column.push(deadline.unwrap_or(Time::MAX));
    }
}

/// Adds the ticket and the lease of the next row. A lease in another account is moved where there is room.
fn join(joined: &mut Shell, next: Shell, apart: &mut Vec<Lease>) {
    let Shell { ticket, mut lease, meta } = next;
    joined.ticket.append(ticket);
    joined.meta.born = joined.meta.born.min(meta.born);
    if let (Some(account), false) = (joined.lease.account(), lease.is_shared()) {
        // Where the account has no room the two stay apart, which is all that an error would say.
        let _ = lease.rebind(account);
    }
    apart.extend(joined.lease.merge(lease).err());
}
