//! What can be said about sources and sinks beyond their type.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

use tidegate_flow::queue::MAX_BUCKETS;
use tidegate_flow::{Bytes, Items, Payload, SlabPool, Time, Weigh};

use super::draft::SettleDraft;
use super::port::Port;
use crate::drain::KillSwitch;
use crate::egress::SinkPolicy;
use crate::ingress::{Class, Classifier, Source};

/// A source, and how to read it.
pub struct SourceOptions<S: Source> {
    pub(super) source: S,
    pub(super) classifier: Option<Box<dyn Classifier<S::Payload>>>,
    pub(super) settle: SettleDraft,
    pub(super) kill: Option<KillSwitch>,
    pub(super) acks: bool,
    pub(super) reading: ReadingDraft,
}

/// What a source needs between two reads.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct ReadingDraft {
    /// Bytes that it holds.
    pub(super) holding: Bytes,
    /// The capacity of a slab; zero for that of the largest batch.
    pub(super) slab_size: usize,
    /// How many slabs are kept for reuse, and reserved.
    pub(super) slabs: usize,
    /// The longest frame.
    pub(super) max_frame: usize,
}

impl ReadingDraft {
    /// What its slabs reserve: those to be kept, and room for one longest frame.
    pub(super) fn slab_bytes(&self) -> Bytes {
        match self.slabs {
            0 => Bytes::ZERO,
            slabs => Bytes::from(slabs * self.slab_size).max(SlabPool::minimum(self.slab_size, self.max_frame)),
        }
    }
}

impl<S: Source> From<S> for SourceOptions<S> {
    fn from(source: S) -> Self {
        Self::new(source)
    }
}

impl<S: Source> SourceOptions<S> {
    /// `source` with the defaults: one lane, no deadlines, a settle window as large as the buffers behind it need.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self {
            source,
            classifier: None,
            settle: SettleDraft::default(),
            kill: None,
            acks: true,
            reading: ReadingDraft::default(),
        }
    }

    /// Sorts records into lanes and buckets and gives them deadlines.
    #[must_use]
    pub fn classify(mut self, classifier: impl Classifier<S::Payload>) -> Self {
        self.classifier = Some(Box::new(classifier));
        self
    }

    /// At most this many bytes may be unsettled at once. A window that cannot hold what the buffers behind the source
    /// can hold is refused when the pipeline is built.
    #[must_use]
    pub fn settle_bytes(mut self, bytes: Bytes) -> Self {
        self.settle.bytes = Some(bytes);
        self
    }

    /// At most this many batches of each lane may be unsettled at once; checked like the bytes.
    #[must_use]
    pub fn settle_slots(mut self, slots: u32) -> Self {
        self.settle.slots = Some(slots);
        self
    }

    /// Reads without acknowledging: nothing settles, no position is committed, and the source has no row in the ledger.
    /// For sources that nobody can ask again. Stages and edges count as ever. A source that answers each request when it
    /// has settled gets no watches, so do not use this with one.
    #[must_use]
    pub const fn without_acks(mut self) -> Self {
        self.acks = false;
        self
    }

    /// Reserves bytes for what the source holds from one read to the next (partial frames); see
    /// [`SourceContext::holding`](crate::ingress::SourceContext::holding). Beyond them it floats. Default: none.
    #[must_use]
    pub const fn holding(mut self, bytes: Bytes) -> Self {
        self.reading.holding = bytes;
        self
    }

    /// Reserves `keep` slabs of `size` bytes for a source that reads into slabs, and room for a frame of `max_frame`
    /// bytes; see [`SourceContext::slabs`](crate::ingress::SourceContext::slabs). Default: nothing is reserved and
    /// nothing kept, and slabs have the size of the largest batch.
    #[must_use]
    pub const fn slabs(mut self, size: usize, keep: usize, max_frame: usize) -> Self {
        self.reading = ReadingDraft { slab_size: size, slabs: keep, max_frame, ..self.reading };
        self
    }

    /// Ends this source, and only this, when the switch is thrown.
    #[must_use]
    pub fn kill_switch(mut self, switch: &KillSwitch) -> Self {
        self.kill = Some(switch.clone());
        self
    }
}

/// Classifies typed rows one by one.
struct ByRow<F>(F);

impl<T, F> Classifier<Items<T>> for ByRow<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(&T, Time) -> Class + Send + 'static,
{
    fn classify(&mut self, payload: &Items<T>, now: Time, classes: &mut Vec<Class>) {
        classes.extend(payload.as_slice().iter().map(|record| (self.0)(record, now)));
    }
}

impl<T, S> SourceOptions<S>
where
    T: Weigh + Send + 'static,
    S: Source<Payload = Items<T>>,
{
    /// Sorts records into lanes and buckets and gives them deadlines, record by record. `classify` is given the record
    /// and the time since the pipeline started.
    #[must_use]
    pub fn classify_by(self, classify: impl FnMut(&T, Time) -> Class + Send + 'static) -> Self {
        self.classify(ByRow(classify))
    }

    /// Makes the records of different keys (tenants, agents, connections) share each edge fairly: by bytes, whoever has
    /// more of them. Every edge that is to be fair needs buckets ([`EdgeSpec::buckets`], best 64); there the records of a
    /// key keep their order, and where the edge sheds, the key with the most in it pays for it first. Keys take turns of
    /// [`EdgeSpec::quantum`] bytes; where records are small, so should that be.
    ///
    /// A key is hashed into one of 64 buckets, so keys can share one. The hash has a seed, drawn anew for each pipeline,
    /// so that nobody can choose a key that shares the bucket of another. What is read at once is split by bucket: with
    /// few keys or large batches that costs little.
    ///
    /// ```
    /// use tidegate_flow::{EdgeSpec, OnFull};
    /// use tidegate_runtime::{Pipeline, SourceOptions, sink, source};
    ///
    /// let builder = Pipeline::builder("requests");
    /// let requests = source::iter([("alice", 1), ("bob", 2), ("alice", 3)]);
    /// builder
    ///     .source("requests", SourceOptions::new(requests).classify_by_key(|(tenant, _)| *tenant))
    ///     .edge(EdgeSpec::new("to-store").buckets(64).on_full(OnFull::DropOldest))
    ///     .sink("store", sink::null());
    /// builder.build()?;
    /// # Ok::<(), tidegate_runtime::BuildErrors>(())
    /// ```
    ///
    /// [`EdgeSpec::buckets`]: tidegate_flow::EdgeSpec::buckets
    /// [`EdgeSpec::quantum`]: tidegate_flow::EdgeSpec::quantum
    #[must_use]
    pub fn classify_by_key<K: Hash>(self, key: impl FnMut(&T) -> K + Send + 'static) -> Self {
        self.classify_by_seeded_key(RandomState::new().build_hasher().finish(), key)
    }

    /// [`classify_by_key`](Self::classify_by_key) with a given seed, for runs that are to be the same each time.
    #[must_use]
    pub fn classify_by_seeded_key<K: Hash>(self, seed: u64, key: impl FnMut(&T) -> K + Send + 'static) -> Self {
        self.classify(ByKey { key, seed })
    }
}

/// Puts the records of one key into one bucket, whichever it is.
struct ByKey<F> {
    key: F,
    seed: u64,
}

impl<T, K, F> Classifier<Items<T>> for ByKey<F>
where
    T: Weigh + Send + 'static,
    K: Hash,
    F: FnMut(&T) -> K + Send + 'static,
{
    fn classify(&mut self, payload: &Items<T>, _now: Time, classes: &mut Vec<Class>) {
        classes.extend(payload.as_slice().iter().map(|record| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed);
            (self.key)(record).hash(&mut hasher);
            let bucket = hasher.finish() % u64::from(MAX_BUCKETS);
            Class { bucket: u8::try_from(bucket).unwrap_or(0), ..Class::default() }
        }));
    }
}

/// What the runtime does around a sink: retries, a time limit, dead letters.
pub struct SinkOptions<'a, P: Payload> {
    pub(super) policy: SinkPolicy,
    pub(super) dead_letters: Option<&'a Port<P>>,
    pub(super) encoding: Bytes,
}

impl<P: Payload> Default for SinkOptions<'_, P> {
    fn default() -> Self {
        Self { policy: SinkPolicy::default(), dead_letters: None, encoding: Bytes::ZERO }
    }
}

impl<'a, P: Payload> SinkOptions<'a, P> {
    /// Retries and times out as `policy` says.
    #[must_use]
    pub fn policy(mut self, policy: SinkPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Reserves what one delivery holds beside its batch, such as an encode buffer; see
    /// [`SinkContext::holding`](crate::SinkContext::holding). Further deliveries of a pool float. Default: nothing.
    #[must_use]
    pub fn encoding(mut self, bytes: Bytes) -> Self {
        self.encoding = bytes;
        self
    }

    /// Records that the sink refuses for good go to this port, with the cause, instead of back to their source.
    #[must_use]
    pub fn dead_letters(mut self, port: &'a Port<P>) -> Self {
        self.dead_letters = Some(port);
        self
    }
}
