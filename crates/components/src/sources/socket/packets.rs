//! [`Packets`]: reads packets of UDP or of a unix socket, many at a time into one slab.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidegate_flow::{Cause, OverBudget, Slab, SlabBuf, SlabPool, Time, Weight};
use tidegate_record::frame::{Framer, Rest};
use tidegate_record::{JsonText, Origin, Rows};
use tidegate_runtime::{Clock, NoCommit, Pull, Readiness, Source, SourceContext};

use super::Socket;
use super::listener::{PacketSocket, Peer};
use crate::clock::wall_time;
use crate::contract::{BuildContext, Counter};
use crate::ids::Counted;
use crate::sources::decode::{Decoder, most_rows};

mod drops;

use self::drops::Drops;

/// The largest packet of UDP.
const PACKET: usize = 65_536;

/// Packets are read as long as the slab has room for the largest.
pub(super) const SLAB: usize = 2 * PACKET;

/// How many slabs are reserved.
pub(super) const SLABS: usize = 4;

/// How often the kernel is asked how many packets it dropped.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The source at work.
pub(super) struct Packets {
    socket: PacketSocket,
    framer: Framer,
    pool: Option<SlabPool>,
    slab: Option<SlabBuf>,
    clock: Option<Clock>,
    /// The packets of one read: where they are, and who sent them.
    packets: Vec<(Range<usize>, Peer)>,
    /// Packets that were read and not cut.
    uncut: VecDeque<(Slab, Arc<Origin>)>,
    decoder: Decoder,
    numbers: Counted,
    packets_read: Counter,
    bytes_read: Counter,
    oversize: Counter,
    reported: u64,
    drops: Drops,
    ask_at: Time,
}

impl Packets {
    pub(super) fn new(config: &Socket, socket: PacketSocket, node: &Arc<str>, cx: &BuildContext) -> Self {
        Self {
            framer: Framer::new(config.framing().cut(), config.max_length()),
            pool: None,
            slab: None,
            clock: None,
            packets: Vec::new(),
            uncut: VecDeque::new(),
            decoder: Decoder::new(&config.decoding, node, &cx.meters),
            numbers: Counted::fresh(node),
            packets_read: cx.meters.counter(node, "packets_read"),
            bytes_read: cx.meters.counter(node, "bytes_read"),
            oversize: cx.meters.counter(node, "frames_oversize"),
            reported: 0,
            drops: Drops::of(&socket, cx.meters.counter(node, "packets_dropped_by_kernel")),
            ask_at: Time::ZERO,
            socket,
        }
    }

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<Readiness, Cause>> {
        if !self.uncut.is_empty() {
            return Poll::Ready(Ok(Readiness::Ready));
        }
        let failed = |error| Cause::from(format!("a socket that packets are read from failed: {error}"));
        ready!(self.socket.poll_ready(task)).map_err(failed)?;
        while let (None, Some(pool)) = (&self.slab, &self.pool) {
            match pool.slab(0) {
                Ok(slab) => self.slab = Some(slab),
                Err(OverBudget::Busy) => {
                    ready!(pool.poll_slab(task, 0)).map_err(|refused| Cause::from(refused.to_string()))?;
                }
                Err(refused) => return Poll::Ready(Err(Cause::from(refused.to_string()))),
            }
        }
        Poll::Ready(Ok(Readiness::Ready))
    }

    /// Takes packets as long as there are any and there is room.
    fn receive(&mut self, slab: &mut SlabBuf, most: usize) -> Result<(), Cause> {
        while self.packets.len() < most && slab.unfilled().len() >= PACKET {
            match self.socket.try_receive(slab.unfilled()) {
                Ok((count, peer)) => {
                    self.packets.push((slab.len()..slab.len() + count, peer));
                    slab.advance(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // What an earlier packet of ours met with; there is none, so it concerns nobody.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(Cause::from(format!("a socket that packets are read from failed: {error}"))),
            }
        }
        Ok(())
    }

    /// Reads packets and puts them in line to be cut; says whether they fill little of the slab.
    fn fill(&mut self, mut slab: SlabBuf, most: usize) -> Result<bool, Cause> {
        self.receive(&mut slab, most)?;
        self.packets_read.add(self.packets.len() as u64);
        self.bytes_read.add(slab.len() as u64);
        let is_sparse = slab.len() * 4 < slab.capacity();
        let (slab, received) = (slab.freeze(), wall_time());
        let mut last: Option<(Peer, Arc<Origin>)> = None;
        for (range, peer) in self.packets.drain(..) {
            let origin = match last.take() {
                Some((same, origin)) if same == peer => origin,
                _ => Arc::new(origin_of(peer, received)),
            };
            self.uncut.push_back((slab.slice(range), Arc::clone(&origin)));
            last = Some((peer, origin));
        }
        Ok(is_sparse)
    }

    /// Cuts packets into at most `most` rows. The end of a packet ends its last frame.
    fn cut(&mut self, most: usize, rows: &mut Rows) {
        while rows.len() < most
            && let Some((packet, origin)) = self.uncut.pop_front()
        {
            match self.framer.cut_some(&packet, &origin, rows, most - rows.len()) {
                Rest::Uncut(rest) => self.uncut.push_front((rest, origin)),
                Rest::Partial(rest) => self.framer.finish(&rest, &origin, rows),
            }
        }
    }

    /// Asks the kernel now and then what it dropped.
    fn ask(&mut self) {
        let Some(now) = self.clock.map(|clock| clock.now()) else { return };
        if now >= self.ask_at {
            self.ask_at = now + ASK_EVERY;
            self.drops.ask();
        }
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        self.drops.ask();
    }
}

impl Source for Packets {
    type Payload = Rows;
    type Position = ();
    type Committer = NoCommit;

    fn open(&mut self, cx: SourceContext) {
        self.pool = Some(cx.slabs);
        self.clock = Some(cx.clock);
    }

    fn committer(&mut self) -> NoCommit {
        NoCommit
    }

    async fn ready(&mut self) -> Result<Readiness, Cause> {
        tokio::task::coop::consume_budget().await;
        self.ask();
        poll_fn(|task| self.poll_ready(task)).await
    }

    fn read(&mut self, room: Weight, mut rows: Rows) -> Result<Pull<Rows, ()>, Cause> {
        let most = most_rows(room);
        let is_sparse = match self.slab.take() {
            Some(slab) if self.uncut.is_empty() => self.fill(slab, most)?,
            slab => {
                self.slab = slab;
                false
            }
        };
        self.cut(most, &mut rows);
        if is_sparse && self.uncut.is_empty() {
            rows.compact();
        }
        self.oversize.add(self.framer.oversize() - std::mem::replace(&mut self.reported, self.framer.oversize()));
        self.numbers.number(&mut rows);
        self.decoder.decode(&mut rows);
        Ok(Pull { payload: rows, position: None })
    }
}

fn origin_of(Peer(address): Peer, received: tidegate_record::Timestamp) -> Origin {
    let origin = Origin::new("socket", received);
    match address {
        None => origin,
        Some(address) => {
            origin.with_host(address.ip().to_string()).with_field("port", JsonText::number(u64::from(address.port())))
        }
    }
}
