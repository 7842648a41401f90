//! Tests of the sink `socket`.
