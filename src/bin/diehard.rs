//! `diehard`: everything that a person types.
use std::process::ExitCode;

fn main() -> ExitCode {
    diehard::control::cli::main()
}
