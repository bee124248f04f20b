//! Which of a few descriptors can be read, asked for over and over (epoll): what a thread that takes every datagram waits by.
//! `doorbell::wait` tells the kernel all of them anew each time, which for one datagram costs as much as the datagram.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::BorrowedFd;

/// At most so many descriptors.
const MOST: usize = 8;

/// The descriptors, in the order in which they were given.
#[derive(Debug)]
pub struct Readiness(Epoll);

impl Readiness {
    /// Of these, which must live as long as they are asked for.
    ///
    /// # Errors
    /// No descriptor left, or one that cannot be waited for.
    pub fn of(descriptors: &[BorrowedFd<'_>]) -> io::Result<Self> {
        assert!(descriptors.len() <= MOST, "no thread waits for more than {MOST} descriptors here");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, descriptor) in descriptors.iter().enumerate() {
            epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        }
        Ok(Readiness(epoll))
    }

    /// Waits until one of them can be read, or has failed. Bit i of the answer: descriptor i; none: a signal came.
    ///
    /// # Errors
    /// The kernel's, except EINTR.
    pub fn wait(&self) -> io::Result<u16> {
        let mut events = [EpollEvent::empty(); MOST];
        match self.0.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => Ok(events[..count].iter().fold(0, |bits, event| bits | 1 << event.data())),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::doorbell::Doorbell;
    use std::os::fd::AsFd;

    #[test]
    fn it_says_which_and_as_long_as_it_is_so() {
        let bells = [Doorbell::new().expect("eventfd"), Doorbell::new().expect("eventfd")];
        let readiness = Readiness::of(&[bells[0].as_fd(), bells[1].as_fd()]).expect("a descriptor");
        bells[1].ring();
        assert_eq!(readiness.wait().ok(), Some(2));
        bells[0].ring();
        assert_eq!(readiness.wait().ok(), Some(3), "what nobody took is said again");
        bells[1].hush();
        assert_eq!(readiness.wait().ok(), Some(1));
    }
}
