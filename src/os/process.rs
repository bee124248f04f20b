//! Command lines of services: run by the shell, in a process group of their own, with a time limit.
//!
//! Called by a service's runner thread, which it blocks until the command has ended.

use super::clock;
use super::doorbell::{self, Doorbell};
use crate::vocabulary::Instant;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Output of one run that is handed on, in bytes: a script that says more is not read, only emptied.
const MOST_OUTPUT: usize = 64 << 10;
/// What a pipe holds at most, in bytes.
const PIPE: usize = 64 << 10;
/// A longer line is cut: the log is for people.
const LONGEST_LINE: usize = 1_024;
/// Between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Exit 0 in time.
    Done,
    /// With another exit code.
    Failed(i32),
    /// By a signal.
    Killed(i32),
    /// Not within its time limit: its process group was ended.
    TimedOut,
    /// The run was called off: its process group was ended.
    CalledOff,
}

/// Runs `command` by `/bin/sh -c` until it ends, `limit` has passed, or `call_off` rings. Every line of
/// its output goes to `line`. A process that it leaves behind (a started daemon) lives on, without an
/// output to this process; only a time-out or calling off ends the whole group.
///
/// # Errors
/// The shell could not be started.
pub fn run(
    command: &str,
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    line: impl FnMut(&str),
) -> io::Result<Outcome> {
    run_and(Leftovers::LiveOn, Stdio::null(), command, environment, limit, call_off, line)
}

/// As `run`, of a command that has nothing to leave behind: when it has ended, so has its process group.
///
/// # Errors
/// As `run`.
pub fn ask(
    command: &str,
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    line: impl FnMut(&str),
) -> io::Result<Outcome> {
    run_and(Leftovers::End, Stdio::null(), command, environment, limit, call_off, line)
}

/// As `run`, of a command that is given these bytes to read. They lie in memory of their own: a command that does not
/// read them keeps nobody waiting.
///
/// # Errors
/// As `run`; no memory left.
pub fn feed(
    command: &str,
    input: &[u8],
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    line: impl FnMut(&str),
) -> io::Result<Outcome> {
    let mut file = File::from(memfd_create(c"diehard", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    run_and(Leftovers::LiveOn, file.into(), command, environment, limit, call_off, line)
}

/// A descriptor that becomes readable when that process has ended, whoever its parent is.
///
/// # Errors
/// ESRCH: there is none.
pub fn watch(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a command that has ended leaves of its process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    LiveOn,
    End,
}

fn run_and(
    leftovers: Leftovers,
    input: Stdio,
    command: &str,
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    mut line: impl FnMut(&str),
) -> io::Result<Outcome> {
    let (mut output, writer) = io::pipe()?;
    nonblocking(output.as_fd())?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).envs(environment.iter().copied()).current_dir("/");
    shell.stdin(input).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    // SAFETY: between fork and exec only system calls are made, no allocation and no lock.
    unsafe { shell.pre_exec(ordinary) };
    let mut child = shell.spawn()?;
    // The command holds the pipe's writing end as long as it lives: it would never seem to close.
    drop(shell);
    // The child is not yet waited for, so the number is its own.
    let exit = watch(child.id())?;
    let mut lines = Lines::default();
    let mut deadline = clock::now() + limit;
    let mut ended_by: Option<Outcome> = None;
    let mut open = true;
    let status = loop {
        let output_fd = if open { output.as_fd() } else { exit.as_fd() };
        let ready = doorbell::wait(&[exit.as_fd(), call_off.as_fd(), output_fd], deadline)?;
        if open && ready & 4 != 0 {
            open = lines.read(&mut output, &mut line);
        }
        if ready & 1 != 0 {
            if leftovers == Leftovers::End {
                // Before the wait: until then nobody else's group can have this number.
                signal(&child, Signal::SIGKILL);
            }
            break child.wait()?;
        }
        let (called_off, late) = (ready & 2 != 0, clock::now() >= deadline);
        match ended_by {
            None if called_off || late => {
                ended_by = Some(if called_off { Outcome::CalledOff } else { Outcome::TimedOut });
                call_off.hush();
                signal(&child, Signal::SIGTERM);
                deadline = clock::now() + TERM_GRACE;
            }
            Some(_) if late => {
                signal(&child, Signal::SIGKILL);
                deadline = Instant::MAX;
            }
            _ => {}
        }
    };
    if ended_by.is_some() {
        // Its children may have survived it.
        signal(&child, Signal::SIGKILL);
    }
    lines.read(&mut output, &mut line);
    lines.end(&mut line);
    Ok(ended_by.unwrap_or_else(|| outcome(status)))
}

/// Output cut into lines, and bounded.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    bytes: usize,
}

impl Lines {
    /// Reads what waits, as much as a pipe holds; false at the end of the output. No more than that: a command
    /// that writes without end must not keep anybody from its time limit.
    fn read(&mut self, output: &mut impl Read, line: &mut impl FnMut(&str)) -> bool {
        let mut buffer = [0; 4_096];
        for _ in 0..PIPE / buffer.len() {
            match output.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.take(&buffer[..length], line),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8], line: &mut impl FnMut(&str)) {
        let before = self.bytes;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if before >= MOST_OUTPUT {
            return;
        }
        for &byte in bytes {
            if byte == b'\n' {
                self.end(line);
            } else if self.partial.len() < LONGEST_LINE {
                self.partial.push(byte);
            }
        }
        if self.bytes >= MOST_OUTPUT {
            self.end(line);
            line("(further output is not logged)");
        }
    }

    fn end(&mut self, line: &mut impl FnMut(&str)) {
        if !self.partial.is_empty() {
            line(String::from_utf8_lossy(&self.partial).trim_end());
            self.partial.clear();
        }
    }
}

/// In the child, before exec: an ordinary process whatever this thread is.
fn ordinary() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: both values live until after the calls, which are async-signal-safe. A parent without
    // real time makes the first one a change from nothing to nothing.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameter);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    Ok(())
}

fn signal(child: &Child, signal: Signal) {
    if let Ok(group) = i32::try_from(child.id()) {
        // ESRCH: nobody of the group is left.
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

fn nonblocking(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: takes numbers only; the descriptor is open.
    let done = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(code), _) => Outcome::Failed(code),
        (None, signal) => Outcome::Killed(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests;
