//! Kafka record batch v2 as the one record format: on the wire, in the log and in the tiers.
//!
//! Nothing here decompresses on the produce path, and nothing here copies a record there.

pub mod batches;
pub mod builder;
pub mod compression;
pub mod header;
pub mod records;
pub mod refusal;
pub mod timestamp;
pub mod unpacked;
pub mod validate;
pub(crate) mod varint;
