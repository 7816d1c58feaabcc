//! Topics as a machine: commands, the image they lead to, and the plans that turn a client's wish
//! into a command or a refusal.
//!
//! A single node feeds the image from its WAL, a cluster from Raft: same commands, same image.

pub mod broker_config;
pub mod command;
pub mod image;
pub mod plan;
pub mod snapshot;
pub mod topic_config;
pub mod topic_name;
