//! A whole broker in one process from one seed.
#![cfg(feature = "sim")]

pub mod client;
pub mod history;
pub mod oracles;
pub mod planted;
pub mod workload;
