//! The daemon's life: configuration → background → threads → signals → orderly end.
//!
//! `run` is called by `bin/diehardd.rs` in the process's first and only thread, which becomes the thread
//! that waits for signals. HUP: reload. TERM, INT: leave in order, a second one: at once. USR1: the whole
//! picture into the log.
//!
//! Exit codes: 0 fine, 1 failure, 2 usage or configuration.

use crate::config::{self, Config};
use crate::control::arguments::DaemonArguments;
use crate::os::daemonise::{PidFile, Readiness, Side, daemonise};
use crate::os::{clock, sched, secret};
use crate::threads::driver::Told;
use crate::threads::log_writer::{LogWriter, Sink};
use crate::vocabulary::NodeId;
use crate::wire::Key;
use log::LevelFilter;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

mod reload;
mod signals;
mod wiring;
use signals::Signals;
use wiring::Running;

const FAILURE: u8 = 1;
const WRONG: u8 = 2;
/// A heartbeat faster than this needs real-time scheduling (protocol.md, L8).
const FASTEST_WITHOUT_REALTIME: Duration = Duration::from_millis(200);

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
    key: Key,
}

/// Runs until it is told to end, or in the foreground checks and returns.
pub fn run(mut arguments: DaemonArguments) -> ExitCode {
    sched::one_arena();
    if let Err(error) = make_absolute(&mut arguments) {
        return tell(&Refusal::failure(format!("the working directory: {error}")));
    }
    let (config, warnings) = match read(&arguments.config) {
        Ok(read) => read,
        Err(refusal) => return tell(&refusal),
    };
    if arguments.check {
        return check(&arguments, &config, &warnings);
    }
    let plan = match plan(arguments, config, warnings) {
        Ok(plan) => plan,
        Err(refusal) => return tell(&refusal),
    };
    if plan.arguments.foreground {
        return match live(&plan, Readiness::foreground()) {
            Ok(()) => ExitCode::SUCCESS,
            Err((_, refusal)) => tell(&refusal),
        };
    }
    match daemonise() {
        Ok(Side::Started(code)) => ExitCode::from(code),
        Ok(Side::Daemon(readiness)) => match live(&plan, readiness) {
            Ok(()) => ExitCode::SUCCESS,
            Err((readiness, refusal)) => {
                readiness.failed(refusal.code, &refusal.text);
                ExitCode::from(refusal.code)
            }
        },
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

fn check(arguments: &DaemonArguments, config: &Config, warnings: &[String]) -> ExitCode {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if arguments.verbose {
        print!("{}", config::print(config));
    } else {
        println!("{}: the configuration is right", arguments.config.display());
    }
    ExitCode::SUCCESS
}

fn plan(arguments: DaemonArguments, config: Config, warnings: Vec<String>) -> Result<Plan, Refusal> {
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
    let me = node.id;
    let file = &config.cluster.key_file;
    let told =
        |error: &dyn std::fmt::Display| Refusal::wrong(format!("key_file {}: {error}", file.display()));
    let secret = secret::read_private(file).map_err(|error| told(&error))?;
    let key = Key::new(&secret, &config.cluster.name).map_err(|error| told(&error))?;
    Ok(Plan { arguments, config: Arc::new(config), warnings, me, key })
}

/// From here on in the process that stays.
fn live(plan: &Plan, readiness: Readiness) -> Result<(), (Readiness, Refusal)> {
    let arguments = &plan.arguments;
    let level = if arguments.verbose { LevelFilter::Debug } else { LevelFilter::Info };
    let sink = if arguments.foreground { Sink::StandardError } else { Sink::Syslog };
    let log = match LogWriter::start(sink, level) {
        Ok(log) => log,
        Err(error) => return Err((readiness, Refusal::failure(format!("cannot log: {error}")))),
    };
    let born = born(plan);
    let (pid_file, signals, running) = match born {
        Ok(born) => born,
        Err(refusal) => {
            log::error!("{}", refusal.text);
            log.stop();
            return Err((readiness, refusal));
        }
    };
    readiness.ready();
    wait(plan, &signals, &running);
    running.end();
    log::info!("ended");
    drop(pid_file);
    log.stop();
    Ok(())
}

/// Everything that can fail.
fn born(plan: &Plan) -> Result<(PidFile, Signals, Running), Refusal> {
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    let failed = |what: &str, error: &dyn std::fmt::Display| Refusal::failure(format!("{what}: {error}"));
    let signals = Signals::register().map_err(|error| failed("cannot wait for signals", &error))?;
    for (directory, mode) in [(&plan.arguments.run_dir, 0o755), (&plan.arguments.state_dir, 0o700)] {
        let made = DirBuilder::new().recursive(true).mode(mode).create(directory);
        made.map_err(|error| failed(&directory.display().to_string(), &error))?;
    }
    let pid_path: PathBuf = plan.arguments.run_dir.join("diehardd.pid");
    let pid_file =
        PidFile::claim(&pid_path).map_err(|error| failed(&pid_path.display().to_string(), &error))?;
    if let Err(error) = sched::lock_memory() {
        log::warn!("the heartbeat may wait for memory: cannot lock it: {error}");
    }
    may_be_fast(&plan.config)?;
    let running = Running::start(plan, signals.bell()).map_err(Refusal::failure)?;
    Ok((pid_file, signals, running))
}

/// L8: the margin must exceed what the scheduler does.
fn may_be_fast(config: &Config) -> Result<(), Refusal> {
    let tried = sched::realtime(1).and_then(|()| sched::ordinary());
    let interval = config.cluster.hello_interval;
    match tried {
        Err(error) if interval < FASTEST_WITHOUT_REALTIME && !config.cluster.force_interval => {
            let text = format!(
                "hello_interval = {} ms needs real-time priority, which this machine refuses ({error}): \
                 take {} ms or more, or force_interval = yes",
                interval.as_millis(),
                FASTEST_WITHOUT_REALTIME.as_millis(),
            );
            Err(Refusal::failure(text))
        }
        _ => Ok(()),
    }
}

/// Until the orderly leave is complete, or its time is over, or somebody insists.
fn wait(plan: &Plan, signals: &Signals, running: &Running) {
    let mut leave_until = None;
    loop {
        signals.wait_until(leave_until);
        if signals.wants_picture() {
            running.tell(Told::Dump);
        }
        if signals.wants_reload() {
            reload::reload(plan, running);
        }
        if running.has_left() {
            return;
        }
        match (signals.wants_end(), leave_until) {
            (true, None) => {
                let patience = running.config().cluster.stop_timeout;
                log::info!("asked to end: leaving in order, at most {} ms", patience.as_millis());
                leave_until = Some(clock::now() + patience);
                running.tell(Told::Happened(Box::new(crate::controller::Input::Stop)));
            }
            (true, Some(_)) => {
                return log::warn!("asked to end again: not waiting for the rest to be handed over");
            }
            (false, Some(until)) if clock::now() >= until => {
                return log::warn!("not everything was handed over in time: ending all the same");
            }
            (false, _) => {}
        }
    }
}
