//! Command lines of services: run by the shell, in a process group of their own, with a time limit.
//!
//! Called by a service's runner thread, which it blocks until the command has ended.

use super::clock;
use super::doorbell::{self, Doorbell};
use crate::vocabulary::Instant;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

mod leash;
mod shell;
use leash::Leash;
use shell::Shell;

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

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Runs `command` by `/bin/sh -c` until it ends, `limit` has passed, or `call_off` rings. Every line of
/// its output, the standard error's among them, goes to `line`. A process that it leaves behind (a started daemon) lives on, without an
/// output to this process; only a time-out or calling off ends the whole group.
///
/// # Errors
/// The shell could not be started.
pub fn run(
    command: &str,
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    mut line: impl FnMut(&str),
) -> io::Result<Outcome> {
    run_and(Leftovers::LiveOn, &nothing()?, command, environment, limit, call_off, |_, text| line(text))
}

/// As `run`, of a command that has nothing to leave behind: when it has ended, so has its process group, and whoever left that
/// without closing all that he inherited.
///
/// # Errors
/// As `run`.
pub fn ask(
    command: &str,
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    line: impl FnMut(Stream, &str),
) -> io::Result<Outcome> {
    run_and(Leftovers::End, &nothing()?, command, environment, limit, call_off, line)
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
    mut line: impl FnMut(&str),
) -> io::Result<Outcome> {
    let mut file = File::from(memfd_create(c"diehard", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    run_and(Leftovers::LiveOn, &file, command, environment, limit, call_off, |_, text| line(text))
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

fn nothing() -> io::Result<File> {
    File::open("/dev/null")
}

/// What a command that has ended leaves of its process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    LiveOn,
    End,
}

fn run_and(
    leftovers: Leftovers,
    input: &File,
    command: &str,
    environment: &[(&str, &str)],
    limit: Duration,
    call_off: &Doorbell,
    mut line: impl FnMut(Stream, &str),
) -> io::Result<Outcome> {
    let (mut heard, [output, error]) = pipes(leftovers)?;
    let mut leash = if leftovers == Leftovers::End { Some(Leash::new()?) } else { None };
    let mut environment = environment.to_vec();
    environment.extend(leash.as_ref().map(|leash| (leash::MARK, leash.mark())));
    let inherited = leash.as_ref().and_then(Leash::inherited);
    let mut child =
        Shell::spawn(command, &environment, [input.as_fd(), output.as_fd(), error.as_fd()], inherited)?;
    drop(environment);
    leash.iter_mut().for_each(Leash::let_go);
    // As long as this process has the pipes' writing ends too, they never seem to close.
    drop((output, error));
    // The child is not yet waited for, so the number is its own. From here on an error ends it with its group (`Shell::drop`).
    let exit = watch(child.id())?;
    let mut deadline = clock::now() + limit;
    let mut ended_by: Option<Outcome> = None;
    let status = loop {
        let [one, other] =
            heard.each_ref().map(|hearing| hearing.pipe.as_ref().map_or(exit.as_fd(), AsFd::as_fd));
        let ready = doorbell::wait(&[exit.as_fd(), call_off.as_fd(), one, other], deadline)?;
        for (hearing, bit) in heard.iter_mut().zip([4, 8]) {
            if ready & bit != 0 {
                hearing.read(&mut line);
            }
        }
        if ready & 1 != 0 {
            if leftovers == Leftovers::End {
                // Before the wait: until then nobody else's group can have this number.
                child.signal(Signal::SIGKILL);
            }
            break child.wait()?;
        }
        let (called_off, late) = (ready & 2 != 0, clock::now() >= deadline);
        match ended_by {
            None if called_off || late => {
                ended_by = Some(if called_off { Outcome::CalledOff } else { Outcome::TimedOut });
                call_off.hush();
                child.signal(Signal::SIGTERM);
                deadline = clock::now() + TERM_GRACE;
            }
            Some(_) if late => {
                child.signal(Signal::SIGKILL);
                deadline = Instant::MAX;
            }
            _ => {}
        }
    };
    if ended_by.is_some() {
        // Its children may have survived it.
        child.signal(Signal::SIGKILL);
    }
    // Whom even SIGKILL does not end hangs in the kernel: nobody can do more.
    leash.map(Leash::pull);
    for mut hearing in heard {
        hearing.read(&mut line);
        hearing.lines.end(&mut |text| line(hearing.stream, text));
    }
    Ok(ended_by.unwrap_or_else(|| outcome(status)))
}

/// The reading ends of a command's output, and the ends that it gets.
fn pipes(leftovers: Leftovers) -> io::Result<([Hearing; 2], [io::PipeWriter; 2])> {
    let (output, output_writer) = io::pipe()?;
    nonblocking(output.as_fd())?;
    // A log keeps the order of both; whoever is asked is understood by his standard output.
    let (error, error_writer) = match leftovers {
        Leftovers::LiveOn => (None, output_writer.try_clone()?),
        Leftovers::End => {
            let (error, writer) = io::pipe()?;
            nonblocking(error.as_fd())?;
            (Some(error), writer)
        }
    };
    let heard = [Hearing::of(Stream::Output, Some(output)), Hearing::of(Stream::Error, error)];
    Ok((heard, [output_writer, error_writer]))
}

/// One pipe of a command.
struct Hearing {
    stream: Stream,
    /// `None`: nobody writes to it any more, or it is part of the other one.
    pipe: Option<io::PipeReader>,
    lines: Lines,
}

impl Hearing {
    fn of(stream: Stream, pipe: Option<io::PipeReader>) -> Self {
        Hearing { stream, pipe, lines: Lines::default() }
    }

    fn read(&mut self, line: &mut impl FnMut(Stream, &str)) {
        let stream = self.stream;
        let Some(pipe) = &mut self.pipe else { return };
        if !self.lines.read(pipe, &mut |text: &str| line(stream, text)) {
            self.pipe = None;
        }
    }
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

fn nonblocking(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: takes numbers only; the descriptor is open.
    let done = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn outcome(status: Result<i32, i32>) -> Outcome {
    match status {
        Ok(0) => Outcome::Done,
        Ok(code) => Outcome::Failed(code),
        Err(signal) => Outcome::Killed(signal),
    }
}

#[cfg(test)]
mod tests;
