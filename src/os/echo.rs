//! ICMP and ICMPv6 echo: does that address answer?
//!
//! Called by a worker of the checks, which it blocks until the answer or the instant.

use super::clock;
use super::doorbell;
use crate::vocabulary::Instant;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
            false => (AddressFamily::Inet, SockProtocol::Icmp),
            true => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(family, SockType::Raw, flags, protocol)?;
        // Connected: what others send to this machine is not heard.
        socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 0)))?;
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
        socket::send(self.fd.as_raw_fd(), &message, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// Has the answer come among what waits?
    ///
    /// # Errors
    /// ECONNREFUSED, EHOSTUNREACH: somebody on the way says no.
    pub fn is_answered(&self) -> io::Result<bool> {
        let mut buffer = [0_u8; 1_500];
        loop {
            let length = match socket::recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
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
