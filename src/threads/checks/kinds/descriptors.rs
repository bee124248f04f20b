//! `fd`: open files, of a process as a part of what it may open, or of the whole machine.

use super::process::{all_named, by_file, processes};
use crate::os::errors::why;
use crate::recovery::Finding;
use std::fs;

/// What the target says: `system`, a process, a pid file.
pub(super) fn look(target: &str) -> Finding {
    let (of, limit) = target.rsplit_once(char::is_whitespace).unwrap_or((target, ""));
    let limit: f64 = limit.trim_end_matches('%').parse().unwrap_or(100.0);
    let used = match of.trim_end() {
        "system" => of_the_machine(),
        of => of_processes(of),
    };
    match used {
        Ok((used, message)) if used > limit => Finding::bad(format!("{message}, {limit}% is the limit")),
        Ok((_, message)) => Finding::well(message),
        Err(why) => Finding::bad(why),
    }
}

fn of_the_machine() -> Result<(f64, String), String> {
    let path = "/proc/sys/fs/file-nr";
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {}", why(&error)))?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [open, _, most] = numbers[..] else { return Err(format!("{path} cannot be read")) };
    let used = percent(open, most);
    Ok((used, format!("{open} files open on this machine, {used:.0}% of the most")))
}

/// The fullest of them counts: a server's workers hold what its master does not.
fn of_processes(of: &str) -> Result<(f64, String), String> {
    let numbers: Vec<u32> = if of.starts_with('/') {
        let master = by_file(of)?;
        let children = processes()?.filter(|(_, _, parent)| *parent == master).map(|(pid, _, _)| pid);
        children.chain([master]).collect()
    } else {
        all_named(of)?.into_keys().collect()
    };
    let all = numbers.into_iter().filter_map(|pid| Some((pid, open_files(pid)?)));
    let fullest =
        all.max_by(|(_, one), (_, other)| percent(one.0, one.1).total_cmp(&percent(other.0, other.1)));
    let Some((pid, (open, most))) = fullest else { return Err(format!("no process {of} lives")) };
    let used = percent(open, most);
    Ok((used, format!("process {pid} has {open} of {most} files open, {used:.0}%")))
}

/// Open now, and at most; `None`: it has ended.
fn open_files(pid: u32) -> Option<(f64, f64)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    Some((open as f64, most_files(&limits)?))
}

/// The soft limit: at that the process gets EMFILE.
fn most_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part * 100.0 / whole } else { 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_limit_is_the_soft_one() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files            256                  1024                 files\n";
        assert_eq!(most_files(limits), Some(256.0));
        assert_eq!(most_files("Max open files  unlimited unlimited files\n"), Some(f64::INFINITY));
        assert_eq!(most_files("nonsense"), None);
    }

    #[test]
    fn a_process_that_has_too_many_files_open_is_seen() {
        let file = std::env::temp_dir().join(format!("diehard-open-{}", std::process::id()));
        let script = "ulimit -n 50; exec 3</dev/null 4</dev/null 5</dev/null 6</dev/null; echo; read end";
        let mut child = Command::new("/bin/sh");
        let mut child =
            child.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        let mut ready = [0];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut ready).expect("it says so");
        fs::write(&file, child.id().to_string()).expect("writable");
        let path = file.display();
        // Whoever runs the tests may leave it some more.
        let open = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it lives").count();
        let percent = 2 * open;
        let tight = look(&format!("{path} {}%", percent - 1));
        let wide = look(&format!("{path} {}%", percent + 1));
        child.kill().expect("ours");
        child.wait().expect("ended");
        let dead = look(&format!("{path} 80%"));
        fs::remove_file(&file).expect("ours");
        let message = format!("process {} has {open} of 50 files open, {percent}%", child.id());
        assert_eq!(wide, Finding::well(message.clone()));
        assert_eq!(tight, Finding::bad(format!("{message}, {}% is the limit", percent - 1)));
        assert!(!dead.well && dead.message.contains("does not live"), "{dead:?}");
    }

    #[test]
    fn the_machine_says_how_many_there_are() {
        let all = look("system 100%");
        assert!(all.well && all.message.contains("files open on this machine"), "{all:?}");
        assert_eq!(look("no-such-process 50%"), Finding::bad("no process no-such-process lives"));
    }
}
