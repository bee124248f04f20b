//! The daemon: arguments in, exit code out.
fn main() {}
