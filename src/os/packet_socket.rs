//! Raw frames on one card: ARP, neighbour discovery, and IPv4 from a card without an address.
//!
//! Owned by the faker (announcements, probes), the ARP listener and the sender. Sending never blocks;
//! waiting is `doorbell::wait`. What the frames mean is not known here.

use super::alias::index_of;
use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Was the card taken away under its socket? Another one of that name needs another socket.
pub fn card_is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV))
}

/// Two instructions an address, and the kernel takes 4,096 instructions.
pub const MOST_ARP_ADDRESSES: usize = 2_000;

/// Which frames a socket hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hears<'a> {
    /// None: it only sends.
    Nothing,
    /// ARP frames of others in which the sender says that it has one of these addresses; with more than
    /// `MOST_ARP_ADDRESSES` of them, every ARP frame of others.
    Arp(&'a [Ipv4Addr]),
    /// ARP replies in which the sender says that it has one of these addresses: no more than
    /// `MOST_ARP_ADDRESSES`. What these neighbours ask wakes nobody.
    ArpReplies(&'a [Ipv4Addr]),
    /// ICMPv6 neighbour solicitations and advertisements of others.
    NeighbourDiscovery,
}

/// Whole Ethernet frames on one card.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket on `device`.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENODEV.
    pub fn open(device: &str, hears: Hears<'_>) -> io::Result<Self> {
        let index = i32::try_from(index_of(device)?).map_err(io::Error::other)?;
        let protocol = match hears {
            Hears::Nothing => 0,
            Hears::Arp(_) | Hears::ArpReplies(_) => libc::ETH_P_ARP,
            Hears::NeighbourDiscovery => libc::ETH_P_IPV6,
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0 until it is bound: it would hear every card otherwise.
        // SAFETY: takes three numbers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        if hears != Hears::Nothing {
            let one: libc::c_int = 1;
            set_option(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &one)?;
            filter(&fd, hears)?;
        }
        bind(&fd, index, u16::try_from(protocol).expect("an EtherType"))?;
        Ok(PacketSocket(fd))
    }

    /// The card's hardware address now; zeroes: it has none, or is gone. Asked each time: a bond that fails over and a
    /// bridge that gets a port go on with another one, on the same socket.
    pub fn mac(&self) -> [u8; 6] {
        hardware_address(&self.0).unwrap_or_default()
    }

    /// Hears other frames of the same protocol from now on, or nothing. What waits already still waits, and nothing
    /// that both would hear is lost in between.
    ///
    /// # Errors
    /// No memory left; it goes on as before then.
    pub fn hear(&self, hears: Hears<'_>) -> io::Result<()> {
        filter(&self.0, hears)
    }

    /// What is wrong with it, told once. Of one that was just opened: is the card up?
    ///
    /// # Errors
    /// ENETDOWN: the link is down.
    pub fn trouble(&self) -> io::Result<()> {
        nix::sys::socket::getsockopt(&self.0, nix::sys::socket::sockopt::SocketError)
            .map_err(io::Error::from)
            .and_then(|error| if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) })
    }

    /// Sends one frame as it is, beginning with the destination's hardware address.
    ///
    /// # Errors
    /// Local reasons: ENETDOWN, ENOBUFS, EAGAIN, ENXIO (the card is gone).
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length are those of `frame`.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame that waits, cut to the buffer: its length. `None`: none waits.
    ///
    /// # Errors
    /// ENETDOWN once after the link went down; the socket works again when it is up.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: pointer and length are those of `buffer`.
        let length = unsafe {
            libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        };
        if let Ok(length) = usize::try_from(length) {
            return Ok(Some(length));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(super) const fn instruction(code: u32, jump_true: u8, jump_false: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k }
}

/// Classic BPF: IPv6 next header (frame byte 20) is ICMPv6, and its type (byte 54) is 135 or 136.
const NEIGHBOUR_DISCOVERY: [libc::sock_filter; 7] = [
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 20),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 4, 58),
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 54),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, 135),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 136),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

/// Classic BPF: the sender's IP (frame byte 28) is one of these.
fn arp_filter(addresses: &[Ipv4Addr]) -> Vec<libc::sock_filter> {
    let accept = instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff);
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 28)];
    for &address in addresses {
        let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.extend([instruction(code, 0, 1, u32::from(address)), accept]);
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    program
}

/// The same of replies alone (frame byte 20: the operation).
fn arp_reply_filter(addresses: &[Ipv4Addr]) -> Vec<libc::sock_filter> {
    let mut program = vec![
        instruction(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 20),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, 2),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    program.extend(arp_filter(addresses));
    program
}

fn filter(fd: &OwnedFd, hears: Hears<'_>) -> io::Result<()> {
    match hears {
        Hears::Arp(addresses) if addresses.len() <= MOST_ARP_ADDRESSES => {
            attach_filter(fd, &arp_filter(addresses))
        }
        Hears::Arp(_) => attach_filter(fd, &[instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff)]),
        Hears::ArpReplies(addresses) => attach_filter(fd, &arp_reply_filter(addresses)),
        Hears::NeighbourDiscovery => attach_filter(fd, &NEIGHBOUR_DISCOVERY),
        Hears::Nothing => attach_filter(fd, &[instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0)]),
    }
}

pub(super) fn attach_filter(fd: &OwnedFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).expect("a few instructions");
    // The kernel copies the program; it does not write to it.
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

fn set_option<T>(fd: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: pointer and length are those of `value`, which lives until after the call.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn link_address() -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn bind(fd: &OwnedFd, index: i32, ether_type: u16) -> io::Result<()> {
    let address =
        libc::sockaddr_ll { sll_protocol: ether_type.to_be(), sll_ifindex: index, ..link_address() };
    // SAFETY: pointer and length are those of `address`, which lives until after the call.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn hardware_address(fd: &OwnedFd) -> io::Result<[u8; 6]> {
    let mut address = link_address();
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` has room for `length` bytes, and both live until after the call.
    let result = unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mac = &address.sll_addr[..6];
    Ok(mac.try_into().expect("6 bytes"))
}

#[cfg(test)]
mod tests;
