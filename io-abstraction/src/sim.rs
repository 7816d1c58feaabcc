//! The simulated world: disks, network, clocks, tasks and randomness from one seed, on madsim's
//! executor and virtual time. It never touches the machine's own disk, network, clock or entropy.
//!
//! A run is a function of its seed in a fresh process: each concern draws from a stream of its own
//! (`rng::stream`), so that taking one fault out of a plan leaves every other draw as it was, and
//! every event goes through [`trace`], whose final hash is the fingerprint of the run.

pub mod clock;
mod core;
mod cpu;
pub mod disk;
mod exclusive;
pub mod host;
mod incarnation;
pub mod net;
pub mod node;
pub mod rng;
pub mod task;
#[cfg(test)]
mod tests;
mod timer;
pub mod trace;
mod world;

pub use node::{Resources, SimNode};
pub use world::{NodePanic, World};
