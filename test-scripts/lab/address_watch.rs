//! Hears from the kernel of one server which IPv4 addresses it loses (rtnetlink).

use crate::namespace::{Outcome, within};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Multicast group RTMGRP_IPV4_IFADDR (rtnetlink(7)).
const ADDRESS_CHANGES: u32 = 0x10;
/// RTM_DELADDR.
const DELETED: u16 = 21;
/// IFA_LOCAL.
const LOCAL: u16 = 2;

/// The open socket; what it heard waits in it.
pub struct AddressWatch(OwnedFd);

impl AddressWatch {
    /// From now on.
    pub fn start(namespace: &str) -> Outcome<AddressWatch> {
        let opened = within(namespace, || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, ADDRESS_CHANGES))?;
            Ok::<_, nix::Error>(AddressWatch(socket))
        })?;
        opened.map_err(|error| format!("rtnetlink in {namespace}: {error}"))
    }

    /// The addresses removed since the start or the last call.
    pub fn removed(&self) -> Vec<Ipv4Addr> {
        let (mut buffer, mut removed) = ([0; 16384], Vec::new());
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            let mut rest = &buffer[..length];
            while let Some((kind, body, after)) = message(rest) {
                if kind == DELETED {
                    removed.extend(local_address(body));
                }
                rest = after;
            }
        }
        removed
    }
}

/// One message: type, body after its header, what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// IFA_LOCAL among the attributes after `struct ifaddrmsg`.
fn local_address(body: &[u8]) -> Option<Ipv4Addr> {
    let mut rest = body.get(8..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        if kind == LOCAL {
            let octets: [u8; 4] = rest.get(4..8)?.try_into().ok()?;
            return Some(Ipv4Addr::from(octets));
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}
