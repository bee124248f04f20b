//! TCP connections: those to an address that is about to go, and those of clients that may stop reading.
//!
//! The first is the faker's: a connection whose address went away hangs until its client gives up, because
//! neither end can tell the other anything any more. The second is the monitor's.

use super::netlink::{Netlink, Request};
use nix::sys::socket::{self, SockProtocol, sockopt};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// What has an other end that may wait: all states but TIME_WAIT (6), CLOSE (7) and LISTEN (10).
const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// struct inet_diag_sockid: ports, addresses, interface, cookie.
const IDENTITY: usize = 48;

/// From now on the kernel keeps at most about `buffer` bytes for this client, and ends the connection when
/// they are not taken for so long: a client that stops reading costs no more.
///
/// # Errors
/// None known.
pub fn bound_what_waits(stream: &TcpStream, buffer: usize, patience: Duration) -> io::Result<()> {
    let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    socket::setsockopt(stream, sockopt::SndBuf, &buffer)?;
    socket::setsockopt(stream, sockopt::TcpUserTimeout, &millis)?;
    Ok(())
}

/// Resets every TCP connection of the calling thread's network whose own end is one of these addresses: the other
/// ends learn it at once, and may connect again. How many there were of each. All in one go: the kernel walks its whole
/// table of connections (several milliseconds of empty places alone), and every address waits for that.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN, EOPNOTSUPP from a kernel without CONFIG_INET_DIAG_DESTROY.
pub fn reset_connections(addresses: &[IpAddr]) -> io::Result<Vec<usize>> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open_for(SockProtocol::NetlinkSockDiag, 0)?;
    // A service that listens on [::] has its IPv4 connections in sockets of IPv6.
    let has_v4 = addresses.iter().any(IpAddr::is_ipv4);
    let families: &[i32] = if has_v4 { &[libc::AF_INET, libc::AF_INET6] } else { &[libc::AF_INET6] };
    let mut found: Vec<(usize, i32, [u8; IDENTITY])> = Vec::new();
    for &family in families {
        let request = Request::new(SOCK_DIAG_BY_FAMILY, 0, &header(family, CONNECTED, &[0; IDENTITY]));
        let own: Vec<Option<[u8; 16]>> = addresses.iter().map(|&address| own_end(family, address)).collect();
        netlink.dump(request, |message| {
            // struct inet_diag_msg: family, state, timer, retransmissions, identity.
            let identity: Option<[u8; IDENTITY]> =
                message.content.get(4..4 + IDENTITY).and_then(|bytes| bytes.try_into().ok());
            if let Some(identity) = identity
                && let Some(at) = own.iter().position(|own| own.is_some_and(|own| identity[4..20] == own))
            {
                found.push((at, family, identity));
            }
        })?;
    }
    let mut reset = vec![0; addresses.len()];
    for (at, family, identity) in found {
        match netlink.request(Request::new(SOCK_DESTROY, 0, &header(family, u32::MAX, &identity))) {
            Ok(()) => reset[at] += 1,
            // It ended by itself meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reset)
}

/// struct inet_diag_req_v2: family, protocol, extensions, padding, states, identity.
fn header(family: i32, states: u32, identity: &[u8; IDENTITY]) -> Vec<u8> {
    let protocol = u8::try_from(libc::IPPROTO_TCP).expect("6");
    let mut bytes = vec![u8::try_from(family).expect("2 or 10"), protocol, 0, 0];
    bytes.extend(states.to_ne_bytes());
    bytes.extend(identity);
    bytes
}

/// The address as the kernel shows it in a socket of this family; `None`: never.
fn own_end(family: i32, address: IpAddr) -> Option<[u8; 16]> {
    match address {
        IpAddr::V4(v4) if family == libc::AF_INET => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            Some(bytes)
        }
        IpAddr::V4(v4) => Some(v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => (family == libc::AF_INET6).then(|| v6.octets()),
    }
}

#[cfg(test)]
mod tests;
