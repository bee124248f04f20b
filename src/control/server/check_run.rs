//! `diehard check run NAME`: one run of a check, now, beside its schedule. Called by a connection's thread, which waits for
//! the run as long as its timeout allows.

use super::Shared;
use crate::config::Config;
use crate::control::check_words::concerned;
use crate::control::protocol::Answer;
use crate::control::status::check_word;
use crate::recovery::Finding;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde_json::json;
use std::time::Duration;

/// Beyond the check's own timeout: other runs may be before it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How soon the end of the daemon is noticed.
const LOOK: Duration = Duration::from_millis(200);

type Found = Result<(Finding, Duration), String>;

pub(super) fn run(shared: &Shared, config: &Config, name: &str) -> Answer {
    let Some(check) = config.checks.iter().find(|check| check.name == name) else {
        return Err(format!("there is no check {name}"));
    };
    let answered = shared.desk.checks.run(name);
    let answered = answered.ok_or("the daemon is too busy with its checks or stopping: try again")?;
    let within = check.timeout + PATIENCE;
    let (finding, took) = wait(shared, &answered, within, name)??;
    Ok(json!({
        "check": name,
        "of": concerned(config, check),
        "type": check_word(check.kind),
        "target": check.target,
        "well": finding.well,
        "warning": finding.warning,
        "message": finding.message,
        "performance": finding.performance,
        "took_ms": took.as_secs_f64() * 1000.0,
        "counted": false,
    }))
}

fn wait(shared: &Shared, answered: &Receiver<Found>, within: Duration, name: &str) -> Result<Found, String> {
    let mut waited = Duration::ZERO;
    while waited < within {
        match answered.recv_timeout(LOOK) {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Timeout) if !shared.connections.lock().stopped => waited += LOOK,
            Err(_) => return Err("the daemon is stopping".to_owned()),
        }
    }
    Err(format!("check {name} was not run within {} s: others that hang are before it", within.as_secs()))
}
