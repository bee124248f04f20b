//! A line to the standard error that waits for nobody: whoever cannot take it at once loses it.
//!
//! Called by the guardian, and by a thread that panicked.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::write;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Offers this line; no lock of this process is asked for, because who holds it may wait for the same pipe.
///
/// # Errors
/// Full, or closed: the line is lost, or what was beyond the first page of it.
pub fn offer(line: &[u8]) -> io::Result<()> {
    // SAFETY: if the number is closed, or another file's, the line goes nowhere or there; nothing is closed here.
    let stderr = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    match send(stderr.as_raw_fd(), line, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Err(Errno::ENOTSOCK) => {}
        sent => return Ok(sent.map(drop)?),
    }
    // Not to block is a property of what is open, which other processes share: so a pipe or a terminal is opened once more.
    // A file never blocks, and is not: what others write next would go over it, because they are still before it.
    let kind = fstat(stderr)?.st_mode & libc::S_IFMT;
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    if matches!(kind, libc::S_IFIFO | libc::S_IFCHR)
        && let Ok(own) = open("/proc/self/fd/2", flags, Mode::empty())
    {
        return Ok(write(&own, line).map(drop)?);
    }
    // A pipe that can be written takes a whole page.
    let mut polled = [PollFd::new(stderr, PollFlags::POLLOUT)];
    if poll(&mut polled, PollTimeout::ZERO)? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(write(stderr, line).map(drop)?)
}
