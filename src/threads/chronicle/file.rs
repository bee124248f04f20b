//! The file that keeps events over restarts: one JSON object a line in `events` of the state directory; when
//! that is full it becomes `events.old`, in the place of the one before. Owned by the thread `chronicle`.
//!
//! A write that was torn, by a crash or a full disk, leaves a line that is no event: it is skipped, and what
//! is written next begins on a line of its own.

use crate::os::clock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of each of the two files, in bytes: some thousand events.
pub const SIZE_MAX: u64 = 1 << 20;
const NAME: &str = "events";
const OLD: &str = "events.old";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The node's number.
    pub id: u32,
    /// Its name when it happened.
    pub node: String,
    /// Which list the number counts.
    pub log: u64,
    /// In that list.
    pub number: u64,
    /// By this machine's wall clock, in µs since 1970.
    pub time_us: u64,
    /// For people.
    pub text: String,
    /// For programs.
    #[serde(default)]
    pub fields: Map<String, Value>,
}

impl Line {
    /// When.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.time_us)
    }
}

/// The open file.
#[derive(Debug)]
pub struct ChronicleFile {
    directory: PathBuf,
    size_max: u64,
    file: Option<File>,
    size: u64,
    /// The last write was torn: a line must be begun.
    torn: bool,
    /// It failed, and that was said.
    failing: bool,
    dirty: bool,
}

impl ChronicleFile {
    /// Reads what is there, oldest first; nothing that it meets keeps the daemon from starting.
    pub fn open(directory: &Path, size_max: u64) -> (Self, Vec<Line>) {
        let mut lines = Vec::new();
        for name in [OLD, NAME] {
            lines.extend(read(&directory.join(name), size_max));
        }
        let directory = directory.to_owned();
        let mut file = ChronicleFile {
            directory,
            size_max,
            file: None,
            size: 0,
            torn: true,
            failing: false,
            dirty: false,
        };
        if let Err(error) = file.reopen() {
            file.complain(&error);
        }
        (file, lines)
    }

    /// Writes one line. What cannot be written is lost, and said once until it works again.
    pub fn append(&mut self, line: &Line) {
        match self.try_append(line) {
            Ok(()) if self.failing => {
                self.failing = false;
                log::info!("events are kept on the disk again");
            }
            Ok(()) => {}
            Err(error) => self.complain(&error),
        }
    }

    /// What was written survives a power cut from now on.
    pub fn sync(&mut self) {
        if std::mem::take(&mut self.dirty)
            && let Some(file) = &self.file
            && let Err(error) = file.sync_data()
        {
            self.complain(&error);
        }
    }

    fn try_append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line).expect("a line has string keys only");
        bytes.push(b'\n');
        if self.torn {
            bytes.insert(0, b'\n');
        }
        if self.size + bytes.len() as u64 > self.size_max && self.size > 0 {
            fs::rename(self.directory.join(NAME), self.directory.join(OLD))?;
            self.file = None;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let file = self.file.as_mut().expect("just opened");
        // Until it is whole.
        self.torn = true;
        self.dirty = true;
        self.size += bytes.len() as u64;
        file.write_all(&bytes)?;
        self.torn = false;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let path = self.directory.join(NAME);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        // Whether the last line is whole is not worth a look: an empty line is skipped.
        self.torn = self.size > 0;
        Ok(())
    }

    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            log::error!("events cannot be kept in {}: {error}", self.directory.display());
        }
        // It may have been removed, or the disk was mounted anew.
        self.file = None;
    }
}

/// Its events; what is none is skipped.
fn read(path: &Path, size_max: u64) -> Vec<Line> {
    let mut bytes = Vec::new();
    // A foreign file of any size must not fill the memory: twice the bound holds any of ours.
    let Ok(file) = File::open(path) else { return Vec::new() };
    if let Err(error) = file.take(2 * size_max).read_to_end(&mut bytes) {
        log::warn!("cannot read {}: {error}", path.display());
    }
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let (good, bad): (Vec<_>, Vec<_>) = lines.map(serde_json::from_slice::<Line>).partition(Result::is_ok);
    if !bad.is_empty() {
        log::warn!("{}: {} lines are no events and are skipped", path.display(), bad.len());
    }
    // Times of the future are garbage or a clock that was set back: they would stand at the end for ever.
    let now = clock::wall() + Duration::from_secs(86_400);
    good.into_iter().flatten().filter(|line| line.time_us < u64::MAX / 2 && line.time() < now).collect()
}

#[cfg(test)]
mod tests;
