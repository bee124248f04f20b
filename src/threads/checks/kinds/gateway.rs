//! `gateway`: does it answer an echo, or ARP on the external card? One of the two suffices: many gateways are told
//! not to answer an echo, and a card without an address of its own cannot send one.

use super::no_answer;
use crate::os::clock;
use crate::os::doorbell;
use crate::os::echo::Echo;
use crate::os::errors::why;
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::os::sched;
use crate::recovery::Finding;
use crate::vocabulary::Instant;
use crate::wire::ArpFrame;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::time::Duration;

/// Both questions again this often within the timeout: one lost packet is no failure.
const TRIES: u32 = 3;

pub(super) fn look(target: &str, device: &str, timeout: Duration) -> Finding {
    let Ok(address) = target.parse::<IpAddr>() else {
        return Finding::bad(format!("`{target}` is no IP address"));
    };
    let until = clock::now() + timeout;
    let arp = match address {
        IpAddr::V4(v4) => Arp::open(device, v4),
        IpAddr::V6(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let mut last = None;
    for attempt in 1..=TRIES {
        let end = if attempt == TRIES { until } else { clock::now() + timeout / TRIES };
        match ask(address, arp.as_ref().ok(), end) {
            Ok(Some(how)) => return Finding::well(format!("{address} answers {how}")),
            Ok(None) => last = None,
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Finding::bad(format!("cannot ask {address}: {}", why(&error))),
        None => Finding::bad(format!("{address}: {}", no_answer(timeout).message)),
    }
}

/// How it answered, if it did.
fn ask(address: IpAddr, arp: Option<&Arp>, until: Instant) -> io::Result<Option<&'static str>> {
    let echo = Echo::ask(address, sched::random_u64()?);
    let probed = arp.is_some_and(|arp| arp.probe().is_ok());
    if !probed {
        return echo?.wait_until(until).map(|answered| answered.then_some("an echo"));
    }
    // An echo that is refused on the way says nothing about the card's LAN.
    let mut echo = echo.ok();
    loop {
        match echo.as_ref().map(Echo::is_answered) {
            Some(Ok(true)) => return Ok(Some("an echo")),
            Some(Err(_)) => echo = None,
            Some(Ok(false)) | None => {}
        }
        if arp.is_some_and(Arp::is_answered) {
            return Ok(Some("ARP"));
        }
        if clock::now() >= until {
            return Ok(None);
        }
        let sockets = echo.iter().map(AsFd::as_fd).chain(arp.iter().map(|arp| arp.socket.as_fd()));
        doorbell::wait(&sockets.collect::<Vec<_>>(), until)?;
    }
}

struct Arp {
    socket: PacketSocket,
    address: Ipv4Addr,
}

impl Arp {
    fn open(device: &str, address: Ipv4Addr) -> io::Result<Self> {
        Ok(Arp { socket: PacketSocket::open(device, Hears::Arp(&[address]))?, address })
    }

    fn probe(&self) -> io::Result<()> {
        self.socket.send(&ArpFrame::probe(self.socket.mac(), self.address).to_bytes())
    }

    fn is_answered(&self) -> bool {
        let mut buffer = [0; 128];
        while let Ok(Some(length)) = self.socket.receive(&mut buffer) {
            if ArpFrame::parse(&buffer[..length]).is_some_and(|frame| frame.claims(self.address)) {
                return true;
            }
        }
        false
    }
}
