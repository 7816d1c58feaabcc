//! rivvend, the broker.

pub mod kafka;
