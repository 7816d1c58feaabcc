//! The write-ahead log of a broker: one ring of recycled files for all partitions.

pub mod arena;
pub mod commit;
pub mod record;
pub mod replay;
pub(crate) mod rewritten;
pub mod ring;
