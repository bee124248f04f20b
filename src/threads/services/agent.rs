//! Agents of services: what the shell runs for each of them, in which environment, and what its exit code means.
//!
//! Called by the runner threads of `services` for `start` and `stop`, and by the workers of `checks` for what a check
//! of type `service` asks. Nothing here waits: whoever calls runs what it is given.

use crate::config::{Agent, Config};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the machine keeps what agents are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Init scripts.
    pub init_scripts: PathBuf,
    /// `OCF_ROOT`: agents are in `resource.d/PROVIDER` below it.
    pub ocf_root: PathBuf,
    /// There while systemd is the machine's first process (sd_booted(3)).
    pub systemd: PathBuf,
    /// What talks to it.
    pub systemctl: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Places {
            init_scripts: PathBuf::from("/etc/init.d"),
            ocf_root: PathBuf::from("/usr/lib/ocf"),
            systemd: PathBuf::from("/run/systemd/system"),
            systemctl: PathBuf::from("/bin/systemctl"),
        }
    }
}

/// What an agent is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Be running.
    Start,
    /// Not be.
    Stop,
    /// Say whether it runs.
    Look {
        /// How deep (`OCF_CHECK_LEVEL`).
        level: u32,
        /// How often it is asked. An OCF agent takes 0 for «was it ever started?».
        interval: Duration,
    },
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// For the shell.
    pub command: String,
    /// Beside what every command of the service gets.
    pub environment: Vec<(String, String)>,
}

/// Directories of programs: a daemon that was started at boot may have been given none of those for root.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The version of the API that is spoken (OCF Resource Agent API 1.1).
const OCF_VERSION: (&str, &str) = ("1", "1");

/// What to run so that this agent does that for the service `instance`, within `limit`.
///
/// # Errors
/// The agent is not on this machine: why not, in words.
pub fn call(
    agent: &Agent,
    deed: Deed,
    instance: &str,
    limit: Duration,
    places: &Places,
) -> Result<Call, String> {
    let plain = |command| Call { command, environment: Vec::new() };
    match agent {
        Agent::Command(command) => Ok(plain(command.clone())),
        Agent::Lsb(name) => {
            let script = places.init_scripts.join(name);
            executable(&script)?;
            Ok(plain(format!("exec {} {}", quoted(&script), lsb_word(deed))))
        }
        Agent::Systemd(unit) => {
            if !places.systemd.is_dir() {
                return Err(format!("systemd does not run here: there is no {}", places.systemd.display()));
            }
            executable(&places.systemctl)?;
            let word = match deed {
                Deed::Start => "start",
                Deed::Stop => "stop",
                Deed::Look { .. } => "is-active",
            };
            let systemctl = quoted(&places.systemctl);
            Ok(plain(format!("exec {systemctl} --no-ask-password {word} {}", quoted(Path::new(unit)))))
        }
        Agent::Ocf { provider, name, parameters } => {
            let script = places.ocf_root.join("resource.d").join(provider).join(name);
            executable(&script)?;
            let (word, level, interval) = match deed {
                Deed::Start => ("start", 0, Duration::ZERO),
                Deed::Stop => ("stop", 0, Duration::ZERO),
                Deed::Look { level, interval } => ("monitor", level, interval),
            };
            let root = places.ocf_root.display().to_string();
            let fixed = [
                ("OCF_ROOT", root.as_str()),
                ("OCF_RA_VERSION_MAJOR", OCF_VERSION.0),
                ("OCF_RA_VERSION_MINOR", OCF_VERSION.1),
                ("OCF_RESOURCE_INSTANCE", instance),
                ("OCF_RESOURCE_TYPE", name),
                ("OCF_RESOURCE_PROVIDER", provider),
                ("OCF_CHECK_LEVEL", &level.to_string()),
                ("OCF_RESKEY_CRM_meta_timeout", &limit.as_millis().to_string()),
                ("OCF_RESKEY_CRM_meta_interval", &interval.as_millis().to_string()),
                ("PATH", PATH),
            ];
            let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
            let told = parameters.iter().map(|(key, value)| (format!("OCF_RESKEY_{key}"), value.clone()));
            let command = format!("exec {} {word}", quoted(&script));
            Ok(Call { command, environment: fixed.chain(told).collect() })
        }
    }
}

/// How an OCF agent knows a service, or one of its parts, from others of its kind (`OCF_RESOURCE_INSTANCE`).
pub fn instance(service: &str, part: Option<&str>) -> String {
    part.map_or_else(|| service.to_owned(), |part| format!("{service}-{part}"))
}

/// Is that exit code the success of what it was asked for? If not, what it says.
///
/// # Errors
/// It is not.
pub fn judge(agent: &Agent, deed: Deed, code: i32) -> Result<(), String> {
    let looks = matches!(deed, Deed::Look { .. });
    // Who is asked to stop what does not run has nothing to do, and some say so.
    let done = code == 0 || (deed == Deed::Stop && code == 7);
    let (kind, done, words) = match agent {
        Agent::Command(_) => ("", code == 0, None),
        Agent::Lsb(_) if looks => ("LSB status", code == 0, lsb_status(code)),
        Agent::Lsb(_) => ("LSB exit code", done, lsb_error(code)),
        // Degraded ones serve, 190 and 191 as Pacemaker has them; they should be looked at.
        Agent::Ocf { .. } if looks => ("OCF exit code", matches!(code, 0 | 8 | 190 | 191), ocf_error(code)),
        Agent::Ocf { .. } => ("OCF exit code", done, ocf_error(code)),
        Agent::Systemd(_) if looks => ("exit code", code == 0, None),
        Agent::Systemd(_) => ("exit code", code == 0, (code == 5).then_some("the unit is not loaded")),
    };
    match (done, words) {
        (true, _) => Ok(()),
        (false, Some(words)) => Err(format!("{words} ({kind} {code})")),
        (false, None) => Err(format!("exit code {code}")),
    }
}

/// Agents that the configuration names and this machine has not: one line each.
pub fn missing(config: &Config, places: &Places) -> Vec<String> {
    let mut lines = Vec::new();
    for service in &config.services {
        let own = ("service", &service.name, service.start.as_ref(), &service.stop, &service.status);
        let parts = service.parts.iter();
        let parts = parts.map(|part| ("part", &part.name, Some(&part.start), &part.stop, &part.status));
        for (kind, name, start, stop, status) in std::iter::once(own).chain(parts) {
            let texts = [("start", start), ("stop", stop.as_ref()), ("status", status.as_ref())];
            let mut said: Option<&String> = None;
            for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text?))) {
                let Ok(agent) = Agent::parse(text) else { continue };
                let tried = call(&agent, Deed::Start, name, Duration::ZERO, places);
                // One agent for all three is one line.
                if let (Err(why), false) = (tried, said == Some(text)) {
                    lines.push(format!("[{kind} {name}] {key} = {text}: {why}"));
                }
                said = Some(text);
            }
        }
    }
    lines
}

fn executable(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(format!("{} is no program", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no {}", path.display()))
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// As one word of the shell, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn lsb_word(deed: Deed) -> &'static str {
    match deed {
        Deed::Start => "start",
        Deed::Stop => "stop",
        Deed::Look { .. } => "status",
    }
}

/// Linux Standard Base Core 5.0, 22.2, of all actions but `status`.
fn lsb_error(code: i32) -> Option<&'static str> {
    Some(match code {
        1 => "it failed",
        2 => "wrong arguments",
        3 => "it does not know how",
        4 => "no permission",
        5 => "not installed",
        6 => "not configured",
        7 => "not running",
        _ => return None,
    })
}

/// The same of `status`.
fn lsb_status(code: i32) -> Option<&'static str> {
    Some(match code {
        1 => "dead, its pid file is left",
        2 => "dead, its lock file is left",
        3 => "not running",
        4 => "it cannot say",
        _ => return None,
    })
}

/// OCF Resource Agent API 1.1, return codes: the same, and one more.
fn ocf_error(code: i32) -> Option<&'static str> {
    match code {
        9 => Some("it failed as promoted"),
        _ => lsb_error(code),
    }
}

#[cfg(test)]
mod tests;
