//! The one layer that touches disk, network, clock, randomness and threads, in two worlds.
//! Callers hold an [`Env`] per node and never learn which world they run in.

#[cfg(all(feature = "sim", not(madsim)))]
compile_error!(
    "the `sim` feature needs the cfg `madsim`, which .cargo/config.toml sets; a RUSTFLAGS \
     variable in the environment replaces that file's flags: unset it or add `--cfg madsim` to it"
);

pub mod clock;
pub mod disk;
mod env;
pub mod net;
pub mod planted;
pub mod probe;
mod real;
pub mod rng;
#[cfg(feature = "sim")]
pub mod sim;
pub mod task;

pub use env::Env;
