//! The wire codec: how Kafka's types, headers and frames stand in bytes, in both directions.
//!
//! The same code decodes a client's requests and encodes the broker's responses, and the other way
//! round for simulated clients. Bytes from outside never panic and never allocate more than
//! [`reader::memory_limit`] says.

pub mod api;
pub mod error_code;
pub mod frame;
pub mod header;
pub(crate) mod language;
pub mod message;
pub mod reader;
pub mod records;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod sink;
pub mod text;
pub(crate) mod wire;
