//! Tests of the sink `http`.
