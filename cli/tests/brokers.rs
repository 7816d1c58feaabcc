//! The `rivven` binary against a broker on real files and sockets: what it prints, and how it ends.

#[path = "brokers/failures.rs"]
mod failures;
#[path = "brokers/fixture.rs"]
mod fixture;
#[path = "brokers/groups.rs"]
mod groups;
#[path = "brokers/library.rs"]
mod library;
#[path = "brokers/topics.rs"]
mod topics;
