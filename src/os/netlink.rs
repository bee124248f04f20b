//! Netlink by hand: requests, answers, attributes. Private to `os`.
//!
//! Called by `alias` and `tcp` (requests with an acknowledgement, dumps) and `link` (multicast groups).

use super::packet_socket::{attach_filter, instruction};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, setsockopt, sockopt,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Kernel buffer of a monitoring socket in bytes: some thousand notices; beyond that ENOBUFS, and a dump.
const RECEIVE_BUFFER: usize = 1 << 20;
/// No message of a dump is longer: the kernel sends at most 32 KiB at once.
const LARGEST_MESSAGE: usize = 32 << 10;
/// How many datagrams an answer may have: a dump of more addresses than any card has.
const MOST_DATAGRAMS: u32 = 4_096;
/// How often a dump is begun, if what it shows changes each time while it is read.
const MOST_DUMPS: u32 = 16;
/// Requests sent at once: what the kernel has to say of each has room in the socket's buffer.
const MOST_AT_ONCE: usize = 64;
/// linux/netlink.h: something changed meanwhile, and what stood behind it may be missing.
const DUMP_INTERRUPTED: u16 = 0x10;

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message of an answer: its type and what follows the netlink header.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u16,
    pub(super) sequence: u32,
    pub(super) content: &'a [u8],
}

impl Netlink {
    /// A socket that hears these multicast groups (0: none).
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        Netlink::open_for(SockProtocol::NetlinkRoute, groups)
    }

    /// A socket of another of the kernel's netlink services.
    pub(super) fn open_for(service: SockProtocol, groups: u32) -> io::Result<Self> {
        let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, service)?;
        if groups != 0 && setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Netlink { fd, sequence: 0, buffer: vec![0; LARGEST_MESSAGE] })
    }

    /// Never wakes its reader for notices of this type (those that begin a datagram: notices come alone).
    pub(super) fn ignore(&self, kind: u16) -> io::Result<()> {
        // Classic BPF loads in network order; the type (byte 4) is in the machine's.
        let kind = u32::from(kind.to_be());
        let program = [
            instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 4),
            instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, kind),
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        ];
        attach_filter(&self.fd, &program)
    }

    /// Sends a request and waits for its acknowledgement.
    pub(super) fn request(&mut self, mut request: Request) -> io::Result<()> {
        self.exchange(&mut request, libc::NLM_F_ACK, |_| {}).map(|_whole| ())
    }

    /// Sends many requests at once, and returns when the kernel has seen to all of them; which of them it refused, who
    /// asks has to find out.
    pub(super) fn request_all(&mut self, requests: impl Iterator<Item = Request>) -> io::Result<()> {
        let mut requests = requests.peekable();
        let mut bytes = Vec::with_capacity(MOST_AT_ONCE * 64);
        while requests.peek().is_some() {
            bytes.clear();
            let mut last = None;
            for mut request in requests.by_ref().take(MOST_AT_ONCE) {
                self.sequence += 1;
                last = Some(bytes.len());
                bytes.extend_from_slice(request.seal(self.sequence, libc::NLM_F_REQUEST));
            }
            // The last one alone is acknowledged: the kernel takes them in order.
            let flags_at = last.expect("there is one") + 6;
            let flags = narrow(libc::NLM_F_REQUEST | libc::NLM_F_ACK);
            bytes[flags_at..flags_at + 2].copy_from_slice(&flags.to_ne_bytes());
            socket::send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
            // Whatever the kernel says of the last one: it has seen all of them.
            let _ = self.answer(|_| {})?;
        }
        Ok(())
    }

    /// Sends a dump request; what was picked of the answer. One that the kernel says was interrupted by a change is begun
    /// again: it may lack what has been there all the time.
    ///
    /// # Errors
    /// What it shows changes without end.
    pub(super) fn dump<T>(
        &mut self,
        mut request: Request,
        mut pick: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..MOST_DUMPS {
            let mut picked = Vec::new();
            if self.exchange(&mut request, libc::NLM_F_DUMP, |message| picked.extend(pick(message)))? {
                return Ok(picked);
            }
        }
        Err(io::Error::other("netlink: what is read changes all the time"))
    }

    /// Sends without waiting for the answer: a monitor reads it with everything else.
    pub(super) fn send(&mut self, request: &mut Request, flags: i32) -> io::Result<()> {
        self.sequence += 1;
        let bytes = request.seal(self.sequence, flags | libc::NLM_F_REQUEST);
        // To the kernel: to nobody else is this socket connected.
        socket::send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Reads what waits (blocks if nothing does) and hands over its messages.
    pub(super) fn receive(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        let length = socket::recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
        for message in messages(&self.buffer[..length]) {
            each(&message);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn shrink_buffer(&self) {
        setsockopt(&self.fd, sockopt::RcvBuf, &0).expect("the kernel rounds up");
    }

    /// True: the answer is whole.
    fn exchange(
        &mut self,
        request: &mut Request,
        flags: i32,
        each: impl FnMut(&Message<'_>),
    ) -> io::Result<bool> {
        self.send(request, flags)?;
        self.answer(each)?
    }

    /// Reads the answer to the newest request. The outer error: it could not be read; the inner one: the kernel's word. True:
    /// it is whole.
    fn answer(&mut self, mut each: impl FnMut(&Message<'_>)) -> io::Result<io::Result<bool>> {
        let sequence = self.sequence;
        let mut whole = true;
        let mut end: Option<io::Result<()>> = None;
        for _ in 0..MOST_DATAGRAMS {
            let received = self.receive(|message| {
                if message.sequence != sequence || end.is_some() {
                    return;
                }
                whole &= message.flags & DUMP_INTERRUPTED == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => end = Some(outcome(message.content)),
                    _ => each(message),
                }
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            if let Some(end) = end {
                return Ok(end.map(|()| whole));
            }
        }
        Err(io::Error::other("netlink: the answer does not end"))
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A request being built: netlink header, a family header, attributes.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request of this type (RTM_…) with these flags and its family header.
    pub(super) fn new(kind: u16, flags: i32, family_header: &[u8]) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&narrow(flags).to_ne_bytes());
        bytes.extend(family_header);
        let mut request = Request(bytes);
        request.pad();
        request
    }

    /// With one more attribute.
    pub(super) fn attribute(mut self, kind: u16, content: &[u8]) -> Self {
        let length = u16::try_from(content.len() + 4).expect("attributes here are a few bytes");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(content);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn seal(&mut self, sequence: u32, flags: i32) -> &[u8] {
        let length = u32::try_from(self.0.len()).expect("requests here are a few bytes");
        let flags = narrow(flags) | u16::from_ne_bytes([self.0[6], self.0[7]]);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.0
    }
}

/// The attributes in `bytes`: (type, content).
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
        let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]);
        let content = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        // NLA_F_NESTED and NLA_F_NET_BYTEORDER are marks, not part of the type.
        Some((kind & 0x3fff, content))
    })
}

/// A native-endian 32-bit number at this place, 0 if it is not there.
pub(super) fn number_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_ne_bytes(four.try_into().expect("4 bytes")))
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = number_at(rest, 0) as usize;
        let content = rest.get(16..length)?;
        let short = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
        let message = Message { kind: short(4), flags: short(6), sequence: number_at(rest, 8), content };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// NLMSG_ERROR and NLMSG_DONE begin with 0 or a negative errno.
fn outcome(content: &[u8]) -> io::Result<()> {
    match number_at(content, 0).cast_signed() {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
    }
}

fn narrow(flags: i32) -> u16 {
    u16::try_from(flags).expect("netlink flags are 16 bits")
}

#[cfg(test)]
mod tests;
