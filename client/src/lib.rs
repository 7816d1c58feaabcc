//! A client of brokers that speak the Kafka protocol: connections, metadata, administration.
//!
//! It runs on an [`rivven_io::Env`], so on a real machine and in the simulator alike. Every future
//! may be dropped at any time: a request that has been sent is then answered to nobody.

pub mod admin;
pub mod assignor;
mod backoff;
pub mod client;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod image;
pub mod producer;
pub mod watch;

pub use client::{Client, Lane, Target};
pub use config::ClientConfig;
pub use consumer::Consumer;
pub use consumer::config::ConsumerConfig;
pub use error::Error;
pub use producer::{Producer, ProducerConfig, ProducerRecord};
