//! Carrier and addresses of the machine's cards, as the kernel tells them (rtnetlink, blocking).
//!
//! Owned by the link monitor thread. Ends by being dropped.

use super::alias::interface_request;
use super::doorbell::{self, Doorbell};
use super::netlink::{Message, Netlink, Request, attributes, number_at};
use crate::vocabulary::Instant;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// What the kernel told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// State of a card: told after every change of it, and after every `ask`.
    Card {
        /// Its name.
        device: String,
        /// Its index: another card of that name has another one.
        index: u32,
        /// Its hardware address, if it has one of that kind.
        mac: Option<[u8; 6]>,
        /// Switched on, and with a carrier.
        up: bool,
    },
    /// An address went away, whoever took it.
    AddressGone {
        /// Index of its card.
        index: u32,
        /// Which.
        address: IpAddr,
    },
    /// The kernel had more to tell than the buffer holds: everything may have changed. All cards are
    /// asked for again.
    Overrun,
}

/// How a card is, when somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardState {
    /// Switched on.
    pub on: bool,
    /// It carries: there is a carrier, and of a bond or bridge a part that carries.
    pub carries: bool,
}

/// How a card of the calling thread's network is now.
///
/// # Errors
/// ENODEV: there is none of that name.
pub fn card_state(device: &str) -> io::Result<CardState> {
    if device.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let mut request = interface_request(device);
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))
        .or_else(|_| std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)))?;
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags, both within `request`.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written the flags.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(CardState { on: flags & libc::IFF_UP != 0, carries: flags & libc::IFF_RUNNING != 0 })
}

/// Hears of every change.
#[derive(Debug)]
pub struct LinkMonitor(Netlink);

impl LinkMonitor {
    /// Hears from now on, and asks for the state of all cards.
    ///
    /// # Errors
    /// No netlink.
    pub fn open() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let netlink = Netlink::open(groups.cast_unsigned())?;
        // The faker renews every alias several times a second, and each time is told as RTM_NEWADDR.
        netlink.ignore(libc::RTM_NEWADDR)?;
        let mut monitor = LinkMonitor(netlink);
        monitor.ask()?;
        Ok(monitor)
    }

    /// Asks for the state of all cards; the answers come as changes.
    ///
    /// # Errors
    /// No netlink.
    pub fn ask(&mut self) -> io::Result<()> {
        // struct ifinfomsg, all zero: every card.
        self.0.send(&mut Request::new(libc::RTM_GETLINK, 0, &[0; 16]), libc::NLM_F_DUMP)
    }

    /// Waits for changes, or for the bell, or for the instant; what was told meanwhile, in order.
    ///
    /// # Errors
    /// No netlink.
    pub fn wait(&mut self, bell: &Doorbell, until: Instant) -> io::Result<Vec<LinkChange>> {
        let mut changes = Vec::new();
        if doorbell::wait(&[self.0.as_fd(), bell.as_fd()], until)? & 1 == 0 {
            return Ok(changes);
        }
        let received = self.0.receive(|message| changes.extend(change(message)));
        if let Err(error) = received {
            if error.raw_os_error() != Some(libc::ENOBUFS) {
                return Err(error);
            }
            changes.push(LinkChange::Overrun);
            self.ask()?;
        }
        Ok(changes)
    }
}

fn change(message: &Message<'_>) -> Option<LinkChange> {
    match message.kind {
        // Not what a bridge says of its ports (AF_BRIDGE): one that leaves it is told as deleted, and lives on.
        libc::RTM_NEWLINK | libc::RTM_DELLINK if message.content.first() == Some(&0) => {
            // struct ifinfomsg: family u8, pad u8, type u16, index i32, flags u32, change u32.
            let (index, flags) = (number_at(message.content, 4), number_at(message.content, 8));
            let wanted = (libc::IFF_UP | libc::IFF_LOWER_UP).cast_unsigned();
            let up = message.kind == libc::RTM_NEWLINK && flags & wanted == wanted;
            let (mut name, mut mac) = (None, None);
            for (kind, content) in attributes(message.content.get(16..)?) {
                match kind {
                    libc::IFLA_IFNAME => name = Some(content.strip_suffix(&[0]).unwrap_or(content)),
                    libc::IFLA_ADDRESS => mac = content.try_into().ok(),
                    _ => {}
                }
            }
            Some(LinkChange::Card { device: String::from_utf8_lossy(name?).into_owned(), index, mac, up })
        }
        libc::RTM_DELADDR => {
            // struct ifaddrmsg: family u8, prefix u8, flags u8, scope u8, index u32.
            let index = number_at(message.content, 4);
            let mut address = None;
            for (kind, content) in attributes(message.content.get(8..)?) {
                match kind {
                    libc::IFA_LOCAL => address = super::alias::ip_of(content),
                    libc::IFA_ADDRESS => address = address.or_else(|| super::alias::ip_of(content)),
                    _ => {}
                }
            }
            Some(LinkChange::AddressGone { index, address: address? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
