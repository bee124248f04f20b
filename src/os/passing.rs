//! An open descriptor on its way from one process to another (SCM_RIGHTS), with a few words.
//!
//! Used by the monitor: its privileged half opens the connections that the other half may not. Blocking;
//! ends when either process closes its end.

use nix::cmsg_space;
use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Longest words in bytes; longer ones are cut off.
pub const WORDS_MAX: usize = 1024;

/// Sends words, and a descriptor or none. There must be words: without, nothing arrives.
///
/// # Errors
/// The other process has gone.
pub fn send(to: &UnixStream, words: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let content = [IoSlice::new(&words[..words.len().min(WORDS_MAX)])];
    let raw: Vec<RawFd> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let attached = if raw.is_empty() { &[] } else { &rights[..] };
    socket::sendmsg::<UnixAddr>(to.as_raw_fd(), &content, attached, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Waits for the next `send`.
///
/// # Errors
/// The other process has gone (`UnexpectedEof`), or no descriptor is left here.
pub fn receive(from: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut words = vec![0; WORDS_MAX];
    let mut space = cmsg_space!([RawFd; 1]);
    let (count, descriptor) = {
        let mut content = [IoSliceMut::new(&mut words)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = socket::recvmsg::<UnixAddr>(from.as_raw_fd(), &mut content, Some(&mut space), flags)?;
        let mut raw = received.cmsgs()?.filter_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        });
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
        (received.bytes, raw.next().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }))
    };
    if count == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    words.truncate(count);
    Ok((words, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_arrives_and_works_and_so_do_words_alone() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (mut near, far) = UnixStream::pair().expect("a pair");
        send(&here, b"one", Some(far.as_fd())).expect("sent");
        drop(far);
        let (words, descriptor) = receive(&there).expect("received");
        assert_eq!(words, b"one");
        let mut far = UnixStream::from(descriptor.expect("a descriptor"));
        far.write_all(b"hello").expect("written");
        let mut five = [0; 5];
        near.read_exact(&mut five).expect("read");
        assert_eq!(&five, b"hello");
        send(&here, b"nothing there", None).expect("sent");
        let (words, descriptor) = receive(&there).expect("received");
        assert_eq!((words.as_slice(), descriptor.is_none()), (b"nothing there".as_slice(), true));
        drop(here);
        assert_eq!(receive(&there).expect_err("the end").kind(), ErrorKind::UnexpectedEof);
        assert!(send(&there, b"late", None).is_err());
    }
}
