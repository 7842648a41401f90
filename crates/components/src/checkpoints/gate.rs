//! [`Gate`]: holds the first input of a step until what was saved has been read.

use std::task::{Context, Poll};

use tidegate_flow::Batch;
use tidegate_runtime::Step;
use tidegate_runtime::checkpoint::Keeper;
use tidegate_runtime::stage::Ended;

use crate::Rows;

/// Before a step whose state may have to be read first. Without a keeper it is always open.
#[derive(Default)]
pub(crate) struct Gate {
    keeper: Option<Keeper>,
    held: Option<Batch<Rows>>,
    is_open: bool,
}

impl Gate {
    pub(crate) fn of(keeper: Keeper) -> Self {
        Self { keeper: Some(keeper), held: None, is_open: false }
    }

    /// Holds an input, until the next call of [`pass`](Self::pass) that gives it.
    pub(crate) fn hold(&mut self, input: Batch<Rows>) {
        self.held = Some(input);
    }

    /// The input, once the state is there. `None`: there was none.
    ///
    /// # Errors
    /// What the step has to answer instead.
    pub(crate) fn pass(&mut self) -> Result<Option<Batch<Rows>>, Step> {
        if self.held.is_none() || self.is_open()? { Ok(self.held.take()) } else { Err(Step::Side) }
    }

    /// Whether the state is there.
    ///
    /// # Errors
    /// What the step has to answer, as it never will be.
    fn is_open(&mut self) -> Result<bool, Step> {
        if let Some(keeper) = self.keeper.as_ref().filter(|_| !self.is_open) {
            self.is_open = keeper.is_open().map_err(Step::Fail)?;
            return Ok(self.is_open);
        }
        Ok(true)
    }

    /// Whether an input waits here.
    pub(crate) const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Completes when the input may pass.
    pub(crate) fn poll_side(&self, task: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        match &self.keeper {
            Some(keeper) if self.held.is_some() && !self.is_open => keeper.poll_open(task).map_err(Ended::Failed),
            _ => Poll::Ready(Ok(())),
        }
    }
}
