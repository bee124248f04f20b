//! What the daemon measures about itself and its links, for `diehard doctor` and the debug bundle: the object of
//! the question `vitals`. PURE.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One daemon's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Vitals {
    /// Its file.
    pub config_file: PathBuf,
    /// Its state directory.
    pub state_dir: PathBuf,
    /// The process that serves: the worker.
    pub pid: u32,
    /// HELLO to the right neighbour, on each link.
    pub trips: Vec<Trip>,
    /// How far this machine's clock is ahead of each other node's.
    pub clocks_ms: BTreeMap<String, f64>,
    /// What was thrown away since the start, in words.
    pub thrown_away: String,
    /// Its version.
    pub version: String,
}

/// What became of the last HELLOs on one link.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trip {
    /// `internal` or `external`.
    pub role: String,
    /// To whom; null: there is no neighbour.
    pub to: Option<String>,
    /// How many were sent.
    pub sent: u64,
    /// How many of them were answered.
    pub answered: u64,
    /// The median of the answers.
    pub round_trip_ms: Option<f64>,
}

impl Trip {
    /// Of what was sent, in percent; `None`: too few for a number.
    pub fn loss_percent(&self) -> Option<f64> {
        (self.sent >= 10).then(|| self.sent.saturating_sub(self.answered) as f64 * 100.0 / self.sent as f64)
    }
}
