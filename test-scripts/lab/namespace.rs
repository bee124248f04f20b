//! Network namespaces and the processes in them: made, entered, swept away.
//!
//! Owns nothing; called by the world. Everything made here has a name that begins with `dh-PID-`, PID
//! being the lab that made it: so a later run finds what a killed one left behind.

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What went wrong, in words for a person.
pub type Outcome<T> = Result<T, String>;

/// All names made by this process begin so.
pub fn own_prefix() -> String {
    format!("dh-{}-", std::process::id())
}

/// Runs a program to its end; its standard output, or an error that holds what it said.
pub fn run(program: &str, arguments: &[&str]) -> Outcome<String> {
    run_with_input(program, arguments, "")
}

/// As `run`, with `input` on standard input.
pub fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Outcome<String> {
    let what = || format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", what()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it: that is its own affair.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("{}: {error}", what()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {}: {}", what(), output.status, said.trim()))
    }
}

/// Does `work` on a thread of its own inside the namespace. Sockets made there stay there.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Outcome<T> {
    let path = Path::new("/run/netns").join(namespace);
    let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)
                    .map_err(|error| format!("setns {namespace}: {error}"))?;
                Ok(work())
            })
            .join()
            .map_err(|_| format!("the thread in {namespace} panicked"))?
    })
}

/// A program to be run in the namespace; it keeps its process id, and sees that namespace's `/sys`.
pub fn command_in(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// The processes that live in the namespace.
pub fn processes(namespace: &str) -> Vec<i32> {
    let listed = run("ip", &["netns", "pids", namespace]).unwrap_or_default();
    listed.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Ends every process in the namespace, by id, and waits until none is left.
pub fn end_processes(namespace: &str) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let alive = processes(namespace);
        if alive.is_empty() {
            return Ok(());
        }
        for pid in &alive {
            // Gone in the meantime is what we want.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if Instant::now() > deadline {
            return Err(format!("processes {alive:?} in {namespace} do not end"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The names of all namespaces that begin with `prefix`.
pub fn names(prefix: &str) -> Vec<String> {
    let listed = run("ip", &["netns", "list"]).unwrap_or_default();
    let first_words = listed.lines().filter_map(|line| line.split_whitespace().next());
    first_words.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

/// Removes the namespaces that begin with `prefix`, and every process in them.
pub fn destroy(prefix: &str) -> Outcome<()> {
    let mut failures = Vec::new();
    for name in names(prefix) {
        failures.extend(end_processes(&name).err());
        failures.extend(run("ip", &["netns", "delete", &name]).err());
        // What it has instead of parts of the machine's /etc.
        failures.extend(remove_directory(&own_etc(&name)).err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// What lies here is mounted over `/etc` for what `ip netns exec` starts in that namespace.
pub fn own_etc(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// Where this lab's files are: on a disk, as a daemon's are, for what it has to wait for.
pub fn own_directory() -> PathBuf {
    std::env::temp_dir().join(own_prefix().trim_end_matches('-'))
}

/// Removes what labs left behind that no longer live (killed, or the machine's owner lost patience).
pub fn sweep_stale() -> Outcome<()> {
    let directories = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let directories = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
    for name in names("dh-").into_iter().chain(directories) {
        let Some(owner) =
            name.strip_prefix("dh-").and_then(|rest| rest.split('-').next()?.parse::<i32>().ok())
        else {
            continue;
        };
        // Another program may have the number by now: only a living lab keeps its namespaces.
        let lives =
            std::fs::read_to_string(format!("/proc/{owner}/comm")).is_ok_and(|comm| comm.trim() == "lab");
        if !lives {
            destroy(&format!("dh-{owner}-"))?;
            remove_directory(&std::env::temp_dir().join(format!("dh-{owner}")))?;
        }
    }
    Ok(())
}

/// Removes a lab's files; none is fine.
pub fn remove_directory(path: &Path) -> Outcome<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}
