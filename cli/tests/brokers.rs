//! The `rivven` binary against a broker on real files and sockets: what it prints, and how it ends.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the peers of the command are made by the test"
)]

#[path = "brokers/consume.rs"]
mod consume;
#[path = "brokers/failures.rs"]
mod failures;
#[path = "brokers/fixture.rs"]
mod fixture;
#[path = "brokers/groups.rs"]
mod groups;
#[path = "brokers/library.rs"]
mod library;
#[path = "brokers/produce.rs"]
mod produce;
#[path = "brokers/topics.rs"]
mod topics;
