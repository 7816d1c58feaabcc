//! A whole broker in one process from one seed: scenarios become plans, plans become runs, and
//! oracles say whether a run kept every promise. Empty without the feature `sim`.
#![cfg(feature = "sim")]

pub mod app;
pub mod client;
pub mod coverage;
pub mod ensemble;
pub mod history;
pub mod launch;
mod ledger;
pub mod linear;
mod log;
pub mod oracles;
pub mod plan;
pub mod planted;
pub mod run;
pub mod scenario;
pub mod shrink;
#[cfg(test)]
mod story;
pub mod workload;
