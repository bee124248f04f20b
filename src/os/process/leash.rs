//! Who ran away: a command's descendants that left its process group (`setsid`), so that no signal to the group ends them.
//!
//! Every descendant has the leash, the writing end of a pipe, unless it closes it on purpose: as long as the pipe does not
//! end, somebody is there. Only then are all processes of the machine looked at for the mark in their environment. Called
//! by `ask`; ends when nobody is left, or when it has tried often enough.

use crate::os::clock;
use crate::os::doorbell;
use crate::os::process::watch;
use crate::vocabulary::Instant;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The mark's name; its value is different for each run.
pub(super) const MARK: &str = "DIEHARD_RUN";
/// Who was killed holds the pipe until the kernel comes to it.
const PATIENCE: Duration = Duration::from_millis(50);
/// Who forks faster than he is found is found at last: each look kills all that it sees.
const MOST_LOOKS: u32 = 40;

/// The end that the daemon keeps.
pub(super) struct Leash {
    reader: PipeReader,
    writer: Option<PipeWriter>,
    mark: String,
}

impl Leash {
    /// For one run.
    pub fn new() -> io::Result<Self> {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let (reader, writer) = io::pipe()?;
        let mark = format!("{}.{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        Ok(Leash { reader, writer: Some(writer), mark })
    }

    /// The value of the mark.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// What the command must inherit.
    pub fn inherited(&self) -> Option<BorrowedFd<'_>> {
        self.writer.as_ref().map(AsFd::as_fd)
    }

    /// The command runs, and has its copy.
    pub fn let_go(&mut self) {
        self.writer = None;
    }

    /// Ends all that are left. The group has been killed already. False: somebody is left all the same.
    pub fn pull(mut self) -> bool {
        self.let_go();
        for _ in 0..MOST_LOOKS {
            if self.has_ended(clock::now() + PATIENCE) {
                return true;
            }
            for process in self.marked() {
                kill(&process);
            }
        }
        false
    }

    fn has_ended(&mut self, until: Instant) -> bool {
        // Nobody writes to it: what makes it readable is its end.
        let ready = doorbell::wait(&[self.reader.as_fd()], until);
        ready.is_ok_and(|ready| ready != 0) && self.reader.read(&mut [0]).is_ok_and(|count| count == 0)
    }

    /// Descriptors of all processes with the mark: their numbers cannot become others' meanwhile.
    fn marked(&self) -> Vec<OwnedFd> {
        let wanted = format!("{MARK}={}", self.mark);
        let Ok(directory) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        numbers
            .filter_map(|pid| {
                let process = watch(pid).ok()?;
                let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
                environment
                    .split(|&byte| byte == 0)
                    .any(|entry| entry == wanted.as_bytes())
                    .then_some(process)
            })
            .collect()
    }
}

fn kill(process: &OwnedFd) {
    // SAFETY: takes numbers and a null pointer; ESRCH means that it has ended by itself.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
}
