//! One bounded list of emptied payloads for each payload type of a pipeline, so that batches are filled into memory
//! that was used before.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_flow::{Account, Payload, Spares};

/// Emptied payloads kept for each type: as many as two edges and the stages around them have under way. Their bytes
/// are bound by the account that pays for them, [`SPARE_BATCHES`] of the largest batch.
const SPARES_KEPT: usize = 256;

/// How many of the largest batch the spares of a pipeline may weigh together.
pub(crate) const SPARE_BATCHES: u64 = 4;

/// The spares of a pipeline, by payload type. Looked up when a stage is started, never on the data path.
#[derive(Clone)]
pub(crate) struct SpareLists {
    account: Account,
    lists: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>,
}

impl SpareLists {
    /// No lists yet; what they keep is charged to `account`.
    pub(crate) fn new(account: Account) -> Self {
        Self { account, lists: Arc::default() }
    }

    /// Whether `account` pays for what is kept.
    pub(crate) fn are_paid_by(&self, account: &Account) -> bool {
        self.account.is(account)
    }

    /// The list of one payload type.
    pub(crate) fn of<P: Payload>(&self) -> Spares<P> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Box::new(Spares::<P>::new(self.account.clone(), SPARES_KEPT)) as Box<dyn Any + Send>;
        let list = lists.entry(TypeId::of::<P>()).or_insert_with(fresh);
        match list.downcast_ref::<Spares<P>>() {
            Some(list) => list.clone(),
            None => Spares::new(self.account.clone(), SPARES_KEPT),
        }
    }
}
