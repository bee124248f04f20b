//! The laboratory: real daemons, real web servers and real clients in network namespaces of one machine.
//!
//! `lab demo` shows a cluster at work, `lab bench` measures it, `lab namespaces` tests it, `lab chaos` and
//! `lab calm` try to break it, `lab crowd` gives it a thousand checks. Needs root; the scripts `test-scripts/demo`, `bench`, `namespaces`, `chaos`,
//! `calm` and `crowd` install what it needs and build it.
// It measures time and waits for the world: that is what these are for.
#![allow(clippy::disallowed_methods)]

mod address_watch;
mod agents;
mod bench;
mod browser;
mod busy;
mod calm;
mod chaos;
mod checks;
mod client;
mod cost;
mod crowd;
mod decision;
mod demo;
mod faults;
mod figures;
mod foreign;
mod http;
mod interrupt;
mod judge;
mod namespace;
mod packet_socket;
mod realtime;
mod recorder;
mod screen;
mod stage;
mod standstill;
mod suite;
mod systems;
mod witness;
mod world;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

/// Diehard's laboratory.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows a cluster at work, and judges it.
    Demo(demo::Options),
    /// Measures outages and cost.
    Bench(bench::Options),
    /// Tests real daemons.
    Namespaces(suite::Options),
    /// Random faults from a seed on real daemons, and a judge.
    Chaos(chaos::Options),
    /// A busy machine and lossy wires: nobody may be taken for dead.
    Calm(calm::Options),
    /// A thousand checks on one server: how punctual its heartbeat stays, and what they cost.
    Crowd(crowd::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("lab: needs root (network namespaces)");
        return ExitCode::from(2);
    }
    // The release build ends on a panic without unwinding: clean up before that.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        usual(information);
        let cleaned = namespace::destroy(&namespace::own_prefix())
            .and_then(|()| namespace::remove_directory(&namespace::own_directory()));
        if let Err(error) = cleaned {
            eprintln!("lab: while cleaning up: {error}");
        }
    }));
    let done = interrupt::listen().and_then(|()| match arguments.command {
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Namespaces(options) => suite::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Calm(options) => calm::run(&options),
        Command::Crowd(options) => crowd::run(&options),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error}");
            // As a shell has it for a program that Ctrl-C ended.
            if error == interrupt::INTERRUPTED { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

/// `100ms`, `1s`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "a number and ms or s, as 100ms".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        _ => Err("a number and ms or s, as 100ms".to_owned()),
    }
}

/// Minutes, also parts of them.
fn minutes(text: &str) -> Result<Duration, String> {
    let wrong = || "more than 0 minutes, at most a day, as 5 or 0.5".to_owned();
    let minutes: f64 = text.parse().map_err(|_| wrong())?;
    // So written, that what is no number at all is refused too.
    if minutes > 0.0 && minutes <= 1440.0 {
        Ok(Duration::from_secs_f64(minutes * 60.0))
    } else {
        Err(wrong())
    }
}

/// How many servers: more do not fit the addresses of the lab.
fn node_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (2..=32).contains(&count) => Ok(count),
        _ => Err("2 to 32".to_owned()),
    }
}

/// Another one each time.
fn clock_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}
