//! [`RecordOp`]: what is done to one record, and how such operators are composed at compile time.

use std::marker::PhantomData;

use tidegate_flow::{Batch, Items, Nack, Weigh};

/// What an operator decided about one record.
#[derive(Debug)]
pub enum Next<T> {
    /// Pass this on.
    Keep(T),
    /// Removed by intent.
    Filter,
    /// Refused, with the cause.
    Refuse(Nack),
}

/// One record in, at most one record out.
pub trait RecordOp: Send + 'static {
    /// What it takes.
    type In: Weigh + Send + 'static;
    /// What it makes of it.
    type Out: Weigh + Send + 'static;
    /// Whether [`apply`](Self::apply) always answers [`Next::Keep`], which makes the loop tighter.
    const KEEPS_ALL: bool = false;
    /// Whether it passes every batch on as it is, see [`pass_through`](Self::pass_through).
    const PASSES: bool = false;

    /// The batch itself where this passes every record on unchanged, so that no loop is needed; else the batch back.
    ///
    /// # Errors
    /// The batch, when its records must be looked at one by one.
    fn pass_through(batch: Batch<Items<Self::In>>) -> Result<Batch<Items<Self::Out>>, Batch<Items<Self::In>>> {
        Err(batch)
    }

    /// Decides about one record.
    fn apply(&mut self, record: Self::In) -> Next<Self::Out>;
}

/// Passes every record on.
pub struct Identity<T>(PhantomData<fn(T) -> T>);

impl<T> Default for Identity<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Identity<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T: Weigh + Send + 'static> RecordOp for Identity<T> {
    type In = T;
    type Out = T;
    const KEEPS_ALL: bool = true;
    const PASSES: bool = true;

    fn pass_through(batch: Batch<Items<T>>) -> Result<Batch<Items<T>>, Batch<Items<T>>> {
        Ok(batch)
    }

    fn apply(&mut self, record: T) -> Next<T> {
        Next::Keep(record)
    }
}

/// `first`, then a closure that maps.
#[derive(Clone)]
pub struct Map<C, F> {
    pub(crate) first: C,
    pub(crate) function: F,
}

impl<C: RecordOp, U: Weigh + Send + 'static, F: FnMut(C::Out) -> U + Send + 'static> RecordOp for Map<C, F> {
    type In = C::In;
    type Out = U;
    const KEEPS_ALL: bool = C::KEEPS_ALL;

    #[inline]
    fn apply(&mut self, record: C::In) -> Next<U> {
        match self.first.apply(record) {
            Next::Keep(record) => Next::Keep((self.function)(record)),
            Next::Filter => Next::Filter,
            Next::Refuse(nack) => Next::Refuse(nack),
        }
    }
}

/// `first`, then a predicate.
#[derive(Clone)]
pub struct Filter<C, F> {
    pub(crate) first: C,
    pub(crate) predicate: F,
}

impl<C: RecordOp, F: FnMut(&C::Out) -> bool + Send + 'static> RecordOp for Filter<C, F> {
    type In = C::In;
    type Out = C::Out;

    #[inline]
    fn apply(&mut self, record: C::In) -> Next<C::Out> {
        match self.first.apply(record) {
            Next::Keep(record) if (self.predicate)(&record) => Next::Keep(record),
            Next::Keep(_) => Next::Filter,
            other => other,
        }
    }
}

/// `first`, then a closure that may drop the record.
#[derive(Clone)]
pub struct FilterMap<C, F> {
    pub(crate) first: C,
    pub(crate) function: F,
}

impl<C: RecordOp, U: Weigh + Send + 'static, F: FnMut(C::Out) -> Option<U> + Send + 'static> RecordOp
    for FilterMap<C, F>
{
    type In = C::In;
    type Out = U;

    #[inline]
    fn apply(&mut self, record: C::In) -> Next<U> {
        match self.first.apply(record) {
            Next::Keep(record) => (self.function)(record).map_or(Next::Filter, Next::Keep),
            Next::Filter => Next::Filter,
            Next::Refuse(nack) => Next::Refuse(nack),
        }
    }
}

/// `first`, then a closure that may refuse the record.
#[derive(Clone)]
pub struct TryMap<C, F> {
    pub(crate) first: C,
    pub(crate) function: F,
}

impl<C: RecordOp, U: Weigh + Send + 'static, F: FnMut(C::Out) -> Result<U, Nack> + Send + 'static> RecordOp
    for TryMap<C, F>
{
    type In = C::In;
    type Out = U;

    #[inline]
    fn apply(&mut self, record: C::In) -> Next<U> {
        match self.first.apply(record) {
            Next::Keep(record) => (self.function)(record).map_or_else(Next::Refuse, Next::Keep),
            Next::Filter => Next::Filter,
            Next::Refuse(nack) => Next::Refuse(nack),
        }
    }
}
