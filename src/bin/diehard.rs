//! `diehard`: everything that a person types.
use clap::Parser;
use diehard::control::arguments::{Arguments, Command};
use diehard::os::signals;
use std::process::ExitCode;

fn main() -> ExitCode {
    signals::wait_for_children();
    let arguments = Arguments::parse();
    if let Command::Simulate { options } = &arguments.command {
        return ExitCode::from(u8::try_from(diehard::simulator::command(options)).unwrap_or(1));
    }
    match &arguments.command {
        Command::Monitor { options } => diehard::monitor::serve(&arguments.socket, options),
        Command::Top => diehard::monitor::top::serve(&arguments.socket),
        _ => diehard::control::cli::serve(&arguments),
    }
}
