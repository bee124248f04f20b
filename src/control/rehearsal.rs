//! For the tests of both ends: a real server on a real socket, whose driver plays `status::samples`.

use super::checks::{Board, RunOrder};
use super::events::EventLog;
use super::scratch::Directory;
use super::server::{Desk, Patience, Request, SOCKET_NAME, Server};
use super::status::samples;
use crate::controller::View;
use crate::wire::Command;
use crossbeam_channel::{Sender, bounded};
use parking_lot::{Mutex, RwLock};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the driver does with a command.
pub type Act = Box<dyn FnMut(Command, &mut View) -> Option<Result<(), String>> + Send>;

/// A running server and its driver.
pub struct Rehearsal {
    directory: Directory,
    server: Option<Server>,
    driver: Option<JoinHandle<()>>,
    end: Option<Sender<()>>,
    /// What the server tells.
    pub events: Arc<EventLog>,
    /// What the driver shows.
    pub view: Arc<Mutex<View>>,
    /// What the driver was told.
    pub commands: Arc<Mutex<Vec<Command>>>,
    checks: Arc<Board>,
}

/// Short, so that tests of them are short.
pub const PATIENCE: Patience = Patience {
    client: Duration::from_secs(1),
    view: Duration::from_secs(1),
    command: Duration::from_secs(1),
    follow: Duration::from_millis(20),
};

impl Rehearsal {
    /// A driver that accepts every command.
    pub fn new() -> Self {
        Self::with(Box::new(|_, _| Some(Ok(()))))
    }

    /// A driver that does `act`; `None`: it never answers.
    pub fn with(act: Act) -> Self {
        Self::patient(act, PATIENCE)
    }

    /// `with` other times.
    pub fn patient(mut act: Act, patience: Patience) -> Self {
        let directory = Directory::new("control");
        let events = Arc::new(EventLog::default());
        events.name("web1");
        let view = Arc::new(Mutex::new(samples::view()));
        let checks: Arc<Board> = Arc::default();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let (asking, asked) = bounded::<Request>(4);
        let (end, ended) = bounded::<()>(0);
        let driver = thread::spawn({
            let (view, commands) = (view.clone(), commands.clone());
            move || {
                let mut unanswered = Vec::new();
                loop {
                    let request = crossbeam_channel::select! {
                        recv(asked) -> request => request,
                        recv(ended) -> _ => return,
                    };
                    match request {
                        Err(_) => return,
                        Ok(Request::View(answer)) => drop(answer.send(Box::new(view.lock().clone()))),
                        Ok(Request::Command { command, answer }) => {
                            commands.lock().push(command);
                            match act(command, &mut view.lock()) {
                                Some(result) => drop(answer.send(result)),
                                None => unanswered.push(answer),
                            }
                        }
                    }
                }
            }
        });
        let desk = Desk {
            ask: Box::new(move |request| asking.try_send(request).is_ok()),
            vitals: Box::new(Default::default),
            config: Arc::new(RwLock::new(Arc::new(samples::config()))),
            events: events.clone(),
            checks: checks.clone(),
            keeper: Box::new(|question| Err(format!("asked: {question:?}"))),
            traffic: Box::new(samples::traffic),
        };
        let server =
            Server::start_with(&directory.path, desk, patience).expect("a socket in a new directory");
        Rehearsal {
            directory,
            server: Some(server),
            driver: Some(driver),
            end: Some(end),
            events,
            view,
            commands,
            checks,
        }
    }

    /// Who runs checks when they are asked for.
    pub fn serve_checks(&self, runner: impl Fn(RunOrder) -> bool + Send + Sync + 'static) {
        self.checks.serve(runner);
    }

    /// Where to connect.
    pub fn socket(&self) -> PathBuf {
        self.directory.path.join(SOCKET_NAME)
    }

    /// The driver ends, the server goes on.
    pub fn end_driver(&mut self) {
        self.end = None;
        self.driver.take().expect("ended once").join().expect("the driver does not panic");
    }

    /// The server ends.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.stop();
    }
}
