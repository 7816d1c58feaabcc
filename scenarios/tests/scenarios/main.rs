//! Every scenario over its seeds, every planted bug, and determinism; each run in a child process
//! of this very binary. `SIM_SEEDS=N` widens to N seeds in all, `SIM_SEED=N` runs one.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used, reason = "a test may panic outside its test function, too")]

mod determinism;
mod effective;
mod harness;
mod kept;
mod planted;
mod regressions;
