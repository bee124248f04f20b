//! Two threads that ask the daemon: `status`, again and again and at once after every event, and `events`,
//! which waits for them. Each holds one connection, opens another when it is lost, and ends with the process.

use super::board::Board;
use super::door::{Door, LOOK_PATIENCE};
use crate::control::client::Trouble;
use crate::control::events::Batch;
use crate::control::protocol::Question;
use crate::control::status::Status;
use crate::os::clock;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Between two questions while somebody looks: not everything that changes is an event.
const WATCHED: Duration = Duration::from_millis(100);
/// And while nobody does.
const UNWATCHED: Duration = Duration::from_secs(1);
/// Between two attempts to reach a daemon that is not there.
const RETRY: Duration = Duration::from_millis(500);
/// After the news of an event: it may come in a bundle, and nobody sees the difference.
const SETTLE: Duration = Duration::from_millis(5);
/// How many old events are asked for at first: what is kept.
const EVENTS_AT_FIRST: usize = super::board::EVENTS_MAX;

/// Starts both.
///
/// # Errors
/// No thread can be started.
pub fn start(door: &Arc<Door>, board: &Arc<Board>) -> io::Result<()> {
    // One place: many reasons to ask at once are one.
    let (poke, poked) = bounded(1);
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let (its_door, its_board) = (door.clone(), board.clone());
    named("status").spawn(move || watch(&its_door, &its_board, &poked))?;
    let (its_door, its_board) = (door.clone(), board.clone());
    named("events").spawn(move || follow(&its_door, &its_board, &poke))?;
    Ok(())
}

fn watch(door: &Door, board: &Board, poked: &Receiver<()>) {
    loop {
        if let Err(trouble) = watch_once(door, board, poked) {
            board.lost(trouble.to_string());
        }
        clock::sleep_until(clock::now() + RETRY);
    }
}

fn watch_once(door: &Door, board: &Board, poked: &Receiver<()>) -> Result<(), Trouble> {
    let mut client = door.open(LOOK_PATIENCE)?;
    loop {
        let raw: Value = client.ask(&Question::Status)?;
        let understood = serde_json::from_value::<Status>(raw.clone());
        let status = understood.map_err(|error| {
            Trouble::Unreachable(format!("the daemon's status is not understood ({error}): another version?"))
        })?;
        board.answered(status, raw);
        let patience = if board.viewers() > 0 { WATCHED } else { UNWATCHED };
        if poked.recv_timeout(patience).is_ok() {
            clock::sleep_until(clock::now() + SETTLE);
        }
    }
}

fn follow(door: &Door, board: &Board, poke: &Sender<()>) {
    let mut count = false;
    loop {
        // The other thread says what is wrong.
        let _ = follow_once(door, board, poke, &mut count);
        clock::sleep_until(clock::now() + RETRY);
    }
}

fn follow_once(door: &Door, board: &Board, poke: &Sender<()>, count: &mut bool) -> Result<(), Trouble> {
    let mut client = door.open(LOOK_PATIENCE)?;
    let question = Question::Events { follow: true, since: None, limit: Some(EVENTS_AT_FIRST) };
    let mut value = client.ask(&question)?;
    loop {
        let batch: Batch = serde_json::from_value(value).map_err(|error| {
            Trouble::Unreachable(format!("the daemon's events are not understood: {error}"))
        })?;
        if board.happened(batch.events, *count) {
            // Full: it is about to ask anyway.
            let _ = poke.try_send(());
        }
        // Of what was there before the monitor was, nothing is counted.
        *count = true;
        value = client.listen()?;
    }
}

#[cfg(test)]
mod tests;
