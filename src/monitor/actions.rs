//! `--allow-actions`: a request with the token → a command for the daemon.
//!
//! The token travels in a header that only a page of our own can set (a foreign page would have to ask first,
//! and is refused), never in a cookie: there is nothing that a browser would send by itself.

use super::door::{COMMAND_PATIENCE, Door};
use super::http::{Answer, Request};
use super::text;
use crate::control::client::Trouble;
use crate::control::protocol::Question;
use crate::os::{sched, secret};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Shortest token in bytes that is accepted: nobody guesses it over a network.
const TOKEN_MIN: usize = 16;

/// Whoever knows the token passes.
pub struct Gate {
    digest: [u8; 32],
    new_token: Option<String>,
    /// One action at a time: an impatient finger, or a guesser, does not fill the daemon's connections.
    busy: Mutex<()>,
}

/// What a page may ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Action {
    Move { service: String, node: String },
    Failback { service: String },
    Standby { node: String },
    Online { node: String },
    Freeze {},
    Thaw {},
}

impl Gate {
    /// With the token of a file, or a new one.
    ///
    /// # Errors
    /// The file cannot be read, is not private, or its token is too short.
    pub fn open(file: Option<&Path>) -> Result<Gate, String> {
        let Some(file) = file else {
            let token = new_token()?;
            return Ok(Gate { digest: digest(&token), new_token: Some(token), busy: Mutex::default() });
        };
        let what = format!("cannot use the token file {}", file.display());
        let content = secret::read_private(file).map_err(text(&what))?;
        let token = String::from_utf8_lossy(&content).trim().to_owned();
        if token.len() < TOKEN_MIN {
            return Err(format!("{what}: a token has at least {TOKEN_MIN} characters"));
        }
        Ok(Gate { digest: digest(&token), new_token: None, busy: Mutex::default() })
    }

    /// The token, if it was made here: somebody has to be told.
    pub fn new_token(&self) -> Option<&str> {
        self.new_token.as_deref()
    }

    /// By digest: how alike two tokens are does not show in the time that this takes.
    fn lets_pass(&self, token: &str) -> bool {
        digest(token) == self.digest
    }

    /// Does what the request asks for, if it may.
    pub fn act(&self, request: &Request, door: &Door) -> Answer {
        let authority = request.header("authorization").unwrap_or_default();
        let Some(token) = authority.strip_prefix("Bearer ") else {
            return Answer::text(401, "an action needs the token");
        };
        if !self.lets_pass(token) {
            return Answer::text(403, "this is not the token");
        }
        if request.header("content-type") != Some("application/json") {
            return Answer::text(415, "an action is JSON");
        }
        let question = match serde_json::from_slice::<Action>(&request.body) {
            Ok(action) => question(action),
            Err(error) => return Answer::text(400, &format!("the action is not understood: {error}")),
        };
        let Some(_alone) = self.busy.try_lock() else {
            return Answer::text(429, "another action is under way");
        };
        let asked = door.open(COMMAND_PATIENCE).and_then(|mut client| client.ask(&question));
        match asked {
            Ok(_) => Answer::text(200, "accepted"),
            Err(Trouble::Refused(why)) => Answer::text(409, &why),
            Err(Trouble::Unreachable(why)) => Answer::text(503, &why),
        }
    }
}

fn question(action: Action) -> Question {
    match action {
        Action::Move { service, node } => Question::Move { service, node },
        Action::Failback { service } => Question::Failback { service: Some(service) },
        Action::Standby { node } => Question::Standby { node },
        Action::Online { node } => Question::Online { node },
        Action::Freeze {} => Question::Freeze,
        Action::Thaw {} => Question::Thaw,
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn new_token() -> Result<String, String> {
    let half = || sched::random_u64().map_err(text("cannot make a token"));
    Ok(format!("{:016x}{:016x}", half()?, half()?))
}

#[cfg(test)]
mod tests;
