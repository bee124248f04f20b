//! Threads `keeper door` and `keeper N`: other nodes' keepers come in here, by TCP on the cluster's port of
//! the internal address. Nothing that comes in is read before it was found to be sealed with the cluster's
//! key; a caller gets so much time, and there are so many callers at a time: what is beyond is hung up on.
//!
//! Ends with `Door::close`, which joins them all.

use super::talk::{self, Ask, Reply};
use crate::os::clock;
use crate::threads::published::Published;
use crate::threads::{Urgency, start};
use crate::wire::Reject;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Callers at a time: every node of a cluster has one question at a time, and few have any.
const CALLERS: usize = 16;
/// A caller that has not asked and been answered by then is hung up on.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure to accept.
const PAUSE: Duration = Duration::from_millis(100);

/// The open door.
pub struct Door {
    listener: TcpStream,
    accepting: JoinHandle<()>,
}

/// What is done with a question.
pub type Answering = dyn Fn(Ask) -> Reply + Send + Sync;

impl Door {
    /// Listens.
    ///
    /// # Errors
    /// The port is taken, or the address is not this machine's.
    pub fn open(address: SocketAddr, published: Arc<Published>, answer: Arc<Answering>) -> io::Result<Door> {
        let listener = TcpListener::bind(address)?;
        // A listening socket ends its `accept` when it is shut down, and std can only shut streams down.
        let end = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        let accepting =
            start("keeper door", Urgency::Ordinary, move || accept(&listener, &published, &answer))?;
        Ok(Door { listener: end, accepting })
    }

    /// Lets nobody in any more, and waits for those who are inside.
    pub fn close(self) {
        if let Err(error) = self.listener.shutdown(Shutdown::Both) {
            log::warn!("cannot close the door of the configuration keeper: {error}");
        }
        // A panic has ended the process already.
        let _ = self.accepting.join();
    }
}

fn accept(listener: &TcpListener, published: &Arc<Published>, answering: &Arc<Answering>) {
    let inside = Arc::new(AtomicUsize::new(0));
    let mut guests: Vec<JoinHandle<()>> = Vec::new();
    while !published.is_stopping() {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) => {
                clock::sleep_until(clock::now() + PAUSE);
                continue;
            }
        };
        guests.retain(|guest| !guest.is_finished());
        if inside.load(Ordering::Acquire) >= CALLERS {
            log::debug!("{CALLERS} keepers are asking already: one more is hung up on");
            continue;
        }
        inside.fetch_add(1, Ordering::AcqRel);
        let (published, answering, leaving) = (published.clone(), answering.clone(), inside.clone());
        let started = start("keeper guest", Urgency::Ordinary, move || {
            serve(stream, &published, &answering);
            leaving.fetch_sub(1, Ordering::AcqRel);
        });
        match started {
            Ok(guest) => guests.push(guest),
            Err(error) => {
                inside.fetch_sub(1, Ordering::AcqRel);
                log::warn!("cannot start a thread for another node's keeper: {error}");
            }
        }
    }
    for guest in guests {
        // A panic has ended the process already.
        let _ = guest.join();
    }
}

fn serve(mut stream: TcpStream, published: &Published, answering: &Arc<Answering>) {
    let deadline = clock::now() + PATIENCE;
    let keys = published.keys();
    match talk::answer(&mut stream, &keys, deadline, |question| answering(question)) {
        Ok(Some(())) => {}
        Ok(None) => {
            published.counters.reject(Reject::Seal);
            log::debug!("a caller without the cluster's key was hung up on");
        }
        Err(error) => log::debug!("a caller was lost: {error}"),
    }
}
