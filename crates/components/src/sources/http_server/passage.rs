//! [`Passage`]: a request on its way. It counts as ahead of others until its records are settled, also where nobody waits
//! for that any more: the request was answered that it took too long, or its sender has gone.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tidegate_flow::{Bytes, Lease, Time};

use super::admission::Admitted;
use super::desk::Desk;
use super::requests::{Reply, Verdict};

/// What a request costs whose records are in the pipeline while nobody waits for them.
const LATE_BYTES: u64 = 256;

/// How often those are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A request on its way: it counts as ahead of others until this is dropped and its records are settled.
pub(super) struct Passage {
    desk: Arc<Desk>,
    admitted: Admitted,
    bytes: u64,
    pub(super) has_settled: bool,
    /// Where it will be heard what became of its records; `None` before they are handed over, and when it was heard.
    pub(super) awaited: Option<Reply>,
}

impl Passage {
    /// Lets a request in, or says in how many seconds to try again.
    pub(super) fn begin(desk: &Arc<Desk>) -> Result<Self, u64> {
        let now = desk.given.clock.now();
        desk.late().look(desk, now);
        let admitted = desk.admission().admit(now)?;
        Ok(Self { desk: Arc::clone(desk), admitted, bytes: 0, has_settled: false, awaited: None })
    }

    /// Its body was read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes = bytes as u64;
        self.desk.admission().read(self.bytes);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Self { desk, admitted, bytes, has_settled, awaited } = self;
        // Where nothing pays for it, it is forgotten.
        match awaited.take().zip(desk.given.holding.try_lease(Bytes::new(LATE_BYTES))) {
            Some((reply, lease)) => {
                desk.late().requests.push(Unheard { reply, admitted: *admitted, bytes: *bytes, _lease: lease });
            }
            None => desk.admission().over(*admitted, *bytes, *has_settled, desk.given.clock.now()),
        }
    }
}

/// Requests whose records are in the pipeline while nobody waits for them.
#[derive(Default)]
pub(super) struct Late {
    requests: Vec<Unheard>,
    looked_at: Time,
}

struct Unheard {
    reply: Reply,
    admitted: Admitted,
    bytes: u64,
    _lease: Lease,
}

impl Late {
    /// Lets those go whose records are settled.
    fn look(&mut self, desk: &Desk, now: Time) {
        if self.requests.is_empty() || now.since(self.looked_at) < LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        let mut task = Context::from_waker(Waker::noop());
        self.requests.retain(|request| match request.reply.poll_verdict(&mut task) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(verdict) => {
                let is_safe = matches!(verdict, Verdict::Safe(_));
                desk.admission().over(request.admitted, request.bytes, is_safe, now);
                false
            }
        });
    }
}
