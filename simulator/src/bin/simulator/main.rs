//! The `simulator` command: runs scenarios over seeds, replays one, and checks determinism.

fn main() {}
