//! The configurations that this node has had, in files of the state directory: the last ten. Owned by the
//! keeper's thread; each is written whole, beside, and renamed, so that a full disk or a power cut leaves
//! what was there.
//!
//! ```text
//!   STATE_DIR/configurations/0000000012.0000.json    version 12, agreed on by the cluster
//!                            0000000012.0001.json    what somebody made of it here: 12.1
//!                            current                 which of them stands in the file
//! ```
//! `current` is written last: at the start it tells whether the newest agreed version reached the file.

use crate::os::replace::{Draft, replace};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many are kept.
pub const KEPT: usize = 10;
const DIRECTORY: &str = "configurations";
const CURRENT: &str = "current";
/// They may name commands and addresses that are nobody's business.
const MODE: u32 = 0o600;

/// Which configuration: the number that the cluster gave it, and how often it was edited here since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Agreed on; 0 before the first.
    pub number: u64,
    /// 0: as it was agreed on.
    pub edit: u32,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.edit {
            0 => write!(f, "{}", self.number),
            edit => write!(f, "{}.{edit}", self.number),
        }
    }
}

impl std::str::FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, edit) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Mark { number: number.parse().map_err(|_| ())?, edit: edit.parse().map_err(|_| ())? })
    }
}

/// What is to happen if nobody confirms a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// When the version before it comes back, in seconds of the wall clock: it must outlive a restart.
    pub until: u64,
    /// How long it was given, in seconds: a clock that was set must not make it longer.
    pub given: u64,
    /// What comes back: the same text on every node.
    pub before: String,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Which.
    pub mark: Mark,
    /// Of the effective configuration.
    pub digest: u64,
    /// When it came here, RFC 3339.
    pub time: String,
    /// Where it came from, for people.
    pub origin: String,
    /// The file.
    pub text: String,
    /// It goes again unless it is confirmed.
    pub unconfirmed: Option<Unconfirmed>,
}

/// All that are kept, oldest first.
#[derive(Debug)]
pub struct History {
    directory: PathBuf,
    versions: Vec<Version>,
    current: Option<Mark>,
}

impl History {
    /// What earlier lives left; what cannot be read is told and left out.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(state_dir: &Path) -> io::Result<History> {
        let directory = state_dir.join(DIRECTORY);
        fs::create_dir_all(&directory)?;
        let mut versions = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = fs::read(&path).map_err(|error| error.to_string());
            match read.and_then(|bytes| {
                serde_json::from_slice::<Version>(&bytes).map_err(|error| error.to_string())
            }) {
                Ok(version) => versions.push(version),
                Err(error) => log::warn!("{}: {error}: left out of the history", path.display()),
            }
        }
        versions.sort_by_key(|version| version.mark);
        let current = fs::read(directory.join(CURRENT)).ok();
        let current = current.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(History { directory, versions, current })
    }

    /// All of them, oldest first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The one that stands in the file, as far as is known here.
    pub fn current(&self) -> Option<&Version> {
        self.current.and_then(|mark| self.find(mark))
    }

    /// That one, if it is kept.
    pub fn find(&self, mark: Mark) -> Option<&Version> {
        self.versions.iter().find(|version| version.mark == mark)
    }

    /// The newest that the cluster agreed on.
    pub fn agreed(&self) -> Option<&Version> {
        self.versions.iter().rfind(|version| version.mark.edit == 0 && version.mark.number > 0)
    }

    /// The mark of the next edit here.
    pub fn next_edit(&self) -> Mark {
        let number = self.agreed().map_or(0, |version| version.mark.number);
        let edits = self.versions.iter().filter(|version| version.mark.number == number);
        let edit = edits.map(|version| version.mark.edit).max().unwrap_or(0) + 1;
        Mark { number, edit }
    }

    /// On the disk, and not yet one of them: so a full disk is known before anything is promised.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn draft(&self, version: &Version) -> io::Result<Draft> {
        let name = format!("{:010}.{:04}.json", version.mark.number, version.mark.edit);
        let content = serde_json::to_vec(version).map_err(io::Error::other)?;
        Draft::write(&self.directory.join(name), &content, MODE)
    }

    /// One of them from now on, in the place of one of the same mark.
    ///
    /// # Errors
    /// Those of the disk: nothing has changed then.
    pub fn keep(&mut self, version: Version, draft: Draft) -> io::Result<()> {
        draft.place()?;
        self.versions.retain(|known| known.mark != version.mark);
        self.versions.push(version);
        self.versions.sort_by_key(|version| version.mark);
        self.prune();
        Ok(())
    }

    /// None of them after all: it could not be taken.
    pub fn forget(&mut self, mark: Mark) {
        self.versions.retain(|version| version.mark != mark);
        self.remove(mark);
    }

    /// It stands in the file from now on.
    ///
    /// # Errors
    /// Those of the disk; it is known all the same until the end of this life.
    pub fn stands(&mut self, mark: Mark) -> io::Result<()> {
        self.current = Some(mark);
        let content = serde_json::to_vec(&mark).map_err(io::Error::other)?;
        replace(&self.directory.join(CURRENT), &content, MODE)?;
        self.prune();
        Ok(())
    }

    /// The oldest go; never the newest that was agreed on, nor what stands in the file.
    fn prune(&mut self) {
        let agreed = self.agreed().map(|version| version.mark);
        while self.versions.len() > KEPT {
            let needed = |mark| Some(mark) == agreed || Some(mark) == self.current;
            let Some(at) = self.versions.iter().position(|version| !needed(version.mark)) else { return };
            let mark = self.versions.remove(at).mark;
            self.remove(mark);
        }
    }

    fn remove(&self, mark: Mark) {
        let name = format!("{:010}.{:04}.json", mark.number, mark.edit);
        if let Err(error) = fs::remove_file(self.directory.join(&name)) {
            log::warn!("cannot remove the configuration {name}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::scratch::Directory;

    fn version(number: u64, edit: u32) -> Version {
        Version {
            mark: Mark { number, edit },
            digest: number * 100 + u64::from(edit),
            time: "2026-01-31T12:00:00.000Z".into(),
            origin: "a test".into(),
            text: format!("text {number}.{edit}"),
            unconfirmed: None,
        }
    }

    fn keep(history: &mut History, version: Version) {
        let draft = history.draft(&version).expect("written");
        history.keep(version, draft).expect("kept");
    }

    #[test]
    fn ten_are_kept_over_a_restart_and_never_less_than_what_counts() {
        let place = Directory::new("ten");
        let mut history = History::open(&place.path).expect("made");
        assert_eq!(history.next_edit(), Mark { number: 0, edit: 1 });
        keep(&mut history, version(1, 0));
        history.stands(Mark { number: 1, edit: 0 }).expect("written");
        for edit in 1..=14 {
            assert_eq!(history.next_edit(), Mark { number: 1, edit });
            keep(&mut history, version(1, edit));
        }
        let marks = |history: &History| {
            history.versions().iter().map(|version| version.mark.to_string()).collect::<Vec<_>>().join(" ")
        };
        let expected = "1 1.6 1.7 1.8 1.9 1.10 1.11 1.12 1.13 1.14";
        assert_eq!(marks(&history), expected);
        let again = History::open(&place.path).expect("there");
        assert_eq!((marks(&again).as_str(), again.versions()), (expected, history.versions()));
        assert_eq!(again.current(), Some(&version(1, 0)));
        assert_eq!(again.agreed(), Some(&version(1, 0)));
    }

    #[test]
    fn what_is_torn_or_unfinished_is_none_of_them() {
        let place = Directory::new("torn");
        let mut history = History::open(&place.path).expect("made");
        keep(&mut history, version(1, 0));
        let draft = history.draft(&version(2, 0)).expect("written");
        fs::write(place.path.join(DIRECTORY).join("0000000003.0000.json"), b"{\"mark\":").expect("written");
        let again = History::open(&place.path).expect("there");
        assert_eq!(again.versions(), [version(1, 0)]);
        assert!(again.current().is_none());
        drop(draft);
        assert_eq!(History::open(&place.path).expect("there").versions(), [version(1, 0)]);
        fs::remove_dir_all(&place.path).expect("ours");
        let error = history.draft(&version(2, 0)).expect_err("no directory");
        assert!(error.to_string().contains(".0000000002.0000.json.new: No such file"), "{error}");
        assert_eq!(history.versions(), [version(1, 0)]);
    }

    #[test]
    fn marks_are_read_as_they_are_written() {
        for mark in [Mark { number: 12, edit: 0 }, Mark { number: 0, edit: 3 }] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        assert!("web1".parse::<Mark>().is_err() && "1.x".parse::<Mark>().is_err());
    }
}
