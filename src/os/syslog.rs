//! Lines to the system's log: datagrams to `/dev/log`.
//!
//! Owned by the log thread. The system's log may be restarted or missing: then lines are lost, never
//! waited for.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A connection to the system's log.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    patient: bool,
}

impl Syslog {
    /// Where the system's log listens; `/dev/log` as a rule. Connects at the first line.
    pub fn at(path: &Path) -> Self {
        Syslog { path: path.to_owned(), socket: None, patient: true }
    }

    /// The same for who must not wait: a log that is full loses the line.
    pub fn impatient(path: &Path) -> Self {
        Syslog { patient: false, ..Syslog::at(path) }
    }

    /// Sends one line with its `<priority>`; connects again if the log was restarted.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket
            && socket.send(line).is_ok()
        {
            return Ok(());
        }
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_nonblocking(!self.patient)?;
        socket.send(line)?;
        self.socket = Some(socket);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_log_is_found_again() {
        let path = std::env::temp_dir().join(format!("diehard-log-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut syslog = Syslog::at(&path);
        assert!(syslog.send(b"<30>nobody").is_err());
        for _ in 0..2 {
            let log = UnixDatagram::bind(&path).expect("the log starts");
            syslog.send(b"<30>line").expect("sent");
            let mut buffer = [0; 64];
            let length = log.recv(&mut buffer).expect("arrives");
            assert_eq!(&buffer[..length], b"<30>line");
            std::fs::remove_file(&path).expect("the log ends");
        }
    }
}
