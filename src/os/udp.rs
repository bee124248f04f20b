//! UDP sockets bound to one card, and the card's limited broadcast for cards without an address.
//!
//! Unicast and broadcast are separate sockets: a datagram to the broadcast address reaches only the
//! socket bound to that address. Used by the sender and the receiver threads; never blocks (waiting is
//! `doorbell::wait`).

use super::packet_socket::{attach_filter, instruction};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, setsockopt, sockopt,
};
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Kernel buffer of each receiving socket in bytes: over 1,000 datagrams, more than a cluster of 64 sends
/// in a second while this thread is not scheduled.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Limit of what may wait on each socket to be sent, in bytes (the kernel allows twice that). Datagrams to a
/// neighbour that does not answer ARP wait on the sender's account, up to `unres_qlen_bytes` (212,992) for
/// each neighbour, which is the kernel's usual limit for all of them: one silent member would make sending to all
/// others fail (EAGAIN), and the node lose its lease. This has room for 63 silent ones.
const SEND_BUFFER: usize = 8 << 20;

/// A socket that sends and receives on one card only.
#[derive(Debug)]
pub struct UdpSocket(OwnedFd);

impl UdpSocket {
    /// Binds to `address` (unicast, the subnet's broadcast, or 255.255.255.255) on `device`.
    ///
    /// # Errors
    /// No such device or address, a port that is taken or privileged.
    pub fn bind(device: &str, address: SocketAddrV4) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Inet, SockType::Datagram, flags, SockProtocol::Udp)?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(device))?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::Broadcast, &true)?;
        // The forced ones need CAP_NET_ADMIN; without it the limits of the machine count.
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        if setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER)?;
        }
        socket::bind(fd.as_raw_fd(), &SockaddrIn::from(address))?;
        Ok(UdpSocket(fd))
    }

    /// Binds to `address` for sending alone: what comes to it is thrown away by the kernel beyond a few.
    ///
    /// # Errors
    /// No such device or address.
    pub fn bind_to_send(device: &str, address: SocketAddrV4) -> io::Result<Self> {
        let socket = Self::bind(device, address)?;
        setsockopt(&socket.0, sockopt::RcvBuf, &0)?;
        Ok(socket)
    }

    /// What this address sends is not received: own broadcasts come back, and whoever listens would be woken by each.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ignore(&self, sender: Ipv4Addr) -> io::Result<()> {
        // The filter sees the datagram from its UDP header on; the sender is byte 12 of the IP header.
        let sender_at = libc::SKF_NET_OFF.cast_unsigned() + 12;
        let program = [
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, sender_at),
            instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, u32::from(sender)),
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        ];
        attach_filter(&self.0, &program)
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// Local reasons (EPERM, ENETDOWN, ENOBUFS, ENETUNREACH, EAGAIN), and ECONNREFUSED from an earlier one.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddrV4) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        socket::sendto(self.0.as_raw_fd(), bytes, &SockaddrIn::from(to), flags)?;
        Ok(())
    }

    /// The next datagram that waits, cut to the buffer: its length and where it came from. `None`: none
    /// waits.
    ///
    /// # Errors
    /// ENETDOWN and the like; the socket goes on working.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddrV4)>> {
        match socket::recvfrom::<SockaddrIn>(self.0.as_raw_fd(), buffer) {
            Ok((length, from)) => {
                let from = from.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from);
                Ok(Some((length, from)))
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests;
