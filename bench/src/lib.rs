//! Criterion benches and end-to-end load.
