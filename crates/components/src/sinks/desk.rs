//! [`Desk`]: what a sink encodes into, paid for before it is filled.
//!
//! A sink takes the lease for a usual batch together with its permit, before it takes input, so that no more is under way
//! than there is memory for. A batch that becomes larger when it is encoded needs more: where there is no more, it is
//! halved until it fits; a single record waits for memory, and is refused for good where there never will be enough.

use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_flow::{Account, Bytes, Lease, Nack, OverBudget};
use tidegate_runtime::SinkContext;

/// Where one sink encodes.
pub(super) struct Desk {
    /// What a usual batch takes.
    usual: Bytes,
    account: Option<(Arc<str>, Account)>,
    sheet: Sheet,
}

/// A buffer, and the lease that pays for its capacity: to be taken where the work is, and brought back.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) buffer: Vec<u8>,
    /// Given back behind the buffer.
    lease: Lease,
}

impl Desk {
    /// For batches that usually take so much when they are encoded: what the plan reserves.
    pub(super) fn new(usual: Bytes) -> Self {
        Self { usual, account: None, sheet: Sheet::default() }
    }

    /// Who pays. Where nobody does, as in tests of a sink alone, nothing is charged.
    pub(super) fn open(&mut self, cx: SinkContext) {
        self.account = Some((cx.name, cx.holding));
    }

    /// Completes when what a usual batch takes is leased.
    pub(super) fn poll_memory(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let Some((_, account)) = &self.account else { return Poll::Ready(()) };
        if self.sheet.lease.bytes() >= self.usual {
            return Poll::Ready(());
        }
        self.sheet = Sheet::default();
        loop {
            if let Some(lease) = account.try_lease(self.usual) {
                self.sheet.lease = lease;
                return Poll::Ready(());
            }
            match account.poll_room(task, self.usual) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                // Not where the plan has reserved it; the batch will say so.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            }
        }
    }

    /// The buffer, empty and with room for `bytes`, which are what `records` records become at most; `beside` is paid for
    /// too, for what is made of that.
    ///
    /// # Errors
    /// There is no memory for so much: for good where there are several records, so that they are halved.
    pub(super) fn take(&mut self, bytes: usize, beside: usize, records: usize) -> Result<Sheet, Nack> {
        let mut sheet = std::mem::take(&mut self.sheet);
        sheet.buffer.clear();
        let wanted = Bytes::from(bytes.max(sheet.buffer.capacity()).saturating_add(beside));
        if let Some((name, account)) = &self.account
            && wanted > sheet.lease.bytes()
        {
            let leased = match sheet.lease.account() {
                Some(_) => sheet.lease.resize(wanted),
                None => account.lease(wanted).map(|lease| sheet.lease = lease),
            };
            if let Err(refused) = leased {
                self.sheet = sheet;
                return Err(no_memory(name, wanted, records, refused));
            }
        }
        sheet.buffer.reserve_exact(bytes);
        Ok(sheet)
    }

    /// Brings the buffer back, to be used again. One that had to be large is not kept.
    pub(super) fn put_back(&mut self, mut sheet: Sheet) {
        if Bytes::from(sheet.buffer.capacity()) > self.usual {
            sheet.buffer = Vec::new();
        }
        if sheet.lease.bytes() > self.usual {
            // Shrinking always works.
            let _fits: Result<(), OverBudget> = sheet.lease.resize(self.usual);
        }
        self.sheet = sheet;
    }

    /// Gives back everything, for a sink whose buffers go away with what it sends.
    pub(super) fn clear(&mut self) {
        self.sheet = Sheet::default();
    }
}

impl Sheet {
    /// Puts another buffer in the place of this one, and pays for that alone. It must not be larger.
    pub(super) fn replace(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
        let paid = Bytes::from(self.buffer.capacity()).min(self.lease.bytes());
        // Shrinking always works.
        let _fits: Result<(), OverBudget> = self.lease.resize(paid);
    }
}

fn no_memory(name: &str, wanted: Bytes, records: usize, refused: OverBudget) -> Nack {
    let text = format!("sink \"{name}\" cannot have {wanted} to encode {records} records: {refused}");
    match refused {
        OverBudget::Busy if records <= 1 => Nack::transient(text),
        OverBudget::Busy | OverBudget::Never => Nack::permanent(text),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tidegate_flow::{AccountSpec, Budget, NackKind, kib};
    use tidegate_runtime::Clock;

    use super::*;

    fn desk(total: Bytes) -> (Budget, Desk) {
        let budget = Budget::new(total);
        let mut desk = Desk::new(kib(4));
        let holding = budget.account("out", AccountSpec::holding(kib(4))).unwrap();
        desk.open(SinkContext::new("out", holding, Clock::new()));
        (budget, desk)
    }

    #[tokio::test]
    async fn a_usual_batch_is_paid_for_before_it_is_taken_and_more_is_asked_for() {
        let (budget, mut desk) = desk(kib(16));
        poll_fn(|task| desk.poll_memory(task)).await;
        assert_eq!(budget.used(), kib(4));
        let sheet = desk.take(1_000, 0, 1).unwrap();
        assert_eq!((budget.used(), sheet.buffer.capacity()), (kib(4), 1_000));
        desk.put_back(sheet);
        let sheet = desk.take(4_096, 4_096, 1).unwrap();
        assert_eq!((budget.used(), sheet.buffer.capacity()), (kib(8), 4_096));
        desk.put_back(sheet);
        assert_eq!(budget.used(), kib(4), "what was beyond the usual is given back, with its buffer");
        desk.clear();
        assert!(budget.used().is_zero());
    }

    #[tokio::test]
    async fn what_there_is_no_memory_for_is_halved_or_waits_or_never_fits() {
        let (budget, mut desk) = desk(kib(16));
        poll_fn(|task| desk.poll_memory(task)).await;
        let other = budget.account("other", AccountSpec::holding(Bytes::ZERO)).unwrap();
        let taken = other.try_lease(kib(12)).unwrap();
        let kind = |desk: &mut Desk, bytes, records| desk.take(bytes, 0, records).map(drop).unwrap_err().kind;
        assert_eq!(kind(&mut desk, 8_192, 2), NackKind::Permanent, "to be halved");
        assert_eq!(kind(&mut desk, 8_192, 1), NackKind::Transient, "to be tried again");
        assert_eq!(kind(&mut desk, 1 << 20, 1), NackKind::Permanent, "there never will be so much");
        drop(taken);
        assert!(desk.take(8_192, 0, 1).is_ok());
    }
}
