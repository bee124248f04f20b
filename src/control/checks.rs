//! How the checks of this node stand, for people. The thread `checks` writes it, the control threads read it.

use crate::recovery::Standing;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it stands.
    pub standing: Standing,
    /// What its last result said.
    pub message: String,
    /// Since when it stands so, by the wall clock.
    pub since: SystemTime,
    /// Bad results in a row since the last step.
    pub bad_in_a_row: u32,
    /// The steps of its policy that were taken and are not forgotten.
    pub tried: Vec<Tried>,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// As the file has it.
    pub step: String,
    /// How often.
    pub used: u32,
    /// How often it may be.
    pub of: u32,
    /// When the oldest is forgotten, by the wall clock.
    pub forgotten: SystemTime,
}

/// All checks of this node, by their names.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<String, Line>>);

impl Board {
    /// Writes one line.
    pub fn write(&self, check: &str, line: Line) {
        let mut lines = self.0.lock();
        match lines.get_mut(check) {
            Some(known) => *known = line,
            None => {
                lines.insert(check.to_owned(), line);
            }
        }
    }

    /// Wipes out what is no check any more.
    pub fn keep(&self, known: impl Fn(&str) -> bool) {
        self.0.lock().retain(|check, _| known(check));
    }

    /// All of it, now.
    pub fn read(&self) -> BTreeMap<String, Line> {
        self.0.lock().clone()
    }
}
