//! What a broker decides and stores: records, the log, the WAL, producers and topic metadata.
//! Only `storage` awaits; everything else is a pure machine or a pure function.

pub mod group;
pub mod ids;
pub mod kafka;
pub mod limits;
pub mod log;
pub mod metadata;
pub mod partitioner;
pub mod producer;
pub mod record;
pub mod storage;
pub mod wire;

// Tests of what is private share fixtures with those of what is public.
#[cfg(test)]
extern crate self as rivven_core;
