//! A client of the web servers: single questions, and one that connects every millisecond.

use crate::interrupt;
use crate::namespace::{Outcome, run, within};
use crate::world::World;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A connection that takes longer has failed: shorter than the kernel's first resend of a SYN (1 s), so
/// that a lost one counts.
const LIMIT: Duration = Duration::from_millis(500);

/// Asks the web server at `address`; what it answers: its name.
pub fn ask(address: Ipv4Addr) -> std::io::Result<String> {
    question(&mut TcpStream::connect_timeout(&SocketAddr::from((address, 80)), LIMIT)?)
}

/// As browsers do: a connection that was opened and then reset before the whole answer had come is opened
/// once more, at once (RFC 9110, 9.2.2: a GET may be repeated). True: so it was.
///
/// The reset may come between the last packet of the handshake and this thread's waking: then already the
/// connect says ECONNRESET. (Nobody listens, or nobody is there, is ECONNREFUSED or a time-out: a failure.)
fn ask_as_browsers_do(address: Ipv4Addr) -> std::io::Result<(String, bool)> {
    match ask(address) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            Ok((ask(address)?, true))
        }
        answer => Ok((answer?, false)),
    }
}

fn question(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let wrong = || std::io::Error::other(format!("no good answer: {answer:?}"));
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(wrong());
    }
    let body = answer.split("\r\n\r\n").nth(1).ok_or_else(wrong)?;
    Ok(body.split_whitespace().next().ok_or_else(wrong)?.to_owned())
}

/// Who serves each service address, by what its web server says to the client.
pub fn servers(world: &World) -> Outcome<Vec<Result<String, String>>> {
    let addresses = world.service_addresses();
    within(&world.client(), || {
        addresses.iter().map(|address| ask(*address).map_err(|error| format!("{address}: {error}"))).collect()
    })
}

/// What `curl` on the client gets from a service, as a person would ask.
pub fn curl(world: &World, service: usize) -> Outcome<String> {
    let url = format!("http://{}/", World::service_address(service));
    let words =
        ["netns", "exec", &world.client(), "curl", "--silent", "--show-error", "--max-time", "2", &url];
    Ok(format!("curl {url} says: {}", run("ip", &words)?.trim()))
}

/// What a client that connects every millisecond saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Connections with a good answer.
    pub good: u64,
    /// Of these, connections that were open when the address moved, and were opened again.
    pub again: u64,
    /// Questions without an answer, and what the first of them said.
    pub failed: u64,
    /// The first failure.
    pub first_failure: Option<String>,
    /// The longest time from one good answer to the next.
    pub longest: Duration,
    /// Every change of who answered.
    pub servers: Vec<String>,
}

/// A client that connects to one address every millisecond, until it is asked what it saw.
pub struct Visitor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<Seen>>>,
}

impl Visitor {
    /// Starts it.
    pub fn start(world: &World, address: Ipv4Addr) -> Outcome<Visitor> {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, client) = (Arc::clone(&stop), world.client());
        let thread = std::thread::Builder::new()
            .name("visitor".to_owned())
            .spawn(move || within(&client, || visit(address, &flag)))
            .map_err(|error| format!("visitor: {error}"))?;
        Ok(Visitor { stop, thread: Some(thread) })
    }

    /// Ends it.
    pub fn finish(mut self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("the visitor has finished already")?;
        thread.join().map_err(|_| "the visitor panicked".to_owned())?
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Left early: what it saw interests nobody.
            let _ = thread.join();
        }
    }
}

fn visit(address: Ipv4Addr, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut last = None;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) && interrupt::check().is_ok() {
        let start = Instant::now();
        match ask_as_browsers_do(address) {
            Ok((server, again)) => {
                let now = Instant::now();
                seen.good += 1;
                seen.again += u64::from(again);
                seen.longest = seen.longest.max(last.map_or(Duration::ZERO, |last| now - last));
                last = Some(now);
                if seen.servers.last() != Some(&server) {
                    seen.servers.push(server);
                }
            }
            Err(error) => {
                seen.failed += 1;
                let after = start.elapsed().as_millis();
                let when = run("date", &["-u", "+%T.%3N"]).unwrap_or_default();
                let what = || format!("{error} ({address}, after {after} ms, at {})", when.trim());
                seen.first_failure.get_or_insert_with(what);
            }
        }
        next = (next + Duration::from_millis(1)).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    seen
}
