//! ICMP and ICMPv6 echo: does that address answer?
//!
//! Called by a worker of the checks, which it blocks until the answer or the instant.

use super::clock;
use super::doorbell;
use crate::vocabulary::Instant;
use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// ECHO of RFC 792 and RFC 4443, and their replies.
const ECHO: [u8; 2] = [8, 128];
const REPLY: [u8; 2] = [0, 129];
/// Header, and eight bytes that nobody else sends.
const MESSAGE: usize = 16;

/// One question on its way.
#[derive(Debug)]
pub struct Echo {
    fd: OwnedFd,
    v6: bool,
    mark: [u8; 8],
}

impl Echo {
    /// Asks `address`; `mark` tells this question from all others.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENETUNREACH, EHOSTUNREACH: no route.
    pub fn ask(address: IpAddr, mark: u64) -> io::Result<Self> {
        let v6 = address.is_ipv6();
        let (family, protocol) = match v6 {
            false => (libc::AF_INET, libc::IPPROTO_ICMP),
            true => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes three numbers.
        let fd = unsafe { libc::socket(family, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Connected: what others send to this machine is not heard.
        connect(&fd, address)?;
        let echo = Echo { fd, v6, mark: mark.to_be_bytes() };
        echo.send()?;
        Ok(echo)
    }

    fn send(&self) -> io::Result<()> {
        let mut message = [0; MESSAGE];
        message[0] = ECHO[usize::from(self.v6)];
        message[4..6].copy_from_slice(&self.mark[..2]);
        message[8..].copy_from_slice(&self.mark);
        if !self.v6 {
            // The kernel does that for ICMPv6.
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // SAFETY: pointer and length are those of `message`.
        let sent = unsafe {
            libc::send(self.fd.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_DONTWAIT)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Has the answer come among what waits?
    ///
    /// # Errors
    /// ECONNREFUSED, EHOSTUNREACH: somebody on the way says no.
    pub fn is_answered(&self) -> io::Result<bool> {
        let mut buffer = [0_u8; 1_500];
        loop {
            // SAFETY: pointer and length are those of `buffer`.
            let length = unsafe {
                libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
            };
            let Ok(length) = usize::try_from(length) else {
                let error = io::Error::last_os_error();
                let nothing = error.kind() == io::ErrorKind::WouldBlock;
                return if nothing { Ok(false) } else { Err(error) };
            };
            // A raw IPv4 socket delivers the IP header too, whose length is in its first byte.
            let header = if self.v6 { 0 } else { usize::from(buffer[0] & 0x0f) * 4 };
            let message = buffer[..length].get(header..).unwrap_or_default();
            let ours = message.get(8..MESSAGE) == Some(&self.mark[..]);
            if ours && message[0] == REPLY[usize::from(self.v6)] {
                return Ok(true);
            }
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As `is_answered`.
    pub fn wait_until(&self, until: Instant) -> io::Result<bool> {
        loop {
            if self.is_answered()? {
                return Ok(true);
            }
            if clock::now() >= until {
                return Ok(false);
            }
            doorbell::wait(&[self.as_fd()], until)?;
        }
    }
}

impl AsFd for Echo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

fn connect(fd: &OwnedFd, address: IpAddr) -> io::Result<()> {
    let result = match address {
        IpAddr::V4(v4) => {
            // SAFETY: all zeros is a valid sockaddr_in.
            let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            to.sin_family = libc::AF_INET as libc::sa_family_t;
            to.sin_addr.s_addr = u32::from(v4).to_be();
            let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            // SAFETY: pointer and length are those of `to`, which lives until after the call.
            unsafe { libc::connect(fd.as_raw_fd(), (&raw const to).cast(), length) }
        }
        IpAddr::V6(v6) => {
            // SAFETY: all zeros is a valid sockaddr_in6.
            let mut to: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_addr.s6_addr = v6.octets();
            let length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            // SAFETY: pointer and length are those of `to`, which lives until after the call.
            unsafe { libc::connect(fd.as_raw_fd(), (&raw const to).cast(), length) }
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::super::namespace;
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_own_machine_answers_and_nobody_does_not() {
        namespace::within(|| {
            let long = || clock::now() + Duration::from_secs(20);
            for own in ["127.0.0.1", "::1"] {
                let echo = Echo::ask(own.parse().expect("an address"), 77).expect("sent");
                assert!(echo.wait_until(long()).expect("heard"), "{own}");
            }
            let nobody = Echo::ask("203.0.113.1".parse().expect("an address"), 77);
            assert_eq!(nobody.map(drop).map_err(|error| error.raw_os_error()), Err(Some(libc::ENETUNREACH)));
            namespace::run("ip addr add 203.0.113.2/24 dev lo; ip route add blackhole 203.0.114.0/24");
            // Another's answer is not this one's.
            let one = Echo::ask("127.0.0.1".parse().expect("an address"), 1).expect("sent");
            let other = Echo::ask("203.0.113.2".parse().expect("an address"), 2).expect("sent");
            assert!(other.wait_until(long()).expect("heard") && one.wait_until(long()).expect("heard"));
            assert!(!one.is_answered().expect("nothing more"));
        });
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
