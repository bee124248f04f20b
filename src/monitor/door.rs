//! How the monitor gets its connections to the daemon, whose socket is root's alone.
//!
//! Started by root it is two processes. The first keeps its rights and does one thing: asked by the other, it
//! opens the control socket, tells the daemon that this connection only looks (unless actions are allowed),
//! and hands it over; so it can do so again when the daemon comes back, and whoever takes over the half that
//! meets the world can look, and no more. It ends when the other does. Started by somebody else, the monitor
//! opens the socket itself, if it may.

use crate::control::client::{Client, Trouble};
use crate::control::protocol::Question;
use crate::os::passing;
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the daemon may take to answer a question that it answers within a millisecond: beyond that
/// the page says that it does not answer.
pub const LOOK_PATIENCE: Duration = Duration::from_millis(1500);
/// A command may have to find a controller first, for which the daemon takes 10 s.
pub const COMMAND_PATIENCE: Duration = Duration::from_secs(12);

/// Opens connections.
pub struct Door {
    socket: PathBuf,
    way: Way,
}

enum Way {
    Own { may_command: bool },
    Beside(Mutex<UnixStream>),
}

impl Door {
    /// With this process's own rights.
    pub fn own(socket: &Path, may_command: bool) -> Door {
        Door { socket: socket.to_owned(), way: Way::Own { may_command } }
    }

    /// Through the process at the other end, which runs `usher`.
    pub fn beside(socket: &Path, usher: UnixStream) -> Door {
        Door { socket: socket.to_owned(), way: Way::Beside(Mutex::new(usher)) }
    }

    /// A new connection, whose answers are waited for so long.
    ///
    /// # Errors
    /// As `Client::connect`.
    pub fn open(&self, patience: Duration) -> Result<Client, Trouble> {
        match &self.way {
            Way::Own { may_command } => connect(&self.socket, *may_command, patience),
            Way::Beside(usher) => {
                let mut usher = usher.lock();
                let gone = |_| Trouble::Unreachable("the monitor's other process has ended".to_owned());
                usher.write_all(&[0]).map_err(gone)?;
                let (words, descriptor) = passing::receive(&usher).map_err(gone)?;
                match descriptor {
                    Some(descriptor) => Client::adopt(&self.socket, descriptor.into(), patience),
                    None => Err(Trouble::Unreachable(String::from_utf8_lossy(&words).into_owned())),
                }
            }
        }
    }
}

fn connect(socket: &Path, may_command: bool, patience: Duration) -> Result<Client, Trouble> {
    let mut client = Client::connect_for(socket, patience)?;
    if !may_command {
        client.ask(&Question::Observe)?;
    }
    Ok(client)
}

/// The privileged half: a connection for each byte, until the other half is gone.
pub fn usher(socket: &Path, may_command: bool, mut other: &UnixStream) {
    while matches!(other.read(&mut [0; 1]), Ok(1)) {
        let sent = match connect(socket, may_command, LOOK_PATIENCE) {
            Ok(client) => passing::send(other, b"here", Some(client.into_stream().as_fd())),
            Err(trouble) => passing::send(other, trouble.to_string().as_bytes(), None),
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::rehearsal::Rehearsal;
    use std::thread;

    #[test]
    fn the_privileged_half_opens_connections_that_only_look_again_and_again() {
        let mut rehearsal = Rehearsal::new();
        let socket = rehearsal.socket();
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let ushering = thread::spawn({
            let socket = socket.clone();
            move || usher(&socket, false, &ours)
        });
        let door = Door::beside(&socket, theirs);
        for _ in 0..2 {
            let mut client = door.open(LOOK_PATIENCE).expect("a connection");
            assert_eq!(client.status().expect("a status").cluster, "www");
            let refused = client.ask(&Question::Freeze).expect_err("refused");
            assert_eq!(refused.to_string(), "this connection may only look");
        }
        rehearsal.stop();
        let trouble = door.open(LOOK_PATIENCE).expect_err("no daemon").to_string();
        assert!(trouble.contains("it does not exist: start the daemon"), "{trouble}");
        drop(door);
        ushering.join().expect("it ends with the other half");
    }

    #[test]
    fn who_allows_actions_gets_connections_that_may_command() {
        let rehearsal = Rehearsal::new();
        let door = Door::own(&rehearsal.socket(), true);
        door.open(COMMAND_PATIENCE).expect("a connection").ask(&Question::Freeze).expect("accepted");
        let door = Door::own(&rehearsal.socket(), false);
        door.open(LOOK_PATIENCE).expect("a connection").ask(&Question::Freeze).expect_err("refused");
        assert_eq!(rehearsal.commands.lock().len(), 1);
    }
}
