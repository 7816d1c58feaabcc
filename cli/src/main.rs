//! The `rivven` command.
fn main() {}
