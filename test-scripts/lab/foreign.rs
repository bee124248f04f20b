//! Packets that no member of the cluster sent: random ones, and authentic ones cut short, altered and
//! sent again, put on the wire of one server with a member's addresses as their source.

use crate::figures::Chance;
use crate::interrupt::check;
use crate::namespace::Outcome;
use crate::packet_socket::{EVERYTHING, IPV4, PacketSocket};
use crate::world::World;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// The daemons' port (design.md, section 8).
pub const PORT: u16 = 694;
/// The server that gets them (`web2`), and the one that seems to send them (`web1`).
const TARGET: usize = 1;
const SEEMING: usize = 0;

/// Sends for so long, 5,000 a second; how many packets that were.
pub fn flood(world: &World, chance: &mut Chance, length: Duration) -> Outcome<u32> {
    let number = TARGET + 1;
    let internal = PacketSocket::open(&world.switch(), &format!("i{number}"), IPV4)?;
    let external = PacketSocket::open(&world.switch(), &format!("e{number}"), IPV4)?;
    // The bridge takes a frame from its port before sockets for one protocol see it.
    let source = PacketSocket::open(&world.switch(), &format!("i{}", SEEMING + 1), EVERYTHING)?;
    let authentic = collect(&source, Duration::from_secs(1))?;
    if authentic.is_empty() {
        return Err("no packet of the seeming sender's was seen on its wire".to_owned());
    }
    let (mut sent, end) = (0, Instant::now() + length);
    while Instant::now() < end {
        check()?;
        let payload = payload(&authentic, chance);
        let inside = chance.below(2) == 0;
        let frame = frame(&payload, inside, chance.below(4) == 0);
        // A full queue loses some: enough are left.
        if (if inside { &internal } else { &external }).send(&frame).is_ok() {
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(150));
    }
    Ok(sent)
}

/// The payloads of the seeming sender's own packets.
fn collect(socket: &PacketSocket, length: Duration) -> Outcome<Vec<Vec<u8>>> {
    let (mut found, mut buffer, end) = (Vec::new(), [0; 2048], Instant::now() + length);
    while Instant::now() < end {
        check()?;
        while let Some(frame) = socket.receive(&mut buffer) {
            let from = frame.get(26..30) == Some(&World::internal_address(SEEMING).octets());
            if from && frame.get(23) == Some(&17) && frame.get(36..38) == Some(&PORT.to_be_bytes()) {
                found.push(frame[42..].to_vec());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(found)
}

fn payload(authentic: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut payload = authentic[chance.index(authentic.len())].clone();
    match chance.below(4) {
        0 => (0..chance.index(1400)).map(|_| u8::try_from(chance.below(256)).unwrap_or_default()).collect(),
        1 => {
            payload.truncate(chance.index(payload.len()));
            payload
        }
        2 => {
            let place = chance.index(payload.len());
            payload[place] ^= 1 << chance.below(8);
            payload
        }
        _ => payload,
    }
}

/// Ethernet, IPv4 (20 bytes), UDP without a checksum.
fn frame(payload: &[u8], inside: bool, broadcast: bool) -> Vec<u8> {
    let (lan, source, target) = if inside {
        (2, World::internal_address(SEEMING), World::internal_address(TARGET))
    } else {
        (1, World::external_address(SEEMING), World::external_address(TARGET))
    };
    let target = if broadcast { Ipv4Addr::from(u32::from(target) | 0xff) } else { target };
    let short = |index: usize| u8::try_from(index + 1).unwrap_or_default();
    let mut frame = if broadcast { vec![0xff; 6] } else { vec![2, 0, 0, lan, 0, short(TARGET)] };
    frame.extend([2, 0, 0, lan, 0, short(SEEMING), 0x08, 0x00]);
    let length = |header: usize| u16::try_from(payload.len() + header).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x45, 0];
    header.extend(length(28));
    header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    header.extend(source.octets());
    header.extend(target.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let check = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default();
    header[10..12].copy_from_slice(&check.to_be_bytes());
    frame.extend(header);
    frame.extend(PORT.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend(length(8));
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}
