//! Tests of the sink `file`.
