//! What an edge gives up is dropped without its lock: the `Drop` of a record may run any code, on the edge too.

use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;

use tidegate_flow::queue::SampleRate;
use tidegate_flow::{Batch, Deadlines, Items, Meta, Time, Weigh};

use super::*;

/// Looks at its edge when it is dropped, and counts that.
struct Curious {
    edge: Arc<OnceLock<EdgeHandle>>,
    looked: Arc<AtomicUsize>,
}

impl Weigh for Curious {
    fn weigh(&self) -> usize {
        1
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        if let Some(edge) = self.edge.get() {
            assert!(edge.snapshot().flows.balances());
            self.looked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends batches of two records, each of which has this deadline, to an edge that holds one; takes until nothing is
/// left, and says how many looked at their edge before they came out.
async fn looked_at(policy: OnFull, batches: u32, deadlines: Deadlines) -> usize {
    let (mut tx, mut rx) = edge(EdgeSpec::new("test").records(2).on_full(policy)).unwrap();
    let (edge, looked) = (Arc::new(OnceLock::new()), Arc::new(AtomicUsize::new(0)));
    edge.set(tx.handle()).ok().unwrap();
    for _ in 0..batches {
        let records = (0..2).map(|_| Curious { edge: Arc::clone(&edge), looked: Arc::clone(&looked) });
        let payload: Items<Curious> = records.collect::<Vec<_>>().into();
        let meta = Meta { deadlines: deadlines.clone(), ..Meta::default() };
        tx.send(&mut Some(Batch { meta, ..Batch::detached(payload) })).await.unwrap();
    }
    while let Some(Event::Batch(batch)) = rx.try_recv() {
        std::mem::forget(batch);
    }
    looked.load(Ordering::Relaxed)
}

/// Runs on a thread of its own, so that a deadlock is a failure and not a test that never ends.
fn within_reach<T: Send + 'static>(test: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tell.send(runtime.block_on(test)).ok();
    });
    told.recv_timeout(Duration::from_secs(20)).expect("a deadlock: a record was dropped under the lock of its edge")
}

#[test]
fn a_record_may_look_at_its_edge_when_the_edge_sheds_it() {
    for policy in [OnFull::DropNewest, OnFull::DropOldest, OnFull::Sample(SampleRate::Ratio(0.0))] {
        assert_eq!(within_reach(looked_at(policy, 3, Deadlines::None)), 4, "{policy:?}");
    }
}

#[test]
fn a_record_may_look_at_its_edge_when_it_expires_there() {
    let all = Deadlines::All(Time::ZERO);
    let one = Deadlines::from_column(vec![Time::MAX, Time::ZERO]);
    for (deadlines, expired) in [(all, 2), (one, 1)] {
        assert_eq!(within_reach(looked_at(OnFull::default(), 1, deadlines)), expired);
    }
}
