//! TCP connections: those to an address that is about to go, and those of clients that may stop reading.
//!
//! The first is the faker's: a connection whose address went away hangs until its client gives up, because
//! neither end can tell the other anything any more. The second is the monitor's.

use super::netlink::{Netlink, Request};
use nix::sys::socket::{self, SockProtocol, sockopt};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DESTROY: u16 = 21;
/// INET_DIAG_REQ_BYTECODE, and of its operations INET_DIAG_BC_JMP and INET_DIAG_BC_S_COND.
const BYTECODE: u16 = 1;
const JUMP: u8 = 1;
const SOURCE_MATCHES: u8 = 7;
/// What has an other end that may wait: all states but TIME_WAIT (6), CLOSE (7) and LISTEN (10).
const CONNECTED: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// What a program may test, in 16 bits of length: with more addresses than any server has the kernel shows all connections.
const MOST_CONDITIONS: usize = 1_000;
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

/// What became of the connections of one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parted {
    /// So many were reset.
    pub reset: usize,
    /// So many were not: there was no time.
    pub left: usize,
}

/// Resets every TCP connection of the calling thread's network whose own end is one of these addresses: the other
/// ends learn it at once, and may connect again. All in one go: the kernel walks its whole table of connections (some
/// milliseconds of empty places alone, and 0.15 ms for each thousand), and every address waits for that. A reset takes
/// 10 µs; before each it is asked whether there is time.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN, EOPNOTSUPP from a kernel without CONFIG_INET_DIAG_DESTROY.
pub fn reset_connections(addresses: &[IpAddr], has_time: impl Fn() -> bool) -> io::Result<Vec<Parted>> {
    let mut parted = vec![Parted::default(); addresses.len()];
    if addresses.is_empty() {
        return Ok(parted);
    }
    let mut netlink = Netlink::open_for(SockProtocol::NetlinkSockDiag, 0)?;
    let mut request = Request::new(TCPDIAG_GETSOCK, 0, &question());
    if addresses.len() <= MOST_CONDITIONS {
        request = request.attribute(BYTECODE, &program(addresses));
    }
    let found = netlink.dump(request, |message| {
        // struct inet_diag_msg: family, state, timer, retransmissions, identity.
        let (&[family, _, _, _], rest) = message.content.split_first_chunk()?;
        let identity = rest.first_chunk::<IDENTITY>()?;
        let own = own_end(family, identity)?;
        let at = addresses.iter().position(|&address| address == own)?;
        Some((at, family, *identity))
    })?;
    for (at, family, identity) in found {
        if !has_time() {
            parted[at].left += 1;
            continue;
        }
        match netlink.request(Request::new(SOCK_DESTROY, 0, &one_socket(family, &identity))) {
            Ok(()) => parted[at].reset += 1,
            // It ended by itself meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(parted)
}

/// struct inet_diag_req (the first form: it alone asks for both families in one walk): family, lengths of the addresses,
/// extensions, identity, states, and a place of the kernel's own.
fn question() -> Vec<u8> {
    let mut bytes = vec![0; 4 + IDENTITY];
    bytes.extend(CONNECTED.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// struct inet_diag_req_v2: family, protocol, extensions, padding, states, identity.
fn one_socket(family: u8, identity: &[u8; IDENTITY]) -> Vec<u8> {
    let protocol = u8::try_from(libc::IPPROTO_TCP).expect("6");
    let mut bytes = vec![family, protocol, 0, 0];
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(identity);
    bytes
}

/// For the kernel, that it shows no other connections: «the own end is the first, or the second, …». Of each operation
/// (struct inet_diag_bc_op) the second byte is how far to go on if it holds, the last two if not; what ends just behind
/// the program is shown, what ends four bytes further is not.
fn program(addresses: &[IpAddr]) -> Vec<u8> {
    let mut program = Vec::new();
    // From the last to the first: each must know how much follows it.
    for (at, &address) in addresses.iter().enumerate().rev() {
        let condition = condition(address);
        let length = u8::try_from(4 + condition.len()).expect("at most 28");
        let follows = u16::try_from(program.len()).expect("MOST_CONDITIONS");
        let mut operation = vec![SOURCE_MATCHES, length];
        operation.extend((u16::from(length) + 4).to_ne_bytes());
        operation.extend(condition);
        if at + 1 < addresses.len() {
            operation.extend([JUMP, 4]);
            operation.extend((follows + 4).to_ne_bytes());
        }
        operation.extend(program);
        program = operation;
    }
    program
}

/// struct inet_diag_hostcond: family, length of the prefix, padding, any port, address. One of IPv4 holds for its
/// connections in sockets of IPv6 too: those of a service that listens on [::].
fn condition(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let prefix = u8::try_from(octets.len() * 8).expect("32 or 128");
    let mut bytes = vec![u8::try_from(family).expect("2 or 10"), prefix, 0, 0];
    bytes.extend((-1_i32).to_ne_bytes());
    bytes.extend(octets);
    bytes
}

/// The own end of a connection as the kernel shows it.
fn own_end(family: u8, identity: &[u8; IDENTITY]) -> Option<IpAddr> {
    let octets: &[u8; 16] = identity.get(4..20)?.try_into().ok()?;
    if i32::from(family) == libc::AF_INET {
        let octets: [u8; 4] = octets.first_chunk().copied()?;
        return Some(IpAddr::from(octets));
    }
    Some(IpAddr::from(*octets).to_canonical())
}

#[cfg(test)]
mod tests;
