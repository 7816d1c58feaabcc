//! rivvend, the broker.

mod api;
pub mod config;
mod connection;
mod fetch_sessions;
mod groups;
mod http;
pub mod lifecycle;
mod limits;
mod memory;
mod metrics;
mod native;
mod node;
mod server;
mod task_set;
