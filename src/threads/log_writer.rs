//! Thread `log`: writes lines to the standard error or to the system's log, so that no other thread ever
//! waits for a terminal, a pipe or a socket.
//!
//! Whoever logs puts a line into a bounded channel; a full one drops it and counts. Ends with
//! `LogWriter::stop`, after what was put in before.

use crate::config::{Config, LogLevel};
use crate::control::events::rfc3339;
use crate::os::syslog::Syslog;
use crate::os::{clock, sched, stderr};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Lines that may wait: a burst of every node's transitions in a cluster of 64; about 100 kB.
const LINES: usize = 1_024;

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Each with time and level.
    StandardError,
    /// Datagrams to `/dev/log`, facility daemon.
    Syslog,
}

/// The running thread.
#[derive(Debug)]
pub struct LogWriter {
    lines: Sender<Vec<u8>>,
    thread: JoinHandle<()>,
}

/// `log`'s end of the channel: one `write` is one line.
struct Pipe {
    lines: Sender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread and makes it the process's logger.
    ///
    /// # Errors
    /// No process left; a logger is there already.
    pub fn start(sink: Sink, level: LevelFilter) -> io::Result<Self> {
        let (lines, waiting) = crossbeam_channel::bounded(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let pipe = Pipe { lines: lines.clone(), dropped: dropped.clone() };
        let thread = super::start("log", super::Urgency::Ordinary, move || match sink {
            Sink::StandardError => drain(&waiting, &dropped, |line| io::stderr().write_all(line)),
            Sink::Syslog => {
                let mut syslog = Syslog::at(Path::new("/dev/log"));
                drain(&waiting, &dropped, |line| syslog.send(line.trim_ascii_end()));
            }
        })?;
        let mut builder = Builder::new();
        match environment() {
            Some(filters) => builder.parse_filters(&filters),
            // What counts is `log`'s own bound, which can be changed.
            None => builder.filter_level(LevelFilter::Trace),
        };
        builder
            .write_style(WriteStyle::Never)
            .target(Target::Pipe(Box::new(pipe)))
            .format(move |out, record| out.write_all(&line(sink, record.level(), &record.args().to_string())))
            .try_init()
            .map_err(io::Error::other)?;
        set_level(level);
        Ok(LogWriter { lines, thread })
    }

    /// Writes what waits, and ends.
    pub fn stop(self) {
        // The empty line is the end: no record has one.
        let _ = self.lines.send(Vec::new());
        let _ = self.thread.join();
    }
}

/// A panic of any thread ends this process from now on. `tell` hands the message to who outlives it; where nobody
/// does it is offered to the log itself, once and without a wait: the log's thread may be the one that panicked, or
/// may be waiting for a pipe or a log that hangs.
pub fn end_on_panic(sink: Sink, tell: impl Fn(&str) -> bool + Send + Sync + 'static) {
    sched::abort_on_panic(move |text| {
        if !tell(text) {
            let line = line(sink, Level::Error, text);
            let _ = match sink {
                Sink::StandardError => stderr::offer(&line),
                Sink::Syslog => Syslog::impatient(Path::new("/dev/log")).send(line.trim_ascii_end()),
            };
        }
    });
}

/// The configuration's level from now on, unless `RUST_LOG` says another.
pub fn set_level(level: LevelFilter) {
    if environment().is_none() {
        log::set_max_level(level);
    }
}

/// An environment does not change under a running process: it goes before the configuration for good.
fn environment() -> Option<String> {
    std::env::var("RUST_LOG").ok().filter(|filters| !filters.trim().is_empty())
}

/// The level that the configuration and the command line ask for.
pub fn level(config: &Config, verbose: bool) -> LevelFilter {
    match config.cluster.log_level {
        _ if verbose => LevelFilter::Debug,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    }
}

/// One line as it stands in this log.
pub fn line(sink: Sink, level: Level, text: &str) -> Vec<u8> {
    match sink {
        Sink::StandardError => format!("{} {level:5} {text}\n", rfc3339(clock::wall())),
        Sink::Syslog => format!("<{}>diehardd[{}]: {text}\n", priority(level), std::process::id()),
    }
    .into_bytes()
}

/// Facility daemon (3), RFC 3164's severities.
fn priority(level: Level) -> u8 {
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    3 << 3 | severity
}

fn drain(waiting: &Receiver<Vec<u8>>, dropped: &AtomicU64, mut write: impl FnMut(&[u8]) -> io::Result<()>) {
    while let Ok(line) = waiting.recv() {
        if line.is_empty() {
            return;
        }
        // Nobody who could be told is left when the log itself fails.
        let _ = write(&line);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            log::warn!("{lost} lines of the log were lost: it was slower than what happened");
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line.to_vec()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_log_drops_and_never_blocks() {
        let (lines, waiting) = crossbeam_channel::bounded(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut pipe = Pipe { lines: lines.clone(), dropped: dropped.clone() };
        for number in 0..5 {
            writeln!(pipe, "{number}").expect("never fails");
        }
        assert!(dropped.load(Ordering::Relaxed) > 0);
        let mut written = Vec::new();
        let ender = std::thread::spawn(move || lines.send(Vec::new()));
        drain(&waiting, &dropped, |line| {
            written.extend(line);
            Ok(())
        });
        ender.join().expect("ends").expect("taken");
        assert!(written.starts_with(b"0"));
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }
}
