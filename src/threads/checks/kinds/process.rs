//! `process`: does it live? By pid file, or by name. Its end is seen at once through the descriptor that goes back
//! with the finding.

use super::{Process, Result};
use crate::os::errors::why;
use crate::os::process::watch;
use crate::recovery::Finding;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// The kernel keeps so many bytes of a process's name.
const NAME_BYTES: usize = 15;

/// `ended`: that process was watched, and its end is why this run takes place.
pub(super) fn look(target: &str, ended: Option<u32>) -> Result {
    let found = if target.starts_with('/') { by_file(target) } else { by_name(target) };
    // Between the search and the descriptor it may have ended, and its number may be somebody else's.
    let watched = found.and_then(|pid| {
        let end = watch(pid).map_err(|error| format!("process {pid}: {}", why(&error)))?;
        match lives(pid) {
            true => Ok(Process { pid, end: Arc::new(end) }),
            false => Err(format!("process {pid} has ended")),
        }
    });
    match (watched, ended) {
        (Ok(process), _) => {
            let finding = Finding::well(format!("process {} lives", process.pid));
            Result { finding, process: Some(process) }
        }
        (Err(_), Some(pid)) => {
            Result { finding: Finding::gone(format!("process {pid} has ended")), process: None }
        }
        (Err(why), None) => Result { finding: Finding::bad(why), process: None },
    }
}

pub(super) fn by_file(path: &str) -> std::result::Result<u32, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {}", why(&error)))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    let pid: u32 = first.parse().map_err(|_| format!("{path} holds no process number"))?;
    if lives(pid) { Ok(pid) } else { Err(format!("process {pid} of {path} does not live")) }
}

/// Of several the one that is not another one's child: a server's master, not its workers.
fn by_name(name: &str) -> std::result::Result<u32, String> {
    let matching = all_named(name)?;
    let root = matching.iter().find(|(_, parent)| !matching.contains_key(parent));
    root.or(matching.iter().next()).map(|(&pid, _)| pid).ok_or_else(|| format!("no process {name} lives"))
}

/// Every process that lives and is called so, with its parent.
pub(super) fn all_named(name: &str) -> std::result::Result<BTreeMap<u32, u32>, String> {
    let own = std::process::id();
    let named = |pid: &u32, comm: &str| {
        (name.len() <= NAME_BYTES && comm == name) || argument_name(*pid).as_deref() == Some(name)
    };
    let processes = processes()?.filter(|(pid, _, _)| *pid != own);
    Ok(processes.filter(|(pid, comm, _)| named(pid, comm)).map(|(pid, _, parent)| (pid, parent)).collect())
}

/// Every process that lives: number, name, parent.
pub(super) fn processes() -> std::result::Result<impl Iterator<Item = (u32, String, u32)>, String> {
    let directory = fs::read_dir("/proc").map_err(|error| format!("/proc: {}", why(&error)))?;
    let numbers = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Ok(numbers.filter_map(|pid| stat(pid).map(|(comm, parent)| (pid, comm, parent))))
}

fn lives(pid: u32) -> bool {
    stat(pid).is_some()
}

/// Name and parent of a process that lives; a zombie does not.
fn stat(pid: u32) -> Option<(String, u32)> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name may hold brackets and blanks: it ends with the last bracket.
    let (before, after) = text.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let mut words = after.split_whitespace();
    let state = words.next()?;
    let parent = words.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then(|| (name.to_owned(), parent))
}

/// The last part of the path by which it was called.
fn argument_name(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = bytes.split(|&byte| byte == 0).next()?;
    let text = String::from_utf8_lossy(first);
    text.rsplit('/').next().map(str::to_owned)
}
