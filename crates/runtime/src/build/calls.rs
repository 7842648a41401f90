//! The operators that make a call for each record.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;

use tidegate_flow::{Bytes, Items, Nack, Records as Count, Weigh, Weight};
use tower_service::Service;

use super::error::BuildError;
use super::flow::{Flow, RecordFlow};
use super::launch::StageLaunch;
use crate::calls::{
    ByKey, ByService, CallLimits, CallSet, CallTools, Caller, Calls, Fallible, Infallible, KeyOf, Order, Unkeyed,
};
use crate::fused::Fused;
use crate::records::{Identity, RecordOp, Records};
use crate::stage::Inlet;
use crate::transform::{Pass, Then, Transform};

/// Batches in hand that calls need room for: two of records that they are made for, and one that they made.
const CALLS_IN_HAND: u32 = 3;

/// A flow whose records are what the calls made: what came before runs behind the calls, in the same task.
pub type CallFlow<I, U, C, M, K> = RecordFlow<
    Calls<Fused<I, Then<U, Records<C>, Items<<C as RecordOp>::In>>>, <C as RecordOp>::Out, M, K>,
    Pass,
    Identity<<M as Caller<<C as RecordOp>::Out>>::Out>,
>;

impl<I, U, C> RecordFlow<I, U, C>
where
    I: Inlet,
    C: RecordOp,
    U: Transform<I::Payload, Out = Items<C::In>>,
{
    /// Makes one record of each by a call, with as many calls at once as `limits` allows (a number, or a
    /// [`CallLimits`] with a timeout). The calls run in the stage's task, also while downstream is full. See
    /// [`calls`](crate::calls) for panics, deadlines and the end.
    pub fn map_async<F, Fut>(
        self,
        limits: impl Into<CallLimits>,
        order: Order,
        function: F,
    ) -> CallFlow<I, U, C, Infallible<F>, Unkeyed>
    where
        F: FnMut(C::Out) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Weigh + Send + 'static,
    {
        self.calls(limits.into(), order, Infallible(function), Unkeyed)
    }

    /// Like [`map_async`](Self::map_async), with calls that may refuse their record: it goes back to its source with
    /// the reason.
    pub fn try_map_async<T, F, Fut>(
        self,
        limits: impl Into<CallLimits>,
        order: Order,
        function: F,
    ) -> CallFlow<I, U, C, Fallible<F>, Unkeyed>
    where
        T: Weigh + Send + 'static,
        F: FnMut(C::Out) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Nack>> + Send + 'static,
    {
        self.calls(limits.into(), order, Fallible(function), Unkeyed)
    }

    /// Like [`map_async`](Self::map_async), but of the records with the same key only one at a time is called for, and
    /// their results keep their order. Records with different keys do not wait for each other, until as many records
    /// as `limits` allows in flight wait for their key; then no more input is taken until one of them had its turn.
    pub fn map_async_by_key<Key, G, F, Fut>(
        self,
        limits: impl Into<CallLimits>,
        key: G,
        function: F,
    ) -> CallFlow<I, U, C, Infallible<F>, ByKey<G>>
    where
        Key: Clone + Eq + Hash + Send + 'static,
        G: FnMut(&C::Out) -> Key + Send + 'static,
        F: FnMut(C::Out) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Weigh + Send + 'static,
    {
        self.calls(limits.into(), Order::Unordered, Infallible(function), ByKey(key))
    }

    /// [`map_async_by_key`](Self::map_async_by_key) with calls that may refuse their record.
    pub fn try_map_async_by_key<T, Key, G, F, Fut>(
        self,
        limits: impl Into<CallLimits>,
        key: G,
        function: F,
    ) -> CallFlow<I, U, C, Fallible<F>, ByKey<G>>
    where
        T: Weigh + Send + 'static,
        Key: Clone + Eq + Hash + Send + 'static,
        G: FnMut(&C::Out) -> Key + Send + 'static,
        F: FnMut(C::Out) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Nack>> + Send + 'static,
    {
        self.calls(limits.into(), Order::Unordered, Fallible(function), ByKey(key))
    }

    /// Makes one record of each by a call to a clone of `service`. The service is asked whether it is ready only with
    /// a record in hand, within the call's time limit. Its errors refuse the record for now; to refuse one for good,
    /// let the service answer with a `Result` and put a `try_map` behind it.
    pub fn call_service<S>(
        self,
        limits: impl Into<CallLimits>,
        order: Order,
        service: S,
    ) -> CallFlow<I, U, C, ByService<S>, Unkeyed>
    where
        S: Service<C::Out> + Clone + Send + 'static,
        S::Response: Weigh + Send + 'static,
        S::Error: Display + Send,
        S::Future: Send,
    {
        self.calls(limits.into(), order, ByService(service), Unkeyed)
    }

    fn calls<M, K>(self, limits: CallLimits, order: Order, caller: M, key_of: K) -> CallFlow<I, U, C, M, K>
    where
        M: Caller<C::Out>,
        K: KeyOf<C::Out>,
    {
        let Self { builder, stage, inlet, upstream, tail } = self;
        let mut draft = builder.lock();
        if limits.in_flight == 0 {
            let stage = draft.stage(stage).name.to_string();
            let text = "no call could ever be made with a limit of 0 in flight; allow at least 1".to_string();
            draft.errors.push(BuildError::Setting { stage, text });
        }
        let described = draft.graph.stage_mut(stage);
        described.may_drop = true;
        // Each record in flight may be the last of its batch, which takes a settle slot until it is settled. Where
        // records are called for by key, as many again may wait.
        let held = Count::new(2 * u64::from(limits.in_flight));
        described.holding += Weight { records: held, bytes: Bytes::ZERO };
        let mut transform = Then::new(upstream, tail);
        draft.stage(stage).batches_in_hand += transform.batches_in_hand() + CALLS_IN_HAND;
        drop(draft);
        let inlet = Box::new(move |launch: &StageLaunch<'_>| {
            transform.open(&launch.context());
            let tools = CallTools {
                clock: launch.times.clone(),
                due: launch.due.clone(),
                counter: launch.counter.clone(),
                account: launch.account.clone(),
                held: launch.held_account.clone(),
                most_in_hand: launch.largest_output(),
                supervision: launch.supervision.clone(),
            };
            let behind = Fused::new(inlet(launch), transform, launch.clock()).staying();
            Calls::new(behind, CallSet::new(caller, limits, order, key_of, tools))
        });
        Flow::start(builder, stage, inlet)
    }
}
