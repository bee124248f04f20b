//! `diehard`: everything that a person types.
fn main() {}
