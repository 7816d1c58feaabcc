//! Order, limits and ends of the outbox.
