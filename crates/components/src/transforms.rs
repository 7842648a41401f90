//! What happens to records on the way.
