//! The daemon's life: configuration → background → guardian → worker: threads → orderly end.
//!
//! `run` is called by `bin/diehardd.rs` in the process's first and only thread, which becomes the guardian
//! (`guardian`); the copy that it makes of itself becomes the worker (`worker`). Signals are for the
//! guardian: HUP: reload. TERM, INT: leave in order, a second one: at once. USR1: the whole picture into
//! the log.
//!
//! Exit codes: 0 fine, 1 failure, 2 usage or configuration.

use crate::config::{self, Config};
use crate::control::arguments::DaemonArguments;
use crate::os::daemonise::{Readiness, Side, daemonise};
use crate::os::{sched, secret, signals};
use crate::vocabulary::NodeId;
use crate::wire::Keyring;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

mod bond;
mod guardian;
mod keeping;
mod reload;
mod wiring;
mod worker;

const FAILURE: u8 = 1;
const WRONG: u8 = 2;

/// Why the daemon does not run: exit code and what to tell.
#[derive(Debug)]
struct Refusal {
    code: u8,
    text: String,
}

impl Refusal {
    fn failure(text: impl Into<String>) -> Self {
        Refusal { code: FAILURE, text: text.into() }
    }

    fn wrong(text: impl Into<String>) -> Self {
        Refusal { code: WRONG, text: text.into() }
    }
}

/// What is known before anything is touched.
struct Plan {
    arguments: DaemonArguments,
    config: Arc<Config>,
    warnings: Vec<String>,
    me: NodeId,
    keys: Keyring,
}

/// Runs until it is told to end, or in the foreground checks and returns.
pub fn run(mut arguments: DaemonArguments) -> ExitCode {
    signals::wait_for_children();
    sched::one_arena();
    if let Err(error) = make_absolute(&mut arguments) {
        return tell(&Refusal::failure(format!("the working directory: {error}")));
    }
    let (config, warnings) = match read(&arguments.config) {
        Ok(read) => read,
        Err(refusal) => return tell(&refusal),
    };
    if arguments.check {
        return check(&arguments, &config, warnings).unwrap_or_else(|refusal| tell(&refusal));
    }
    let plan = match plan(arguments, config, warnings) {
        Ok(plan) => plan,
        Err(refusal) => return tell(&refusal),
    };
    if plan.arguments.foreground {
        return guardian::guard(plan, Readiness::foreground());
    }
    match daemonise() {
        Ok(Side::Started(code)) => ExitCode::from(code),
        Ok(Side::Daemon(readiness)) => guardian::guard(plan, readiness),
        Err(error) => tell(&Refusal::failure(format!("cannot go into the background: {error}"))),
    }
}

fn tell(refusal: &Refusal) -> ExitCode {
    eprintln!("diehardd: {}", refusal.text);
    ExitCode::from(refusal.code)
}

/// The daemon's working directory is `/`.
fn make_absolute(arguments: &mut DaemonArguments) -> std::io::Result<()> {
    for path in [&mut arguments.config, &mut arguments.run_dir, &mut arguments.state_dir] {
        *path = std::path::absolute(&*path)?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<(Config, Vec<String>), Refusal> {
    let name = file.display().to_string();
    let bytes =
        std::fs::read(file).map_err(|error| Refusal::wrong(format!("cannot read {name}: {error}")))?;
    match config::parse(&name, &bytes) {
        Ok(parsed) => Ok((parsed.config, parsed.warnings.iter().map(ToString::to_string).collect())),
        Err(problems) => {
            let count = problems.len();
            let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.insert(
                0,
                format!("{count} error{} in the configuration:", if count == 1 { "" } else { "s" }),
            );
            Err(Refusal::wrong(lines.join("\n")))
        }
    }
}

/// The file; and for a node that is named what a start would want of it beside that.
fn check(
    arguments: &DaemonArguments,
    config: &Config,
    mut warnings: Vec<String>,
) -> Result<ExitCode, Refusal> {
    let start =
        this_node(arguments, config).map(drop).and_then(|()| keys(config).map(drop).map_err(Refusal::wrong));
    match start {
        Err(refusal) if arguments.node.is_some() => return Err(refusal),
        Err(refusal) => warnings.push(format!("here it would not start: {}", refusal.text)),
        Ok(()) => {}
    }
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if arguments.verbose {
        print!("{}", config::print(config));
    } else {
        println!("{}: the configuration is right", arguments.config.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(arguments: DaemonArguments, config: Config, warnings: Vec<String>) -> Result<Plan, Refusal> {
    let me = this_node(&arguments, &config)?;
    let keys = keys(&config).map_err(Refusal::wrong)?;
    Ok(Plan { arguments, config: Arc::new(config), warnings, me, keys })
}

fn this_node(arguments: &DaemonArguments, config: &Config) -> Result<NodeId, Refusal> {
    let name = match &arguments.node {
        Some(name) => name.clone(),
        None => sched::host_name().map_err(|error| Refusal::failure(format!("the host's name: {error}")))?,
    };
    let Some(node) = config.node_named(&name) else {
        let known: Vec<&str> = config.nodes.iter().map(|node| node.name.as_str()).collect();
        let file = arguments.config.display();
        let text = format!("{file} has no [node {name}] (but {}); -n names this node", known.join(", "));
        return Err(Refusal::wrong(text));
    };
    Ok(node.id)
}

/// What the key file holds now.
fn keys(config: &Config) -> Result<Keyring, String> {
    let file = &config.cluster.key_file;
    let told = |error: &dyn std::fmt::Display| format!("key_file {}: {error}", file.display());
    let content = secret::read_private(file).map_err(|error| told(&error))?;
    Keyring::read(&content, &config.cluster.name).map_err(|error| told(&error))
}
