//! Raw frames of one card in one namespace.

use crate::namespace::{Outcome, within};
use nix::net::if_::if_nametoindex;
use std::fs::File;
use std::io::{Error, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Ethernet protocol numbers.
pub const ARP: u16 = 0x0806;
/// ETH_P_ALL: in both directions.
pub const EVERYTHING: u16 = 0x0003;
/// Ethernet protocol numbers.
pub const IPV4: u16 = 0x0800;

const SIOCGSTAMPNS: libc::Ioctl = 0x8907;

/// A packet socket; reading never blocks.
pub struct PacketSocket(File);

impl PacketSocket {
    /// Bound to a card and an Ethernet protocol.
    pub fn open(namespace: &str, device: &str, protocol: u16) -> Outcome<PacketSocket> {
        let opened = within(namespace, || bind(device, protocol))?;
        opened.map_err(|error| format!("packet socket on {device} of {namespace}: {error}"))
    }

    /// Sends one whole frame.
    pub fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        (&self.0).write_all(frame)
    }

    /// The next frame that has arrived, if any.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = (&self.0).read(buffer).ok()?;
        Some(&buffer[..length])
    }

    /// When the kernel saw the frame that was received last, by the wall clock.
    pub fn stamp(&self) -> std::io::Result<std::time::Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: SIOCGSTAMPNS writes one timespec, which outlives the call.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCGSTAMPNS, &raw mut time) } != 0 {
            return Err(Error::last_os_error());
        }
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Ok(std::time::Duration::new(seconds.map_err(Error::other)?, nanos.map_err(Error::other)?))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn bind(device: &str, protocol: u16) -> std::io::Result<PacketSocket> {
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain system call without pointers. Protocol 0: it hears nothing until it is bound.
    let number = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
    if number < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let index = if_nametoindex(device).map_err(Error::from)?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(Error::other)?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index).map_err(Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(Error::other)?;
    // SAFETY: the address outlives the call and `length` is its size.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound != 0 {
        return Err(Error::last_os_error());
    }
    Ok(PacketSocket(File::from(socket)))
}
