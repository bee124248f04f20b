//! One connection of the control socket: thread `control-N`, until the client ends it, falls silent, stops
//! reading, or the server stops. Answers come from the driver, through `Desk::ask`.

use super::{Request, Shared, check_run};
use crate::config::Config;
use crate::control::protocol::{self, Answer, Question, REQUEST_BYTES_MAX};
use crate::control::{status, why};
use crate::controller::View;
use crate::os::clock;
use crate::vocabulary::{NodeId, ServiceId};
use crate::wire::{Command, Status};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One connection, until the client ends it, falls silent or does not read.
pub(super) fn converse(stream: &UnixStream, shared: &Shared) {
    let mut lines = Lines { stream, pending: Vec::new() };
    let mut observes = false;
    loop {
        let question = match lines.next() {
            Line::Complete(line) => protocol::read_question(&line),
            Line::TooLong => {
                let error = format!("the request is longer than {REQUEST_BYTES_MAX} bytes");
                let _ = write(stream, &Err(error));
                return;
            }
            Line::End => return,
        };
        let written = match question {
            Ok(Question::Events { follow: true, since, limit }) => {
                follow(stream, shared, since.unwrap_or(0), limit.unwrap_or(usize::MAX));
                return;
            }
            Ok(question) if observes && !question.only_looks() => {
                write(stream, &Err("this connection may only look".into()))
            }
            Ok(question) => {
                observes |= question == Question::Observe;
                write(stream, &answer(shared, question))
            }
            Err(misunderstood) => write(stream, &Err(misunderstood.0)),
        };
        if written.is_err() {
            return;
        }
    }
}

fn write(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.write_all(protocol::write_answer(answer).as_bytes())
}

fn follow(stream: &UnixStream, shared: &Shared, since: u64, limit: usize) {
    let events = &shared.desk.events;
    let mut batch = events.after(since, limit);
    let mut since = since;
    let mut first = true;
    loop {
        since = batch.events.last().map_or(since, |entry| entry.sequence);
        if first || !batch.events.is_empty() {
            first = false;
            let value = serde_json::to_value(&batch).expect("a batch has string keys only");
            if write(stream, &Ok(value)).is_err() {
                return;
            }
        } else if !still_there(stream) {
            return;
        }
        match events.wait_after(since, shared.patience.follow) {
            Some(next) => batch = next,
            None => return,
        }
    }
}

/// A follower says nothing more: what arrives is its end (or nonsense).
fn still_there(mut stream: &UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).is_ok()
        && matches!(stream.read(&mut [0; 1]), Err(error) if is_timeout(&error))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

struct Lines<'a> {
    stream: &'a UnixStream,
    pending: Vec<u8>,
}

enum Line {
    Complete(Vec<u8>),
    TooLong,
    End,
}

impl Lines<'_> {
    /// The next line; each byte must follow the one before it within the client's patience, and no line is
    /// longer than `REQUEST_BYTES_MAX`: a trickling client is bounded by the product of the two.
    fn next(&mut self) -> Line {
        let mut stream = self.stream;
        let mut searched = 0;
        loop {
            let found = self.pending[searched..].iter().position(|&byte| byte == b'\n');
            if let Some(end) = found.map(|at| searched + at) {
                let rest = self.pending.split_off(end + 1);
                return Line::Complete(std::mem::replace(&mut self.pending, rest));
            }
            if self.pending.len() >= REQUEST_BYTES_MAX {
                return Line::TooLong;
            }
            // What was looked through is not looked through again: a configuration is a long line.
            searched = self.pending.len();
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) => return Line::End,
                Ok(count) => self.pending.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Line::End,
            }
        }
    }
}

fn answer(shared: &Shared, question: Question) -> Answer {
    let config = shared.desk.config.read().clone();
    let command = match question {
        Question::Status => {
            let view = view(shared)?;
            let mut status = status::status(&view, &config, &shared.desk.checks.read());
            status.traffic = (shared.desk.traffic)();
            return Ok(serde_json::to_value(status).expect("a status has string keys only"));
        }
        Question::Vitals => {
            let vitals = (shared.desk.vitals)();
            return Ok(serde_json::to_value(vitals).expect("vitals have string keys only"));
        }
        Question::Why { service } => return why(shared, &config, &service),
        Question::Events { since, limit, .. } => {
            let batch = shared.desk.events.after(since.unwrap_or(0), limit.unwrap_or(usize::MAX));
            return Ok(serde_json::to_value(batch).expect("a batch has string keys only"));
        }
        Question::Observe => return Ok(serde_json::json!({})),
        Question::Check { check } => return check_run::run(shared, &config, &check),
        Question::Move { service, node } => Command::Move {
            service: service_id(shared, &config, &service)?,
            to: node_id(shared, &config, &node)?,
        },
        Question::Failback { service: None } => Command::Failback { service: None },
        Question::Failback { service: Some(service) } => {
            Command::Failback { service: Some(service_id(shared, &config, &service)?) }
        }
        Question::Standby { node } => Command::Standby { node: node_id(shared, &config, &node)? },
        Question::Online { node } => Command::Online { node: node_id(shared, &config, &node)? },
        question @ (Question::ConfigPush { .. }
        | Question::ConfigConfirm
        | Question::ConfigRollback { .. }
        | Question::ConfigHistory
        | Question::ConfigDiff { .. }
        | Question::KeyRotate) => return (shared.desk.keeper)(&question),
        Question::Freeze => Command::Freeze,
        Question::Thaw => Command::Thaw,
    };
    let patience = shared.patience.command;
    let late = || {
        format!(
            "no answer from the cluster within {} s: is there a controller with quorum?",
            patience.as_secs()
        )
    };
    ask(shared, |answer| Request::Command { command, answer }, patience, late)?
        .map(|()| serde_json::json!({}))
}

fn why(shared: &Shared, config: &Config, service: &str) -> Answer {
    let id = service_id(shared, config, service)?;
    let (view, lines) = (view(shared)?, shared.desk.checks.read());
    let why = why::why(&view, config, &lines, id, clock::wall());
    let why = why.ok_or_else(|| format!("there is no service {service}"))?;
    Ok(serde_json::to_value(why).expect("it has string keys only"))
}

fn view(shared: &Shared) -> Result<Box<View>, String> {
    let late = || "the daemon is running but its driver does not answer".to_owned();
    ask(shared, Request::View, shared.patience.view, late)
}

fn ask<T>(
    shared: &Shared,
    request: impl FnOnce(Sender<T>) -> Request,
    patience: Duration,
    late: impl FnOnce() -> String,
) -> Result<T, String> {
    let (answer, answered) = bounded(1);
    if !(shared.desk.ask)(request(answer)) {
        return Err("the daemon is too busy or stopping: try again".into());
    }
    answered.recv_timeout(patience).map_err(|error| match error {
        RecvTimeoutError::Timeout => late(),
        RecvTimeoutError::Disconnected => "the daemon is stopping".into(),
    })
}

/// Names are the configuration's, or those that unknown nodes give themselves in their STATUS.
fn node_id(shared: &Shared, config: &Config, name: &str) -> Result<NodeId, String> {
    if let Some(node) = config.node_named(name) {
        return Ok(node.id);
    }
    let view = view(shared)?;
    let named = |status: &Status| status.name == name;
    let found = view.nodes.iter().find(|node| node.status.as_ref().is_some_and(named));
    found.map(|node| node.id).ok_or_else(|| format!("there is no node {name}"))
}

fn service_id(shared: &Shared, config: &Config, name: &str) -> Result<ServiceId, String> {
    if let Some(service) = config.service_named(name) {
        return Ok(service.id);
    }
    // A service of a node that is in nobody's file: its identity comes from its name.
    let id = ServiceId::of(name);
    let view = view(shared)?;
    let known = view.services.iter().any(|service| service.id == id);
    if known { Ok(id) } else { Err(format!("there is no service {name}")) }
}
