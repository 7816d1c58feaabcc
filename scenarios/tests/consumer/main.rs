//! Consumers of the client library against a whole broker on real files and sockets.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]

#[cfg(feature = "sim")]
mod away;
#[cfg(feature = "sim")]
mod cold;
mod fixture;
mod groups;
mod reading;
#[cfg(feature = "sim")]
mod returns;
#[cfg(feature = "sim")]
mod simulated;
