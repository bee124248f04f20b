//! The web server: this thread accepts, one thread a connection answers. Blocking, bounded: a client costs a
//! thread with a small stack and a socket's buffer, and is dropped when it does not ask or does not read.

use super::actions::Gate;
use super::board::Board;
use super::door::Door;
use super::http::{self, Answer, Bad, Request};
use super::{metrics, stream};
use crate::os::{clock, tcp};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How many connections at a time: more pages than a team has, and its Prometheus. One more is told so.
pub const CONNECTIONS_MAX: usize = 512;
/// What the kernel keeps for a client that has not read it yet, in bytes: a picture of many nodes.
const BUFFER: usize = 64 << 10;
/// Of a connection's thread, in bytes.
const STACK: usize = 256 << 10;

const PAGE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPTS: [(&str, &str); 4] = [
    ("/page.js", include_str!("assets/page.js")),
    ("/ring.js", include_str!("assets/ring.js")),
    ("/tables.js", include_str!("assets/tables.js")),
    ("/actions.js", include_str!("assets/actions.js")),
];
const ICON: &str = include_str!("assets/icon.svg");

/// What the connections share.
pub struct House {
    /// What is shown.
    pub board: Arc<Board>,
    /// For actions.
    pub door: Arc<Door>,
    /// None: nobody may act.
    pub gate: Option<Gate>,
    /// Names by which it may be asked for.
    pub hosts: Vec<String>,
}

/// The listening thread.
pub struct Server {
    listener: TcpListener,
    house: Arc<House>,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// Nothing is accepted yet.
    pub fn new(listener: TcpListener, house: House) -> Server {
        Server { listener, house: Arc::new(house), open: Arc::default() }
    }

    /// Accepts for ever.
    pub fn run(self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                // No descriptor left, and the like: it passes, and until then this must not spin.
                Err(_) => clock::sleep_until(clock::now() + Duration::from_millis(100)),
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        if self.open.load(Ordering::Acquire) >= CONNECTIONS_MAX {
            // Fits into the empty buffer of a new socket: does not block.
            let _ = stream.set_nonblocking(true);
            let _ = http::write(&stream, &Answer::text(503, "too many connections"), true);
            return;
        }
        let place = Place::take(&self.open);
        let house = self.house.clone();
        let named = thread::Builder::new().name("web".to_owned()).stack_size(STACK);
        // If there is no thread, the connection is closed, which says it.
        let _ = named.spawn(move || {
            let _place = place;
            serve(&stream, &house);
        });
    }
}

/// One of the connections, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Place {
        open.fetch_add(1, Ordering::AcqRel);
        Place(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(stream: &TcpStream, house: &House) {
    let _ = stream.set_nodelay(true);
    // Without the bounds, the limits of writing still hold.
    let _ = tcp::bound_what_waits(stream, BUFFER, http::READING);
    let (answer, with_body) = match http::read(stream) {
        Ok(request) if !is_ours(&request, &house.hosts) => {
            (Answer::text(421, "this monitor does not go by that name; see --host"), true)
        }
        Ok(request) if request.method == "GET" && request.path == "/events" => {
            // Ends with the client.
            let _ = stream::run(stream, &house.board);
            return;
        }
        Ok(request) => (answer(&request, house), request.method != "HEAD"),
        Err(Bad::Answer(status, words)) => (Answer::text(status, words), true),
        Err(Bad::Gone) => return,
    };
    // The client may have gone.
    let _ = http::write(stream, &answer, with_body);
}

/// A foreign page can make its own name mean our address (DNS rebinding), and would be let in as ours. It
/// cannot make an address or `localhost` mean another one.
fn is_ours(request: &Request, hosts: &[String]) -> bool {
    let Some(host) = request.header("host") else { return false };
    if let Some(address) = host.strip_prefix('[') {
        return address.split_once(']').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let known = |known: &str| name.eq_ignore_ascii_case(known);
    name.parse::<IpAddr>().is_ok() || known("localhost") || hosts.iter().any(|host| known(host))
}

/// A browser says where a page came from that asks for something: only ours may.
fn comes_from_us(request: &Request) -> bool {
    let own = request.header("host").map(|host| format!("http://{host}"));
    let secure = request.header("host").map(|host| format!("https://{host}"));
    match request.header("origin") {
        // No browser.
        None => !request.headers.iter().any(|(name, _)| name == "origin"),
        Some(origin) => Some(origin) == own.as_deref() || Some(origin) == secure.as_deref(),
    }
}

fn answer(request: &Request, house: &House) -> Answer {
    let file = |kind, body: &str| Answer { status: 200, kind, body: body.as_bytes().to_vec() };
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/actions") if !comes_from_us(request) => {
            Answer::text(403, "another page may not ask for this")
        }
        ("POST", "/actions") => match &house.gate {
            Some(gate) => gate.act(request, &house.door),
            None => Answer::text(403, "this monitor only looks; see --allow-actions"),
        },
        (_, "/actions") => Answer::text(405, "actions are posted"),
        ("GET" | "HEAD", "/") => file("text/html; charset=utf-8", PAGE),
        ("GET" | "HEAD", "/style.css") => file("text/css; charset=utf-8", STYLE),
        ("GET" | "HEAD", "/icon.svg") => file("image/svg+xml", ICON),
        ("GET" | "HEAD", "/state.json") => file("application/json", &house.board.state()),
        ("GET" | "HEAD", "/metrics") => file(metrics::KIND, &metrics::text(&house.board)),
        ("GET" | "HEAD", path) => match SCRIPTS.iter().find(|(name, _)| *name == path) {
            Some((_, script)) => file("text/javascript; charset=utf-8", script),
            None => Answer::text(404, "there is no such page"),
        },
        _ => Answer::text(405, "this is only looked at"),
    }
}

#[cfg(test)]
mod tests;
