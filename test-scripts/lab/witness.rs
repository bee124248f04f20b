//! The witness of P1: asks the client's LAN by ARP who holds each address, and listens whether two
//! answer.
//!
//! One thread with a packet socket in the client's namespace; ends when the `Witness` is dropped. A
//! planned handover lets both answer for a moment (protocol.md, H3), so a *double* is one that lasts.

use crate::namespace::Outcome;
use crate::packet_socket::{ARP, PacketSocket};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One question to every address.
const ROUND: Duration = Duration::from_millis(10);
/// So many rounds in a row with two answers are a double: a handover takes less than two.
const LASTING: u32 = 3;
/// The client of the lab (see `World`).
const CLIENT: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 1, 0, 0x64], Ipv4Addr::new(203, 0, 113, 100));

/// Two servers answered one question, in rounds that followed each other.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The number of the address.
    pub address: usize,
    /// When the first question was asked that two answered.
    pub first: Instant,
    /// When the last one was asked.
    pub last: Instant,
    /// Hardware addresses of all that answered.
    pub stations: BTreeSet<[u8; 6]>,
}

struct Shared {
    stop: AtomicBool,
    doubles: Mutex<Vec<String>>,
    sightings: Mutex<Vec<Sighting>>,
}

/// The running witness.
pub struct Witness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Starts to ask for `addresses` from the namespace `client`.
    pub fn start(client: &str, addresses: &[Ipv4Addr]) -> Outcome<Witness> {
        let socket = PacketSocket::open(client, "eth0", ARP)?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            doubles: Mutex::new(Vec::new()),
            sightings: Mutex::new(Vec::new()),
        });
        let (of_thread, addresses) = (Arc::clone(&shared), addresses.to_vec());
        let thread = std::thread::Builder::new()
            .name("witness".to_owned())
            .spawn(move || listen(&socket, &addresses, &of_thread))
            .map_err(|error| format!("witness: {error}"))?;
        Ok(Witness { shared, thread: Some(thread) })
    }

    /// Fails if two servers have answered for one address since the last time this was asked.
    pub fn saw_no_double(&self) -> Outcome<()> {
        let doubles = std::mem::take(&mut *self.shared.doubles.lock());
        if doubles.is_empty() { Ok(()) } else { Err(doubles.join("; ")) }
    }

    /// Every moment at which two answered, however short, since the start.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.shared.sightings.lock().clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn listen(socket: &PacketSocket, addresses: &[Ipv4Addr], shared: &Shared) {
    let mut in_a_row = vec![0_u32; addresses.len()];
    while !shared.stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        for address in addresses {
            // A question that cannot be sent has no answers, and so no double.
            let _ = socket.send(&request(*address));
        }
        let mut answered = vec![BTreeSet::new(); addresses.len()];
        let end = Instant::now() + ROUND;
        let mut buffer = [0; 128];
        while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            if !matches!(ppoll(&mut waiting, Some(TimeSpec::from_duration(rest)), None), Ok(ready) if ready > 0)
            {
                break;
            }
            while let Some(frame) = socket.receive(&mut buffer) {
                if let Some((address, station)) = reply(frame)
                    && let Some(index) = addresses.iter().position(|asked| *asked == address)
                {
                    answered[index].insert(station);
                }
            }
        }
        for (index, stations) in answered.iter().enumerate() {
            if stations.len() > 1 {
                note(&mut shared.sightings.lock(), index, asked, stations);
            }
            in_a_row[index] = if stations.len() > 1 { in_a_row[index] + 1 } else { 0 };
            if in_a_row[index] == LASTING {
                let text = format!("two servers answer for {}: {stations:02x?}", addresses[index]);
                shared.doubles.lock().push(text);
            }
        }
    }
}

/// A lost answer does not part what belongs together.
fn note(sightings: &mut Vec<Sighting>, address: usize, asked: Instant, stations: &BTreeSet<[u8; 6]>) {
    let same = |sighting: &&mut Sighting| {
        sighting.address == address && asked.duration_since(sighting.last) < ROUND * 4
    };
    match sightings.iter_mut().rev().find(same) {
        Some(sighting) => {
            sighting.last = asked;
            sighting.stations.extend(stations);
        }
        None => sightings.push(Sighting { address, first: asked, last: asked, stations: stations.clone() }),
    }
}

/// Who has it? Tell the client.
fn request(address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(CLIENT.0);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT.0);
    frame.extend(CLIENT.1.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(60, 0);
    frame
}

/// Sender of a reply to the client's own question: address and hardware address. Announcements go to
/// others or to all and are none.
fn reply(frame: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let is_reply = frame.get(12..14)? == [0x08, 0x06] && frame.get(20..22)? == [0, 2];
    let to_client = frame.get(0..6)? == CLIENT.0 && frame.get(38..42)? == CLIENT.1.octets();
    let station: [u8; 6] = frame.get(22..28)?.try_into().ok()?;
    let address: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    (is_reply && to_client).then(|| (Ipv4Addr::from(address), station))
}
