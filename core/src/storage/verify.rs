//! Offline verification of a data directory; read-only.
