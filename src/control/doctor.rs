//! `diehard doctor`: what is not as it should be, on one page, each finding with its remedy.
//!
//! | module | looks at |
//! | --- | --- |
//! | `cluster` | what the daemon knows: nodes, links in both directions, loss, clocks, receipts, drift (PURE) |
//! | `machine` | this machine: scheduling, sysctls, other managers of the card, the state directory |
//! | `firewall` | the rules of nftables on the way of our packets (PURE) |
//!
//! `cli` calls it in the process of a person's command; it changes nothing but a file that it writes into the
//! state directory and removes again.

use super::table::{Look, finding_paint};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

pub mod cluster;
pub mod firewall;
pub mod machine;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not for long, or not in every case.
    Warning,
    /// It does not.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at: one word.
    pub check: String,
    /// What was found.
    pub message: String,
    /// What to do; null where nothing has to be done.
    pub remedy: Option<String>,
}

/// As it should be.
pub fn well(check: &str, message: impl Into<String>) -> Finding {
    Finding { level: Level::Ok, check: check.to_owned(), message: message.into(), remedy: None }
}

/// It works, but.
pub fn warning(check: &str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
    let (check, message, remedy) = (check.to_owned(), message.into(), Some(remedy.into()));
    Finding { level: Level::Warning, check, message, remedy }
}

/// It does not.
pub fn failure(check: &str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { level: Level::Failure, ..warning(check, message, remedy) }
}

/// The page: the worst first, the remedy below each.
pub fn text(node: &str, findings: &[Finding], look: Look) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let mut text = format!(
        "doctor on {node}: {}, {}, {} fine\n",
        counted(count(Level::Failure), "failure"),
        counted(count(Level::Warning), "warning"),
        count(Level::Ok)
    );
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let width = findings.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    for finding in sorted {
        let word = match finding.level {
            Level::Ok => "ok  ",
            Level::Warning => "WARN",
            Level::Failure => "FAIL",
        };
        let painted = finding_paint(look, finding.level, word);
        let _ = writeln!(text, "{painted}  {:width$}  {}", finding.check, finding.message);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "      {:width$}  -> {remedy}", "");
        }
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_with_its_remedy() {
        let findings = [
            well("quorum", "is there"),
            failure("disk", "is full", "make room"),
            warning("arp", "unknown", "drill"),
        ];
        let expected = "\
doctor on web1: 1 failure, 1 warning, 1 fine
FAIL  disk    is full
              -> make room
WARN  arp     unknown
              -> drill
ok    quorum  is there
";
        assert_eq!(text("web1", &findings, Look { colour: false, columns: 80 }), expected);
    }
}
