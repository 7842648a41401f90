//! The operators of a flow of typed records.

use tidegate_flow::{EdgeSpec, Items, Nack, Weigh};

use super::flow::{EdgeFlow, Flow, Head, RecordFlow};
use crate::ops::Expand;
use crate::outlet::Router;
use crate::records::{Filter, FilterMap, Map, RecordOp, Records, TryMap};
use crate::stage::Inlet;
use crate::transform::{Then, Transform};

/// A flow extended by a step on batches.
pub type Extended<I, U, V, T, M, N> = Flow<I, Then<Then<U, V, M>, T, N>, <<T as Transform<N>>::Out as Head>::Tail>;

impl<I, U, C> RecordFlow<I, U, C>
where
    I: Inlet,
    C: RecordOp,
    U: Transform<I::Payload, Out = Items<C::In>>,
{
    fn extend<D: RecordOp<In = C::In>>(self, change: impl FnOnce(C) -> D) -> RecordFlow<I, U, D> {
        let Self { builder, stage, inlet, upstream, tail } = self;
        Flow { builder, stage, inlet, upstream, tail: tail.extend(change) }
    }

    /// Makes one record of each.
    pub fn map<T, F>(self, function: F) -> RecordFlow<I, U, Map<C, F>>
    where
        T: Weigh + Send + 'static,
        F: FnMut(C::Out) -> T + Send + 'static,
    {
        self.extend(|first| Map { first, function })
    }

    /// Passes on the records for which `predicate` holds; the others settle as filtered.
    pub fn filter<F>(self, predicate: F) -> RecordFlow<I, U, Filter<C, F>>
    where
        F: FnMut(&C::Out) -> bool + Send + 'static,
    {
        self.builder.lock().graph.stage_mut(self.stage).may_drop = true;
        self.extend(|first| Filter { first, predicate })
    }

    /// Makes one record or none of each; `None` settles as filtered.
    pub fn filter_map<T, F>(self, function: F) -> RecordFlow<I, U, FilterMap<C, F>>
    where
        T: Weigh + Send + 'static,
        F: FnMut(C::Out) -> Option<T> + Send + 'static,
    {
        self.builder.lock().graph.stage_mut(self.stage).may_drop = true;
        self.extend(|first| FilterMap { first, function })
    }

    /// Makes one record of each, or refuses it: it goes back to its source with the reason. To keep the record, see
    /// [`Flow::try_map_or`].
    pub fn try_map<T, F>(self, function: F) -> RecordFlow<I, U, TryMap<C, F>>
    where
        T: Weigh + Send + 'static,
        F: FnMut(C::Out) -> Result<T, Nack> + Send + 'static,
    {
        self.builder.lock().graph.stage_mut(self.stage).may_drop = true;
        self.extend(|first| TryMap { first, function })
    }

    /// Makes any number of records of each, in bounded steps; an input settles when all that was made of it has. The
    /// batches that go on are as large as [`PipelineBuilder::batch`](super::PipelineBuilder::batch) says, and no larger
    /// than the window of the edge behind.
    ///
    /// ```
    /// use tidegate_runtime::{Pipeline, sink, source};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let builder = Pipeline::builder("pairs");
    /// let (pairs, keep) = sink::collect();
    /// builder
    ///     .source("numbers", source::iter(0..3_u64))
    ///     .flat_map(|n| vec![n, n])
    ///     .flat_map(|n| (0..n).map(move |m| (m, n)))
    ///     .sink("keep", keep);
    /// builder.build()?.start().wait().await;
    /// assert_eq!(pairs.take(), [(0, 1), (0, 1), (0, 2), (1, 2), (0, 2), (1, 2)]);
    /// # Ok::<(), tidegate_runtime::BuildErrors>(())
    /// # }).unwrap();
    /// ```
    pub fn flat_map<It, F>(
        self,
        function: F,
    ) -> Extended<I, U, Records<C>, Expand<C::Out, F, It>, Items<C::In>, Items<C::Out>>
    where
        It: IntoIterator<IntoIter: Send + 'static> + 'static,
        It::Item: Weigh + Send + 'static,
        F: FnMut(C::Out) -> It + Send + 'static,
    {
        self.builder.lock().graph.stage_mut(self.stage).may_drop = true;
        self.transform(Expand::new(function))
    }

    /// After a fault, the record operators of this stage start afresh from a copy of what they are now.
    pub fn restartable(mut self) -> Self
    where
        C: Clone,
    {
        self.tail.restartable();
        self
    }

    /// Sends each record to one of several branches, chosen by `choose`; a number that no branch has goes to the last.
    /// One branch is allowed: then there is nothing to choose.
    pub fn partition<F, const N: usize>(self, choose: F, specs: [EdgeSpec; N]) -> [EdgeFlow<Items<C::Out>>; N]
    where
        F: FnMut(&C::Out) -> usize + Send + 'static,
    {
        self.route(ByRecord(choose), specs)
    }
}

/// Routes typed rows one by one.
struct ByRecord<F>(F);

impl<T, F> Router<Items<T>> for ByRecord<F>
where
    T: Weigh + Send + 'static,
    F: FnMut(&T) -> usize + Send + 'static,
{
    fn route(&mut self, payload: &Items<T>, branches: &mut Vec<usize>) {
        branches.extend(payload.as_slice().iter().map(&mut self.0));
    }
}
