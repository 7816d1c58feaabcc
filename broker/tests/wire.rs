//! A whole broker on real files and sockets, spoken to in raw frames.

#![allow(clippy::unwrap_used, reason = "functions that tests share")]

#[path = "wire/admin.rs"]
mod admin;
#[path = "wire/broker_configs.rs"]
mod broker_configs;
#[path = "wire/client.rs"]
mod client;
#[path = "wire/fetch.rs"]
mod fetch;
#[path = "wire/fixture.rs"]
mod fixture;
#[path = "wire/frames.rs"]
mod frames;
#[path = "wire/groups.rs"]
mod groups;
#[path = "wire/hostile.rs"]
mod hostile;
#[path = "wire/http.rs"]
mod http;
#[path = "wire/limits.rs"]
mod limits;
#[path = "wire/metrics.rs"]
mod metrics;
#[path = "wire/native/both.rs"]
mod native_both;
#[path = "wire/native/client.rs"]
mod native_client;
#[path = "wire/native/errors.rs"]
mod native_errors;
#[path = "wire/native/groups.rs"]
mod native_groups;
#[path = "wire/native/requests.rs"]
mod native_requests;
#[path = "wire/placement.rs"]
mod placement;
#[path = "wire/produce.rs"]
mod produce;
