//! Two ends of a conversation between a process and its child: whole messages, in order, never blocking.
//!
//! Owned by guardian and worker, one end each. The other end's process has ended when nothing more can
//! come: that cannot be missed, whenever it happens.

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Longest message in bytes: 3,000 addresses.
pub const LONGEST: usize = 64 << 10;

/// One end.
#[derive(Debug)]
pub struct End(OwnedFd);

/// What waits at an end.
#[derive(Debug, PartialEq, Eq)]
pub enum Waiting {
    /// This message.
    Message(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// The other end is closed and everything was read.
    Closed,
}

/// Both ends.
///
/// # Errors
/// No descriptor left.
pub fn pair() -> io::Result<(End, End)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (one, other) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((End(one), End(other)))
}

impl End {
    /// Sends a message of 1 to `LONGEST` bytes.
    ///
    /// # Errors
    /// EPIPE: the other end is closed. EAGAIN: it has not read for long.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        assert!((1..=LONGEST).contains(&message.len()), "an empty message is the end, a longer one is cut");
        socket::send(self.0.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }

    /// The same end once more; it is closed when both are.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(End)
    }

    /// The next message.
    pub fn receive(&self) -> Waiting {
        let fd = self.0.as_raw_fd();
        // How long is it? Asked at every wake of the guardian: nothing is allocated where nothing waits.
        let peek = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
        let length = match socket::recv(fd, &mut [], peek) {
            Ok(0) | Err(nix::errno::Errno::ECONNRESET) => return Waiting::Closed,
            Ok(length) => length,
            Err(_) => return Waiting::Nothing,
        };
        let mut message = vec![0; length];
        match socket::recv(fd, &mut message, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Waiting::Message(message),
            Err(_) => Waiting::Nothing,
        }
    }
}

impl AsFd for End {
    /// Readable when a message waits or the other end is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_whole_and_outlive_their_sender() {
        let (one, other) = pair().expect("descriptors");
        assert_eq!(other.receive(), Waiting::Nothing);
        one.send(b"first").expect("sent");
        one.send(&[7; LONGEST]).expect("sent");
        drop(one);
        assert_eq!(other.receive(), Waiting::Message(b"first".to_vec()));
        assert_eq!(other.receive(), Waiting::Message(vec![7; LONGEST]));
        assert_eq!(other.receive(), Waiting::Closed);
        assert!(other.send(b"too late").is_err());
    }
}
