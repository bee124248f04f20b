//! Into the background, and the file that says who runs.
//!
//! Called by `daemon` before any thread exists. The process that was started stays until the daemon says
//! that it really runs, or why not: an init script's `start` fails when the daemon fails.

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{self, ForkResult};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which process came out of `daemonise`.
#[derive(Debug)]
pub enum Side {
    /// The one that was started: to exit with this code now. What was wrong has been printed.
    Started(u8),
    /// The daemon.
    Daemon(Readiness),
}

/// The daemon's word to the process that was started; dropping it unspoken counts as failure.
#[derive(Debug)]
pub struct Readiness(Option<PipeWriter>);

impl Readiness {
    /// For a daemon in the foreground: nobody waits.
    pub fn foreground() -> Self {
        Readiness(None)
    }

    /// It really runs.
    pub fn ready(self) {
        self.say(&[0]);
    }

    /// It does not: exit code (not 0) and message for the process that was started.
    pub fn failed(self, code: u8, message: &str) {
        self.say(&[&[code], message.as_bytes()].concat());
    }

    fn say(self, bytes: &[u8]) {
        if let Some(mut writer) = self.0 {
            // Whoever started us may have been killed meanwhile: then nobody wants to know.
            let _ = writer.write_all(bytes);
        }
    }
}

/// Forks twice (own session, no terminal, working directory `/`, standard streams to `/dev/null`).
///
/// # Errors
/// No process or descriptor left.
///
/// # Panics
/// If another thread exists: its locks would stay locked for ever in the daemon.
pub fn daemonise() -> io::Result<Side> {
    assert_eq!(threads()?, 1, "daemonise comes before any thread");
    let (reader, writer) = io::pipe()?;
    // SAFETY: this is the only thread, so the child may do everything.
    if let ForkResult::Parent { child } = unsafe { unistd::fork()? } {
        drop(writer);
        nix::sys::wait::waitpid(child, None)?;
        return Ok(Side::Started(await_word(reader)));
    }
    drop(reader);
    unistd::setsid()?;
    // The session's leader ends, so that the daemon can never get a terminal.
    // SAFETY: this is the only thread, so the child may do everything.
    if let ForkResult::Parent { .. } = unsafe { unistd::fork()? } {
        // SAFETY: _exit takes a number; buffers belong to the process that was started.
        unsafe { libc::_exit(0) };
    }
    unistd::chdir("/")?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    unistd::dup2_stdin(&null)?;
    unistd::dup2_stdout(&null)?;
    unistd::dup2_stderr(&null)?;
    Ok(Side::Daemon(Readiness(Some(writer))))
}

fn await_word(mut reader: PipeReader) -> u8 {
    let mut word = Vec::new();
    let read = reader.read_to_end(&mut word);
    match (read, word.split_first()) {
        (Ok(_), Some((0, _))) => 0,
        (Ok(_), Some((&code, message))) => {
            eprintln!("diehardd: {}", String::from_utf8_lossy(message));
            code
        }
        _ => {
            eprintln!("diehardd: the daemon ended before it was ready");
            1
        }
    }
}

pub(super) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// The file with the daemon's process number, locked as long as it runs; removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

impl PidFile {
    /// Claims the file for this process. What a dead process left is overwritten.
    ///
    /// # Errors
    /// `AlreadyExists`: another one runs (the message says which); no such directory; no permission.
    pub fn claim(path: &Path) -> io::Result<Self> {
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o644)
                .open(path)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                    let mut pid = String::new();
                    file.read_to_string(&mut pid)?;
                    let text = format!("another one runs already (process {})", pid.trim());
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
                }
                Err((_, error)) => return Err(error.into()),
            };
            // Between opening and locking its owner may have ended and removed it: then this is another
            // file than the one that others will find.
            match std::fs::metadata(path) {
                Ok(found) if found.ino() == file.metadata()?.ino() => {
                    return PidFile { path: path.to_owned(), file }.write();
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(mut self) -> io::Result<Self> {
        self.file.set_len(0)?;
        self.file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(self)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pid_file_one_owner() {
        let path = std::env::temp_dir().join(format!("diehard-pid-{}", std::process::id()));
        std::fs::write(&path, "4194305\n").expect("a stale file");
        let mine = PidFile::claim(&path).expect("stale files are taken over");
        let number = std::fs::read_to_string(&path).expect("there");
        assert_eq!(number, format!("{}\n", std::process::id()));
        let error = PidFile::claim(&path).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(number.trim()));
        drop(mine);
        assert!(!path.exists());
        drop(PidFile::claim(&path).expect("free again"));
    }

    #[test]
    fn the_word_of_the_daemon_decides() {
        let hear = |speak: fn(Readiness)| {
            let (reader, writer) = io::pipe().expect("pipe");
            speak(Readiness(Some(writer)));
            await_word(reader)
        };
        assert_eq!(hear(Readiness::ready), 0);
        assert_eq!(hear(|readiness| readiness.failed(2, "no such card")), 2);
        assert_eq!(hear(drop), 1);
    }
}
