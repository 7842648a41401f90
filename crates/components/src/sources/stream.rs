//! What sources of byte streams share: slabs to read into, and for each stream its frames, its partial frame, and what
//! that may cost.
//!
//! A source reads all its streams through one slab at a time. What a stream leaves over is a part of a frame. Up to 4 KiB
//! of it is copied into memory of the stream's own; of a longer one the slab is kept. Slabs kept so may take a quarter of
//! the memory that the source can have: a stream that would keep one more is given up. For all else the source waits: it
//! reads nothing while there is no slab, and so nobody is given up because what is downstream is slow.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_flow::{Account, Bytes, Cause, Lease, OverBudget, Slab, SlabBuf, SlabPool};
use tidegate_record::frame::{Framer, Framing, Rest};
use tidegate_record::{Origin, Rows};
use tidegate_runtime::SourceContext;

/// The size of the slabs that sources read into.
pub(super) const SLAB_BYTES: usize = 64 << 10;

/// How many slabs are reserved for a source and kept for reuse.
pub(super) const SLABS_KEPT: usize = 8;

/// What is reserved for the partial frames of a source's streams.
pub(super) const PARTIAL_BYTES: Bytes = tidegate_flow::kib(64);

/// A partial frame up to this size is copied; a longer one keeps its slab.
pub(super) const SHORT: usize = 4 << 10;

/// The lease for a short partial frame grows in such steps.
const STEP: usize = 512;

/// Of a slab that is filled to less than this part the rows are copied out.
const SPARSE: usize = 4;

/// The memory that a source's streams read into.
pub(super) struct Memory {
    pool: SlabPool,
    /// Pays for short partial frames.
    holding: Account,
    /// The slab that the next read goes to.
    next: Option<SlabBuf>,
    /// The capacity that the next slab must have at least.
    wanted: usize,
    /// Streams that keep a slab for a long partial frame, and how many may.
    long: usize,
    most_long: usize,
    name: Arc<str>,
}

impl Memory {
    /// For streams of frames of at most `max_length` bytes.
    pub(super) fn new(cx: &SourceContext, max_length: usize) -> Self {
        let each = max_length.max(cx.slabs.slab_size()) as u64;
        let most_long = usize::try_from(cx.slabs.account().largest().get() / 4 / each).unwrap_or(usize::MAX);
        Self {
            pool: cx.slabs.clone(),
            holding: cx.holding.clone(),
            next: None,
            wanted: 0,
            long: 0,
            most_long: most_long.max(1),
            name: Arc::clone(&cx.name),
        }
    }

    /// Completes when there is a slab to read into.
    ///
    /// # Errors
    /// There never will be: the budget is too small.
    pub(super) fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        while self.next.as_ref().is_none_or(|slab| slab.capacity() < self.wanted) {
            self.next = None;
            let refused = match self.pool.slab(self.wanted) {
                Ok(slab) => {
                    self.next = Some(slab);
                    continue;
                }
                Err(OverBudget::Busy) => match self.pool.poll_slab(task, self.wanted) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(refused)) => refused,
                },
                Err(refused) => refused,
            };
            let wanted = Bytes::from(self.wanted.max(self.pool.slab_size()));
            let text = format!("source \"{}\" cannot have {wanted} to read into: {refused}", self.name);
            return Poll::Ready(Err(Cause::from(text)));
        }
        self.wanted = 0;
        Poll::Ready(Ok(()))
    }

    /// The slab to read into, which must then be put back or frozen.
    pub(super) fn take(&mut self) -> Option<SlabBuf> {
        self.next.take()
    }

    /// Asks for a slab of at least so many bytes.
    pub(super) fn want(&mut self, bytes: usize) {
        self.wanted = bytes;
    }

    /// A lease for what a stream costs beside its frames, where more than is reserved for partial frames would be left;
    /// or `Pending` until there may be. Cancel-safe.
    pub(super) fn poll_stream_lease(&mut self, task: &mut Context<'_>, bytes: Bytes) -> Poll<Option<Lease>> {
        let with_room = bytes + PARTIAL_BYTES;
        loop {
            if let Some(mut lease) = self.holding.try_lease(with_room) {
                // Shrinking always works.
                let _fits: Result<(), OverBudget> = lease.resize(bytes);
                return Poll::Ready(Some(lease));
            }
            match self.holding.poll_room(task, with_room) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(None),
            }
        }
    }

    /// Says whether `bytes` fill so little of a slab that they are better copied out.
    pub(super) fn is_sparse(&self, bytes: usize) -> bool {
        bytes * SPARSE < self.pool.slab_size()
    }

    pub(super) fn put_back(&mut self, mut slab: SlabBuf) {
        slab.truncate(0);
        self.next = Some(slab);
    }
}

/// What came of a read.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Something was read; there may be more.
    Read,
    /// There is nothing to read now.
    Idle,
    /// It needs a larger slab, which the [memory](Memory::poll_ready) gets; it must be the next that is read.
    Starved,
    /// The stream has ended, and its last frame was cut.
    Ended,
    /// The stream failed; a partial frame is lost.
    Failed(io::Error),
    /// There is no memory for its partial frame: the stream must be given up.
    NoMemory,
}

/// The frames of one stream.
pub(super) struct Stream {
    framer: Framer,
    /// A part of a frame, to be put before what is read next.
    short: Vec<u8>,
    short_lease: Lease,
    /// Or a longer one, in the slab that it was read into.
    long: Slab,
    /// Whole frames that there was no room for.
    uncut: Slab,
    /// Oversize frames that were reported.
    reported: u64,
    /// Frames cut off that were reported.
    reported_cut_off: u64,
}

impl Stream {
    /// The begin of a stream of frames of at most `max_length` bytes.
    pub(super) fn new(framing: Framing, max_length: usize) -> Self {
        Self {
            framer: Framer::new(framing, max_length),
            short: Vec::new(),
            short_lease: Lease::none(),
            long: Slab::default(),
            uncut: Slab::default(),
            reported: 0,
            reported_cut_off: 0,
        }
    }

    /// Whether frames were read that were not taken.
    pub(super) fn has_uncut(&self) -> bool {
        !self.uncut.is_empty()
    }

    /// Frames that were skipped since the last call, because they were too long.
    pub(super) fn take_oversize(&mut self) -> u64 {
        let all = self.framer.oversize();
        all - std::mem::replace(&mut self.reported, all)
    }

    /// Frames that the stream ended in the middle of, since the last call.
    pub(super) fn take_cut_off(&mut self) -> u64 {
        let all = self.framer.cut_off();
        all - std::mem::replace(&mut self.reported_cut_off, all)
    }

    /// Gives up what is held for the stream.
    pub(super) fn let_go(&mut self, memory: &mut Memory) {
        self.forget_partial(memory);
        self.short = Vec::new();
        self.short_lease = Lease::none();
        self.uncut = Slab::default();
    }

    /// Cuts at most `most` (at least 1) frames into `rows`: of what was read before, or else of one call of `read`, which
    /// gives zero at the end of the stream.
    pub(super) fn pull(
        &mut self,
        memory: &mut Memory,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        most: usize,
        origin: &Arc<Origin>,
        rows: &mut Rows,
    ) -> Outcome {
        if self.has_uncut() {
            let slab = std::mem::take(&mut self.uncut);
            return self.cut(slab, most, origin, rows, memory);
        }
        let Some(mut slab) = memory.next.take() else { return Outcome::Idle };
        let held = self.partial().len();
        if held + SHORT > slab.capacity() {
            memory.wanted = held + memory.pool.slab_size();
            return Outcome::Starved;
        }
        slab.put(self.partial());
        match read(slab.unfilled()) {
            Ok(0) => {
                self.end(slab, origin, rows, memory);
                Outcome::Ended
            }
            Ok(count) => {
                slab.advance(count);
                self.was_read(slab, most, origin, rows, memory)
            }
            Err(error) => {
                memory.put_back(slab);
                match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Outcome::Idle,
                    _ => {
                        self.let_go(memory);
                        Outcome::Failed(error)
                    }
                }
            }
        }
    }

    /// The part of a frame that was read.
    fn partial(&self) -> &[u8] {
        if self.long.is_empty() { &self.short } else { &self.long }
    }

    fn forget_partial(&mut self, memory: &mut Memory) {
        self.short.clear();
        if !std::mem::take(&mut self.long).is_empty() {
            memory.long -= 1;
        }
    }

    /// What is in `slab` now begins with the partial frame that was held.
    fn was_read(
        &mut self,
        mut slab: SlabBuf,
        most: usize,
        origin: &Arc<Origin>,
        rows: &mut Rows,
        memory: &mut Memory,
    ) -> Outcome {
        self.forget_partial(memory);
        if self.framer.is_due(&slab) {
            return self.cut(slab.freeze(), most, origin, rows, memory);
        }
        if self.framer.skip_oversize(&mut slab) || self.copy(&slab, memory) {
            memory.put_back(slab);
            return Outcome::Read;
        }
        self.keep(slab.freeze(), memory)
    }

    /// Cuts frames out of a whole buffer, and keeps what is left.
    fn cut(&mut self, slab: Slab, most: usize, origin: &Arc<Origin>, rows: &mut Rows, memory: &mut Memory) -> Outcome {
        let is_sparse = memory.is_sparse(slab.len());
        let outcome = match self.framer.cut_some(&slab, origin, rows, most.max(1)) {
            Rest::Uncut(rest) => {
                self.uncut = rest;
                return Outcome::Read;
            }
            Rest::Partial(rest) if self.copy(&rest, memory) => Outcome::Read,
            Rest::Partial(rest) => self.keep(rest, memory),
        };
        drop(slab);
        if is_sparse {
            rows.compact();
        }
        outcome
    }

    /// Copies a short part of a frame; says whether it was short, and there was memory for it.
    fn copy(&mut self, partial: &[u8], memory: &Memory) -> bool {
        if partial.len() > SHORT || !self.hold(partial.len(), memory) {
            return false;
        }
        self.short.clear();
        self.short.extend_from_slice(partial);
        true
    }

    /// Keeps the slab of a longer one.
    fn keep(&mut self, partial: Slab, memory: &mut Memory) -> Outcome {
        if memory.long >= memory.most_long {
            self.let_go(memory);
            return Outcome::NoMemory;
        }
        memory.long += 1;
        self.long = partial;
        self.short = Vec::new();
        self.short_lease = Lease::none();
        Outcome::Read
    }

    /// Makes the lease cover a short partial frame of so many bytes.
    fn hold(&mut self, bytes: usize, memory: &Memory) -> bool {
        // In steps, so that the account is not touched for every byte.
        let bytes = Bytes::from(bytes.next_multiple_of(STEP));
        if self.short_lease.bytes() >= bytes {
            return true;
        }
        if self.short_lease.account().is_some() {
            return self.short_lease.resize(bytes).is_ok();
        }
        memory.holding.try_lease(bytes).map(|lease| self.short_lease = lease).is_some()
    }

    fn end(&mut self, slab: SlabBuf, origin: &Arc<Origin>, rows: &mut Rows, memory: &mut Memory) {
        if slab.is_empty() {
            memory.put_back(slab);
        } else {
            self.framer.finish(&slab.freeze(), origin, rows);
            rows.compact();
        }
        self.let_go(memory);
    }
}
