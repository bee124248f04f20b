//! How the checks of this node stand, for people. The thread `checks` writes it, the control threads read it, and have
//! a check run when somebody asks.

use crate::recovery::{Finding, Standing};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it stands.
    pub standing: Standing,
    /// What its last result said.
    pub message: String,
    /// Since when it stands so, by the wall clock.
    pub since: SystemTime,
    /// Its last result was well, and a warning.
    pub warning: bool,
    /// What its last result measured, as a plugin wrote it.
    pub performance: Option<String>,
    /// How long its last run took.
    pub took: Option<Duration>,
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

/// Run that check now, beside its schedule: the result counts for nothing, so that asking moves no service.
#[derive(Debug)]
pub struct RunOrder {
    /// Its name.
    pub check: String,
    /// What it found and how long it took, or why it was not run. Holds one message.
    pub answer: Sender<Result<(Finding, Duration), String>>,
}

/// Hands an order to the thread `checks` without blocking; false: it is gone or too busy.
type Runner = Box<dyn Fn(RunOrder) -> bool + Send + Sync>;

/// All checks of this node, by their names.
#[derive(Default)]
pub struct Board {
    lines: Mutex<BTreeMap<String, Line>>,
    runner: OnceLock<Runner>,
}

impl Board {
    /// Writes one line.
    pub fn write(&self, check: &str, line: Line) {
        let mut lines = self.lines.lock();
        match lines.get_mut(check) {
            Some(known) => *known = line,
            None => {
                lines.insert(check.to_owned(), line);
            }
        }
    }

    /// Wipes out what is no check any more.
    pub fn keep(&self, known: impl Fn(&str) -> bool) {
        self.lines.lock().retain(|check, _| known(check));
    }

    /// Orders go there from now on.
    pub fn serve(&self, runner: impl Fn(RunOrder) -> bool + Send + Sync + 'static) {
        // A daemon has one thread `checks`.
        let _ = self.runner.set(Box::new(runner));
    }

    /// Has a check run now; the answer comes there. `None`: nobody runs checks, or is too busy.
    pub fn run(&self, check: &str) -> Option<Receiver<Result<(Finding, Duration), String>>> {
        let (answer, answered) = bounded(1);
        let order = RunOrder { check: check.to_owned(), answer };
        self.runner.get()?(order).then_some(answered)
    }

    /// All of it, now.
    pub fn read(&self) -> BTreeMap<String, Line> {
        self.lines.lock().clone()
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("lines", &self.lines).finish_non_exhaustive()
    }
}
