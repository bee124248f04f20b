//! The daemon's end of the control socket: thread `control` accepts, one thread a connection answers.
//!
//! # For the daemon
//! ```text
//! let events = Arc::new(EventLog::default());
//! let (asking, asked) = crossbeam_channel::bounded(server::CONNECTIONS_MAX);
//! let server = Server::start(&run_dir, Desk {
//!     ask: Box::new(move |request| { asking.try_send(request).is_ok() && wake_the_driver() }),
//!     config: config.clone(),          // Arc<RwLock<Arc<Config>>>: the driver replaces it on reload
//!     events: events.clone(),
//!     checks: board.clone(),
//!     vitals: Box::new(move || …),     // from what the threads publish
//!     traffic: Box::new(|| …),         // the counters, without blocking
//! })?;
//! …
//! server.stop();                       // removes the socket, joins every thread
//! ```
//! The driver takes `Request`s off `asked`:
//! `Request::View(answer)` ⇒ `answer.send(Box::new(controller.view(now)))` (with its own STATUS filled in);
//! `Request::Command { command, answer }` ⇒ `Input::Command { id, command }`, and keeps `answer` under that
//! `id` until `Effect::Answer { id, result }` ⇒ `answer.send(result)`. Answer channels hold one message and
//! the asker may be gone: the driver ignores a failed `send`, it never blocks. An answer that is dropped
//! tells the client that the daemon is stopping. For every `Effect::Event` the daemon logs
//! `event_words::event_text` and pushes it with `event_words::event_fields` to the `EventLog`.
//!
//! No thread here is on the heartbeat's path: all of them are ordinary ones that may wait.

use super::checks::Board;
use super::events::EventLog;
use super::protocol::{self, Answer, Question};
use super::status::Traffic;
use super::vitals::Vitals;
use crate::config::Config;
use crate::controller::View;
use crate::wire::Command;
use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

mod check_run;
mod connection;

/// The socket's name in the run directory.
pub const SOCKET_NAME: &str = "control.sock";
/// How many clients at a time: people, the monitor, a few scripts. One more is told so and dropped.
pub const CONNECTIONS_MAX: usize = 32;

/// What the control threads ask of the driver.
#[derive(Debug)]
pub enum Request {
    /// The controller's picture, now.
    View(Sender<Box<View>>),
    /// An operator's request.
    Command {
        /// What.
        command: Command,
        /// Done (or begun), or why not.
        answer: Sender<Result<(), String>>,
    },
}

/// What the server needs of the daemon.
pub struct Desk {
    /// Hands a request to the driver, without blocking; false: the driver is gone or too busy.
    pub ask: Box<dyn Fn(Request) -> bool + Send + Sync>,
    /// The configuration in force.
    pub config: Arc<RwLock<Arc<Config>>>,
    /// What the daemon measures about itself.
    pub vitals: Box<dyn Fn() -> Vitals + Send + Sync>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// How the checks stand.
    pub checks: Arc<Board>,
    /// Answers what is asked about configurations and keys; may take seconds.
    pub keeper: Box<dyn Fn(&Question) -> Answer + Send + Sync>,
    /// What the network threads counted, now.
    pub traffic: Box<dyn Fn() -> Traffic + Send + Sync>,
}

/// The times that a server grants; `Default` is what the daemon uses.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A client that is silent so long between requests, or stops reading, is dropped.
    pub client: Duration,
    /// The driver answers a view within microseconds: one that needs longer is stuck.
    pub view: Duration,
    /// A command may have to find a controller first.
    pub command: Duration,
    /// How soon a following connection notices that its client has gone.
    pub follow: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            client: Duration::from_secs(10),
            view: Duration::from_secs(2),
            command: Duration::from_secs(10),
            follow: Duration::from_millis(500),
        }
    }
}

/// The running server. Ends with `stop`.
pub struct Server {
    path: PathBuf,
    listener: UnixStream,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    desk: Desk,
    patience: Patience,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    open: Vec<(u64, UnixStream, Option<JoinHandle<()>>)>,
    next: u64,
    stopped: bool,
}

impl Server {
    /// Binds `RUN_DIR/control.sock`, mode 0600, in the place of what an earlier life left there.
    ///
    /// # Errors
    /// The socket cannot be made (the directory is missing, not writable, its path too long) or the thread
    /// not started; the message names the path.
    pub fn start(run_dir: &Path, desk: Desk) -> io::Result<Server> {
        Self::start_with(run_dir, desk, Patience::default())
    }

    /// `start` with other times.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(run_dir: &Path, desk: Desk, patience: Patience) -> io::Result<Server> {
        let path = run_dir.join(SOCKET_NAME);
        let told = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot make the control socket {}: {error}", path.display()),
            )
        };
        let listener = bind_private(run_dir, &path).map_err(told)?;
        // A listening socket ends its `accept` when it is shut down, and std can only shut streams down.
        let end = UnixStream::from(OwnedFd::from(listener.try_clone().map_err(told)?));
        let shared = Arc::new(Shared { desk, patience, connections: Mutex::default() });
        let accepting = thread::Builder::new().name("control".into()).spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        })?;
        Ok(Server { path, listener: end, shared, accepting })
    }

    /// Removes the socket, ends all connections and joins their threads (at most the longest patience).
    pub fn stop(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::debug!("the control socket was gone already: {error}");
        }
        self.shared.desk.events.close();
        let open = {
            let mut connections = self.shared.connections.lock();
            connections.stopped = true;
            std::mem::take(&mut connections.open)
        };
        if let Err(error) = self.listener.shutdown(Shutdown::Both) {
            log::warn!("cannot end the control socket: {error}");
        }
        for (_, stream, _) in &open {
            // Fails only if the client ended it first.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in open.into_iter().filter_map(|(_, _, thread)| thread) {
            join(thread);
        }
        join(self.accepting);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        log::error!("a control thread panicked");
    }
}

/// Bound in a directory that only its owner can enter and moved to its place when its mode is right: at
/// no moment can another user connect, whatever the umask.
fn bind_private(run_dir: &Path, path: &Path) -> io::Result<UnixListener> {
    let nursery = run_dir.join(format!(".control.{}", std::process::id()));
    let _ = fs::remove_dir_all(&nursery);
    DirBuilder::new().mode(0o700).create(&nursery)?;
    let newborn = nursery.join("s");
    let bound = UnixListener::bind(&newborn).and_then(|listener| {
        fs::set_permissions(&newborn, Permissions::from_mode(0o600))?;
        fs::rename(&newborn, path)?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&nursery);
    bound
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => admit(stream, shared),
            Err(_) if shared.connections.lock().stopped => return,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                // EMFILE and the like pass; until then this thread must not spin.
                log::warn!("cannot accept on the control socket: {error}");
                thread::park_timeout(Duration::from_secs(1));
            }
        }
        if shared.connections.lock().stopped {
            return;
        }
    }
}

fn admit(stream: UnixStream, shared: &Arc<Shared>) {
    let patience = Some(shared.patience.client);
    let prepared = stream
        .set_read_timeout(patience)
        .and_then(|()| stream.set_write_timeout(patience))
        .and_then(|()| stream.try_clone());
    let Ok(twin) = prepared else { return };
    let mut connections = shared.connections.lock();
    connections.open.retain_mut(|(_, _, thread)| thread.as_ref().is_none_or(|thread| !thread.is_finished()));
    if connections.stopped {
        return;
    }
    if connections.open.len() >= CONNECTIONS_MAX {
        drop(connections);
        let refusal = format!("{CONNECTIONS_MAX} clients are connected already");
        // Fits into the empty buffer of a new socket: does not block.
        let _ = (&stream).write_all(protocol::write_answer(&Err(refusal)).as_bytes());
        return;
    }
    let number = connections.next;
    connections.next += 1;
    let spawned = thread::Builder::new().name(format!("control-{number}")).spawn({
        let shared = shared.clone();
        move || {
            connection::converse(&stream, &shared);
            // Both ends see the end at once, although the list still holds a copy until the next accept.
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    match spawned {
        Ok(thread) => connections.open.push((number, twin, Some(thread))),
        Err(error) => log::warn!("cannot start a thread for a control connection: {error}"),
    }
}

#[cfg(test)]
mod tests;
