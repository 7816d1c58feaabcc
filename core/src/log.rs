//! One partition's log as a machine: positions, segments, indexes, retention and compaction. It
//! never does I/O.

pub mod compaction;
pub mod index;
pub mod index_file;
pub mod machine;
pub mod positions;
pub mod retention;
pub mod segment;
