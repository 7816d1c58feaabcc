//! The real world: the machine's own files, sockets, clocks, entropy and threads. It decides
//! nothing and never reaches into the simulated one.

pub(crate) mod clock;
pub(crate) mod disk;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
pub(crate) mod net;
pub(crate) mod open_files;
pub(crate) mod rng;
pub(crate) mod task;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!(
    "only Linux and macOS are known to keep the durability promises of this layer; a port states \
     how its sync survives power loss"
);
