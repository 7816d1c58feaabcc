//! rivvend, the broker.
