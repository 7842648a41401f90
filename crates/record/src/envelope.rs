//! [`Envelope`]: what stands around the messages of one origin, put together once for all of them.

use std::sync::Arc;

use crate::json;
use crate::origin::Origin;

/// The text around a message, of the origin that was asked for last.
#[derive(Clone, Default)]
pub(crate) struct Envelope {
    of: Option<Arc<Origin>>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Envelope {
    /// Appends `message`, which comes from `origin`, as a JSON object.
    pub(crate) fn enclose(&mut self, message: &[u8], origin: &Arc<Origin>, out: &mut Vec<u8>) {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, origin)) {
            self.head.clear();
            self.tail.clear();
            origin.write_around_message(&mut self.head, &mut self.tail);
            self.of = Some(Arc::clone(origin));
        }
        out.extend_from_slice(&self.head);
        json::quote(message, out);
        out.extend_from_slice(&self.tail);
    }

    /// Lets go of the origin.
    pub(crate) fn forget(&mut self) {
        self.of = None;
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.head.capacity() + self.tail.capacity()
    }
}
