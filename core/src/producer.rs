//! Producer state: which sequences a partition has seen.
