//! Criterion benches and end-to-end load: what the benches share.
//! `benches/` measures parts of the broker in one process, `peers/` whole brokers over sockets.

pub mod batches;
pub mod engine;
