//! A whole broker in one process from one seed.
