//! Signals as flags, and one place to wait for them and for the farewell of the driver.

use crate::os::doorbell::{self, Doorbell};
use crate::vocabulary::Instant;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What signals asked for since it was looked at last.
#[derive(Debug)]
pub(super) struct Signals {
    reload: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    picture: Arc<AtomicBool>,
    pipe: UnixStream,
    bell: Doorbell,
}

impl Signals {
    /// From now on, for the whole process.
    pub(super) fn register() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let signals = Signals {
            reload: Arc::default(),
            end: Arc::default(),
            picture: Arc::default(),
            pipe,
            bell: Doorbell::new()?,
        };
        let flags = [
            (SIGHUP, &signals.reload),
            (SIGTERM, &signals.end),
            (SIGINT, &signals.end),
            (SIGUSR1, &signals.picture),
        ];
        for (signal, flag) in flags {
            // The flag first: whoever the pipe wakes must see it.
            signal_hook::flag::register(signal, flag.clone())?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Wakes the waiter as a signal does.
    pub(super) fn bell(&self) -> Doorbell {
        self.bell.clone()
    }

    /// Until a signal, the bell, or the instant.
    pub(super) fn wait_until(&self, until: Option<Instant>) {
        // A failing wait would be a busy loop; it can only fail for want of memory, which passes.
        let _ = doorbell::wait(&[self.pipe.as_fd(), self.bell.as_fd()], until.unwrap_or(Instant::MAX));
        self.bell.hush();
        // What is read does not matter: the flags say what came.
        while matches!((&self.pipe).read(&mut [0; 64]), Ok(read) if read > 0) {}
    }

    pub(super) fn wants_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }

    pub(super) fn wants_end(&self) -> bool {
        self.end.swap(false, Ordering::AcqRel)
    }

    pub(super) fn wants_picture(&self) -> bool {
        self.picture.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_and_the_bell_wake() {
        let signals = Signals::register().expect("registered");
        signal_hook::low_level::raise(SIGUSR1).expect("raised");
        signals.wait_until(None);
        assert!(signals.wants_picture() && !signals.wants_picture());
        assert!(!signals.wants_end() && !signals.wants_reload());
        signal_hook::low_level::raise(SIGHUP).expect("raised");
        signals.wait_until(None);
        assert!(signals.wants_reload());
        signals.bell().ring();
        signals.wait_until(None);
        signals.wait_until(Some(Instant::ZERO));
        assert!(!signals.wants_end());
    }
}
