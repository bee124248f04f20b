//! `diehard debug bundle`: what somebody who helps from afar needs, in a directory of plain files. Never the key.

use super::{End, Session, refused};
use crate::config;
use crate::control::client::Client;
use crate::control::events::rfc3339;
use crate::control::protocol::Question;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What other programs tell: file and command. A tool that is missing is named in its file.
const COMMANDS: &[(&str, &[&str])] = &[
    ("ip-addr.txt", &["ip", "-details", "-statistics", "addr"]),
    ("ip-route.txt", &["ip", "route", "show", "table", "all"]),
    ("ip-neigh.txt", &["ip", "neigh"]),
    ("nft.txt", &["nft", "list", "ruleset"]),
    ("sysctl.txt", &["sysctl", "net.ipv4.conf", "net.ipv6.conf", "kernel.sched_rt_runtime_us"]),
    ("processes.txt", &["ps", "-eLo", "pid,tid,cls,rtprio,stat,comm"]),
    ("log.txt", &["journalctl", "--identifier", "diehardd", "--lines", "2000", "--no-pager"]),
];
/// Where the log is on machines without a journal, and how much of its end is taken.
const LOG_FILES: [&str; 3] = ["/var/log/daemon.log", "/var/log/syslog", "/var/log/messages"];
const LOG_BYTES: u64 = 8 << 20;

impl Session<'_> {
    pub(super) fn bundle(&mut self, directory: Option<&Path>) -> Result<(), End> {
        let mut client = self.connect()?;
        let status = client.status()?;
        let vitals = client.vitals()?;
        let directory = directory.map_or_else(|| default_name(&status.node), Path::to_owned);
        let told = |error: io::Error| refused(format!("{}: {error}", directory.display()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(told)?;
        let write = |name: &str, text: &str| write(&directory.join(name), text).map_err(told);
        write("status.json", &super::json_text(&status))?;
        write("vitals.json", &super::json_text(&vitals))?;
        write("events.json", &super::json_text(&events(&mut client)?))?;
        write("diehard.conf", &configuration(&vitals.config_file))?;
        write("log-file.txt", &log_file())?;
        for (name, words) in COMMANDS {
            write(name, &output(words))?;
        }
        let (json, _) = self.examine();
        write("doctor.json", &super::json_text(&json))?;
        let text =
            format!("{}: everything but the key; look through it before you pass it on", directory.display());
        self.say(&serde_json::json!({"ok": true, "directory": directory}), &text)
    }
}

#[allow(clippy::disallowed_methods, reason = "a name for a person's directory")]
fn default_name(node: &str) -> PathBuf {
    let now = rfc3339(std::time::SystemTime::now());
    PathBuf::from(format!("diehard-{node}-{}", now[..19].replace(':', "")))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn events(client: &mut Client) -> Result<serde_json::Value, End> {
    Ok(client.ask(&Question::Events { follow: false, since: None, limit: None })?)
}

/// As it is understood, without what stands before an `@` in an address of a check.
fn configuration(file: &Path) -> String {
    let name = file.display().to_string();
    let Ok(bytes) = fs::read(file) else { return format!("; {name} cannot be read\n") };
    match config::parse(&name, &bytes) {
        Ok(parsed) => config::print(&parsed.config).lines().map(|line| masked(line) + "\n").collect(),
        Err(problems) => problems.iter().map(|problem| format!("; {problem}\n")).collect(),
    }
}

/// `http://user:password@host/` loses its second part.
fn masked(line: &str) -> String {
    let Some((before, rest)) = line.split_once("://") else { return line.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{before}://...{}", &rest[at..]),
        None => line.to_owned(),
    }
}

fn output(words: &[&str]) -> String {
    let (program, arguments) = words.split_first().expect("every command has a name");
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&said).into_owned()
        }
        Err(error) => format!("{program}: {error}\n"),
    }
}

/// The daemon's lines at the end of the first log file that there is.
fn log_file() -> String {
    for path in LOG_FILES {
        if let Some(text) = end_of(Path::new(path)) {
            let lines = text.lines().filter(|line| line.contains("diehardd"));
            return format!("{path}\n{}\n", lines.collect::<Vec<_>>().join("\n"));
        }
    }
    "there is none of the usual files\n".to_owned()
}

fn end_of(path: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_left_out() {
        assert_eq!(
            masked("target = http://me:secret@203.0.113.21/a@b"),
            "target = http://...@203.0.113.21/a@b"
        );
        for line in ["target = http://203.0.113.21/a@b", "name = www", "target = tcp://10.0.0.1:80"] {
            assert_eq!(masked(line), line);
        }
    }

    #[test]
    fn a_missing_tool_is_named() {
        assert!(output(&["diehard-no-such-tool"]).starts_with("diehard-no-such-tool: "));
        assert_eq!(output(&["echo", "here"]), "here\n");
    }
}
