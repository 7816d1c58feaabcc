//! Consumer groups: who is there, in which generation, with which assignment.
//!
//! A machine for each group, without clock, log or randomness. docs/design/006-groups.md draws its
//! phases and says what Kafka's clients expect of them.

pub mod machine;
mod member;
pub mod messages;
pub mod offsets;
pub mod records;
pub mod shard;

mod join;
mod leave;
mod rebalance;
mod subscription;
mod sync;
pub mod weight;

#[cfg(test)]
mod tests;
