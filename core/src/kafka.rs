//! The Kafka protocol as the broker speaks it.

pub mod codec;
pub mod messages;
