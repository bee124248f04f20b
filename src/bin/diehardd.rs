//! `diehardd`: arguments → daemon → exit code.
use clap::Parser;
use diehard::control::arguments::DaemonArguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    diehard::daemon::run(DaemonArguments::parse())
}
