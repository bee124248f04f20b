//! The client: asks every watched address every millisecond, and notes who answered and when.
//!
//! Two threads, both SCHED_FIFO where permitted: the *prober* (its socket is in the client's namespace)
//! and the *responder* (a socket in every server's namespace, bound to all addresses, which answers with
//! the number of its server). Both end when the `Prober` is dropped. UDP, because a question a
//! millisecond and address is to cost the machine little: what nginx gives is asked by `http`.

use crate::checks::Watcher;
use crate::namespace::{Outcome, within};
use crate::realtime;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use parking_lot::Mutex;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the responder listens: "echo", which no server runs.
pub const PORT: u16 = 7;
/// How often a watched address is asked.
const TICK: Duration = Duration::from_millis(1);
/// An address that is not watched is asked every so many ticks: to see who holds it.
const CALM_TICKS: u64 = 10;
/// Silence up to this long is the machine's noise and not kept.
const NOISE: Duration = Duration::from_millis(2);

/// A silence between two answers for one address.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// The last good answer before it.
    pub from: Instant,
    /// The first good answer after it.
    pub to: Instant,
    /// Who gave the first answer after it.
    pub then: usize,
}

impl Gap {
    /// How long nobody answered.
    pub fn length(&self) -> Duration {
        self.to - self.from
    }
}

/// What the client knows of one address.
#[derive(Debug, Default)]
struct Track {
    watched: bool,
    last: Option<(Instant, usize)>,
    sequence: u64,
    /// Every silence to speak of, and every change of who answers, however short.
    gaps: Vec<Gap>,
    changes: Vec<(Instant, usize)>,
}

struct Shared {
    stop: AtomicBool,
    tracks: Mutex<Vec<Track>>,
}

/// The running client.
pub struct Prober {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Prober {
    /// Starts to ask `addresses` from the namespace `client`; server `i` answers from `servers[i]`.
    pub fn start(client: &str, servers: &[String], addresses: &[Ipv4Addr]) -> Outcome<Prober> {
        let responders = responders(servers)?;
        let socket = asking_socket(client)?;
        let tracks = addresses.iter().map(|_| Track { watched: true, ..Track::default() }).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), tracks: Mutex::new(tracks) });
        let asking = (Arc::clone(&shared), addresses.to_vec());
        let answering = Arc::clone(&shared);
        let threads = vec![
            spawn("responder", move || respond(&responders, &answering.stop))?,
            spawn("prober", move || ask(&socket, &asking.1, &asking.0))?,
        ];
        Ok(Prober { shared, threads })
    }

    /// From now on only these are asked every millisecond, the others every 10 ms.
    pub fn watch(&self, watched: &[usize]) {
        for (index, track) in self.shared.tracks.lock().iter_mut().enumerate() {
            track.watched = watched.contains(&index);
        }
    }

    /// Who answered for the address last, if that is less than `age` ago.
    pub fn holder(&self, address: usize, age: Duration) -> Option<usize> {
        let (at, who) = self.shared.tracks.lock()[address].last?;
        (at.elapsed() <= age).then_some(who)
    }

    /// The longest silence of the address that ended after `since`; none if there was none to speak of.
    pub fn longest_gap(&self, address: usize, since: Instant) -> Option<Gap> {
        let tracks = self.shared.tracks.lock();
        tracks[address].gaps.iter().filter(|gap| gap.to > since).max_by_key(|gap| gap.length()).copied()
    }

    /// The longest silence of the address since then after which another than `victim` answered.
    pub fn takeover(&self, address: usize, victim: usize, since: Instant) -> Option<Gap> {
        let tracks = self.shared.tracks.lock();
        let gaps = tracks[address].gaps.iter().filter(|gap| gap.to > since && gap.then != victim);
        gaps.max_by_key(|gap| gap.length()).copied()
    }

    /// Every change of who answered since then: when, and who.
    pub fn changes(&self, address: usize, since: Instant) -> Vec<(Instant, usize)> {
        let tracks = self.shared.tracks.lock();
        tracks[address].changes.iter().filter(|(at, _)| *at > since).copied().collect()
    }
}

impl Watcher for Prober {
    fn holder(&self, address: usize, age: Duration) -> Option<usize> {
        Prober::holder(self, address, age)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; there is nothing to add while we leave.
            let _ = thread.join();
        }
    }
}

/// A socket in every server's namespace, for `respond`.
pub fn responders(servers: &[String]) -> Outcome<Vec<UdpSocket>> {
    let mut responders = Vec::new();
    for server in servers {
        let socket = within(server, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)))?;
        let socket = socket.map_err(|error| format!("responder in {server}: {error}"))?;
        socket.set_nonblocking(true).map_err(|error| format!("responder: {error}"))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(|error| format!("responder: {error}"))?;
        responders.push(socket);
    }
    Ok(responders)
}

/// A socket on the client, from which `PORT` of the servers is asked.
pub fn asking_socket(client: &str) -> Outcome<UdpSocket> {
    let socket = within(client, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    let socket = socket.map_err(|error| format!("prober in {client}: {error}"))?;
    socket.set_nonblocking(true).map_err(|error| format!("prober: {error}"))?;
    Ok(socket)
}

/// A thread that is scheduled before the servers' other work.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Outcome<JoinHandle<()>> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(|| {
        realtime::prefer();
        work();
    });
    started.map_err(|error| format!("thread {name}: {error}"))
}

/// One question is: number of the address, sequence. The answer adds the number of the server.
pub fn question(address: usize, sequence: u64) -> [u8; 9] {
    let mut bytes = [0; 9];
    bytes[0] = u8::try_from(address).expect("a lab has fewer than 256 addresses");
    bytes[1..].copy_from_slice(&sequence.to_be_bytes());
    bytes
}

fn ask(socket: &UdpSocket, addresses: &[Ipv4Addr], shared: &Shared) {
    let mut next = Instant::now();
    let mut sequence = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        sequence += 1;
        let asked: Vec<usize> = {
            let tracks = shared.tracks.lock();
            let due = |index: &usize| {
                tracks[*index].watched || (sequence + *index as u64).is_multiple_of(CALM_TICKS)
            };
            (0..addresses.len()).filter(due).collect()
        };
        for index in asked {
            // A question that cannot be sent is one without an answer: that is what is measured.
            let _ = socket.send_to(&question(index, sequence), SocketAddr::from((addresses[index], PORT)));
        }
        // A prober that slept does not make up for it with a burst.
        next = (next + TICK).max(Instant::now());
        while let Some(rest) = next.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            match ppoll(&mut waiting, Some(TimeSpec::from_duration(rest)), None) {
                Ok(0) => break,
                Ok(_) => hear(socket, addresses, shared),
                Err(_) => {}
            }
        }
    }
}

fn hear(socket: &UdpSocket, addresses: &[Ipv4Addr], shared: &Shared) {
    each_answer(socket, addresses, |address, sequence, server| {
        note(&mut shared.tracks.lock()[address], Instant::now(), sequence, server);
    });
}

/// All answers that have arrived: number of the address, sequence of the question, number of the server.
pub fn each_answer(socket: &UdpSocket, addresses: &[Ipv4Addr], mut take: impl FnMut(usize, u64, usize)) {
    let mut buffer = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let address = usize::from(buffer[0]);
        // What does not come from the address that was asked is no good answer.
        if length != 10 || addresses.get(address).is_none_or(|expected| from.ip() != *expected) {
            continue;
        }
        let mut sequence = [0; 8];
        sequence.copy_from_slice(&buffer[1..9]);
        take(address, u64::from_be_bytes(sequence), usize::from(buffer[9]));
    }
}

fn note(track: &mut Track, now: Instant, sequence: u64, who: usize) {
    if sequence < track.sequence {
        return; // overtaken on the way: it says nothing about who holds the address now
    }
    track.sequence = sequence;
    if let Some((last, before)) = track.last {
        if now - last > NOISE || before != who {
            track.gaps.push(Gap { from: last, to: now, then: who });
        }
        if before != who {
            track.changes.push((now, who));
        }
    } else {
        track.changes.push((now, who));
    }
    track.last = Some((now, who));
}

/// Answers every question with the number of the server that got it, until told to stop.
pub fn respond(sockets: &[UdpSocket], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut waiting: Vec<PollFd> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        // 50 ms: how late the thread may see that it is to end.
        if !matches!(poll(&mut waiting, PollTimeout::from(50_u8)), Ok(ready) if ready > 0) {
            continue;
        }
        for (index, socket) in sockets.iter().enumerate() {
            if waiting[index].any().unwrap_or(false) {
                while answer(socket, index) {}
            }
        }
    }
}

/// Answers one question, from the very address that was asked; false if there was none.
fn answer(socket: &UdpSocket, server: usize) -> bool {
    let mut buffer = [0_u8; 64];
    let mut control = nix::cmsg_space!(nix::libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let Ok(message) = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) else {
        return false;
    };
    let (length, from) = (message.bytes, message.address);
    let asked = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
            _ => None,
        })
    });
    let (Some(from), Some(mut info)) = (from, asked) else { return true };
    info.ipi_spec_dst = info.ipi_addr;
    info.ipi_ifindex = 0;
    buffer[length.min(63)] = u8::try_from(server).expect("a lab has fewer than 256 servers");
    let parts = [IoSlice::new(&buffer[..=length.min(63)])];
    // An address that went away between question and answer makes this fail: then there is no answer.
    let _ = sendmsg(
        socket.as_raw_fd(),
        &parts,
        &[ControlMessage::Ipv4PacketInfo(&info)],
        MsgFlags::MSG_DONTWAIT,
        Some(&from),
    );
    true
}
