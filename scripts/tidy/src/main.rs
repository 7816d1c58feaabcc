//! Checks the house rules that a program can see.
fn main() {}
