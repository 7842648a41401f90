//! One bounded list of emptied payloads for each payload type of a pipeline, so that batches are filled into memory
//! that was used before.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tidegate_flow::{Account, Payload, Spares};

/// Emptied payloads kept for each type: as many as two edges and the stages around them have under way. Their bytes
/// are bound by the account that pays for them, [`SPARE_BATCHES`] of the largest batch.
const SPARES_KEPT: usize = 256;

/// How many of the largest batch the spares of a pipeline may weigh together.
pub(crate) const SPARE_BATCHES: u64 = 4;

/// Lists by payload type.
type Lists = Mutex<HashMap<TypeId, Box<dyn Any + Send>>>;

/// The spares of a pipeline, by payload type. Looked up when a stage is started, never on the data path.
#[derive(Clone)]
pub(crate) struct SpareLists {
    account: Account,
    lists: Arc<Lists>,
}

/// Finds the lists while a stage uses them, and does not keep them: with the last stage their bytes are given back.
#[derive(Clone)]
pub(crate) struct SpareListsHandle {
    account: Account,
    lists: Weak<Lists>,
}

impl SpareListsHandle {
    /// The lists in use, or new ones.
    pub(crate) fn find(&self) -> SpareLists {
        SpareLists { account: self.account.clone(), lists: self.lists.upgrade().unwrap_or_default() }
    }
}

impl SpareLists {
    /// No lists yet; what they keep is charged to `account`.
    pub(crate) fn new(account: Account) -> Self {
        Self { account, lists: Arc::default() }
    }

    /// A way back to them.
    pub(crate) fn handle(&self) -> SpareListsHandle {
        SpareListsHandle { account: self.account.clone(), lists: Arc::downgrade(&self.lists) }
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
