//! The client that keeps the history: asks every address every few milliseconds and notes which server
//! answered, when it was asked and when the answer came.
//!
//! Threads as in `client` (a prober and a responder, both end when the `Recorder` is dropped). Answers
//! of one server that follow each other are one *stretch*: half an hour fits into a few kilobytes.

use crate::checks::Watcher;
use crate::client::{PORT, asking_socket, each_answer, question, respond, responders, spawn};
use crate::judge::Stretch;
use crate::namespace::Outcome;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use parking_lot::Mutex;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often each address is asked: often beside what is judged (tens of milliseconds), seldom enough
/// that the cluster and not the client is what two cores are busy with.
pub const TICK: Duration = Duration::from_millis(3);
/// A longer silence ends a stretch.
pub const SILENCE: Duration = Duration::from_millis(15);

struct Shared {
    stop: AtomicBool,
    stretches: Mutex<Vec<Vec<Stretch>>>,
}

/// The running client.
pub struct Recorder {
    shared: Arc<Shared>,
    start: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Starts to ask `addresses` from the namespace `client`; server `i` answers from `servers[i]`.
    pub fn start(client: &str, servers: &[String], addresses: &[Ipv4Addr]) -> Outcome<Recorder> {
        let (sockets, socket) = (responders(servers)?, asking_socket(client)?);
        let stretches = Mutex::new(vec![Vec::new(); addresses.len()]);
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), stretches });
        let (asking, addresses) = (Arc::clone(&shared), addresses.to_vec());
        let answering = Arc::clone(&shared);
        let start = Instant::now();
        let threads = vec![
            spawn("responder", move || respond(&sockets, &answering.stop))?,
            spawn("recorder", move || ask(&socket, &addresses, start, &asking))?,
        ];
        Ok(Recorder { shared, start, threads })
    }

    /// What all times of the history count from.
    pub fn began(&self) -> Instant {
        self.start
    }

    /// Now, in the history's time.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// What is known of each address, oldest first.
    pub fn stretches(&self) -> Vec<Vec<Stretch>> {
        self.shared.stretches.lock().clone()
    }
}

impl Watcher for Recorder {
    fn holder(&self, address: usize, age: Duration) -> Option<usize> {
        let stretches = self.shared.stretches.lock();
        let last = stretches[address].last()?;
        (self.now().saturating_sub(last.received) <= age).then_some(last.server)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn ask(socket: &UdpSocket, addresses: &[Ipv4Addr], start: Instant, shared: &Shared) {
    let mut next = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        for (index, address) in addresses.iter().enumerate() {
            // The time of sending travels with the question. One that cannot be sent has no answer.
            let sent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let _ = socket.send_to(&question(index, sent), (*address, PORT));
        }
        next = (next + TICK).max(Instant::now());
        while let Some(rest) = next.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut waiting, Some(TimeSpec::from_duration(rest)), None) {
                Ok(0) => break,
                Ok(_) => {
                    let mut stretches = shared.stretches.lock();
                    each_answer(socket, addresses, |address, sent, server| {
                        note(&mut stretches[address], server, Duration::from_nanos(sent), start.elapsed());
                    });
                }
                Err(_) => {}
            }
        }
    }
}

/// In the order of arrival: an overtaken answer is evidence as well.
fn note(stretches: &mut Vec<Stretch>, server: usize, sent: Duration, received: Duration) {
    match stretches.last_mut() {
        Some(last) if last.server == server && received.saturating_sub(last.received) <= SILENCE => {
            last.sent = last.sent.max(sent);
            last.received = received;
            last.answers += 1;
        }
        _ => stretches.push(Stretch {
            server,
            first_sent: sent,
            first_received: received,
            sent,
            received,
            answers: 1,
        }),
    }
}
