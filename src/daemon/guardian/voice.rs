//! The guardian's log: it has no thread that could wait for one, so a log that does not take a line at
//! once loses it. Dropping it ends nothing.

use crate::os::stderr;
use crate::os::syslog::Syslog;
use crate::threads::log_writer::{Sink, line};
use log::Level;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Voice {
    sink: Sink,
    syslog: Syslog,
}

impl Voice {
    pub(super) fn new(sink: Sink) -> Self {
        Voice { sink, syslog: Syslog::impatient(Path::new("/dev/log")) }
    }

    pub(super) fn info(&mut self, text: &str) {
        self.say(Level::Info, text);
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.say(Level::Warn, text);
    }

    pub(super) fn error(&mut self, text: &str) {
        self.say(Level::Error, text);
    }

    fn say(&mut self, level: Level, text: &str) {
        let line = line(self.sink, level, text);
        // Nobody who could be told is left when the log itself fails.
        let _ = match self.sink {
            Sink::Syslog => self.syslog.send(line.trim_ascii_end()),
            Sink::StandardError => stderr::offer(&line),
        };
    }
}
