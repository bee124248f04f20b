//! `diehard doctor`: gathers what `control::doctor` judges. A daemon that does not answer is the first finding, and
//! the machine is looked at all the same.

use super::{End, Session, refused};
use crate::config::{self, Config};
use crate::control::arguments::DEFAULT_CONFIG;
use crate::control::client::Client;
use crate::control::doctor::machine::Machine;
use crate::control::doctor::{self, Finding, Level, cluster, failure, firewall, warning};
use crate::control::events::Batch;
use crate::control::protocol::Question;
use crate::control::status::Status;
use crate::control::vitals::Vitals;
use crate::os::errors::why;
use crate::os::sched;
use crate::vocabulary::NodeId;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the daemon keeps its state unless told otherwise.
const DEFAULT_STATE: &str = "/var/lib/diehard";
/// For a connection to another node: it is on the same LAN, and half of what a push waits.
const DOOR_PATIENCE: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(super) fn doctor(&mut self) -> Result<(), End> {
        let (json, findings) = self.examine();
        let failures = findings.iter().filter(|finding| finding.level == Level::Failure).count();
        if self.arguments.json {
            self.say(&json, "")?;
        } else {
            let node = json["node"].as_str().unwrap_or_default();
            let text = doctor::text(node, &findings, self.look);
            self.out.write_all(text.as_bytes())?;
            self.out.flush()?;
        }
        match failures {
            0 => Ok(()),
            1 => Err(refused("1 thing is not as it must be")),
            count => Err(refused(format!("{count} things are not as they must be"))),
        }
    }

    /// The findings, and the object that holds them.
    pub(super) fn examine(&self) -> (serde_json::Value, Vec<Finding>) {
        let mut findings = Vec::new();
        let daemon = self.daemon().inspect_err(|why| findings.push(daemon_down(why))).ok();
        let (file, state_dir, pid) = match &daemon {
            Some((_, vitals, _)) => (vitals.config_file.clone(), vitals.state_dir.clone(), Some(vitals.pid)),
            None => (PathBuf::from(DEFAULT_CONFIG), PathBuf::from(DEFAULT_STATE), None),
        };
        let name = match &daemon {
            Some((status, ..)) => status.node.clone(),
            None => sched::host_name().unwrap_or_default(),
        };
        if let Some((status, vitals, events)) = &daemon {
            findings.extend(cluster::findings(status, vitals, events));
        }
        match read(&file) {
            Ok(config) => {
                findings.extend(of_machine(&config, &name, &state_dir, pid));
                if let Some((status, ..)) = &daemon {
                    findings.push(cluster::doors(&knock(&config, status)));
                }
            }
            Err(why) => {
                let remedy = format!("diehard config check {}", file.display());
                findings.push(failure("configuration", why, remedy));
            }
        }
        let ok = findings.iter().all(|finding| finding.level != Level::Failure);
        (serde_json::json!({"node": name, "ok": ok, "findings": findings}), findings)
    }

    fn daemon(&self) -> Result<(Status, Vitals, Vec<crate::control::events::Entry>), String> {
        let ask = || {
            let mut client = Client::connect(&self.arguments.socket)?;
            let (status, vitals) = (client.status()?, client.vitals()?);
            let events = client.ask(&Question::Events { follow: false, since: None, limit: None })?;
            Ok((status, vitals, events))
        };
        let (status, vitals, events) = ask().map_err(|trouble: super::Trouble| trouble.to_string())?;
        let batch: Batch = serde_json::from_value(events).map_err(|error| error.to_string())?;
        Ok((status, vitals, batch.events))
    }
}

fn daemon_down(why: &String) -> Finding {
    failure("daemon", why, "/etc/init.d/diehard start; the system's log says why it ended")
}

fn read(file: &Path) -> Result<Config, String> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {name}: {error}"))?;
    let parsed = config::parse(&name, &bytes);
    parsed.map(|parsed| parsed.config).map_err(|problems| format!("{name} has {} errors", problems.len()))
}

fn of_machine(config: &Config, name: &str, state_dir: &Path, pid: Option<u32>) -> Vec<Finding> {
    let Some(node) = config.node_named(name) else {
        return vec![failure(
            "configuration",
            format!("this machine, {name}, is no [node] of the file"),
            "add it, or start with -n",
        )];
    };
    let mut findings = Machine { root: Path::new("/"), config, node, pid, state_dir }.findings();
    let devices = [node.internal.device.as_str(), node.external.device.as_str()];
    findings.extend(of_firewall(&devices, config.cluster.port));
    if let Some(elsewhere) = pid.and_then(other_network) {
        findings.push(elsewhere);
    }
    findings
}

fn of_firewall(devices: &[&str], port: u16) -> Vec<Finding> {
    match Command::new("nft").args(["-j", "list", "ruleset"]).output() {
        Ok(output) if output.status.success() => match serde_json::from_slice(&output.stdout) {
            Ok(ruleset) => firewall::findings(&ruleset, devices, port),
            Err(error) => vec![warning(
                "firewall",
                format!("nft's answer is not understood: {error}"),
                "nft list ruleset",
            )],
        },
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            vec![warning("firewall", format!("nft does not tell its rules: {why}"), "ask as root")]
        }
        // No nft: whoever filters with something else has to look there.
        Err(_) => vec![warning(
            "firewall",
            "there is no nft: packet filters were not looked at",
            "apt-get install nftables",
        )],
    }
}

/// Whether a connection to the keeper of each node that is there comes about, all at the same time; and why not. Who
/// comes in and says nothing is nobody to them.
fn knock(config: &Config, status: &Status) -> Vec<(String, Result<(), String>)> {
    let there = |name: &str| {
        status.nodes.iter().any(|it| it.name == name && matches!(it.state.as_str(), "up" | "standby"))
    };
    let knock = |id: NodeId| {
        let address = SocketAddr::from((id.address(), config.cluster.port));
        TcpStream::connect_timeout(&address, DOOR_PATIENCE).map(drop).map_err(|error| why(&error))
    };
    std::thread::scope(|scope| {
        let present = config.nodes.iter().filter(|node| there(&node.name));
        let knocking: Vec<_> =
            present.map(|node| (node.name.clone(), scope.spawn(|| knock(node.id)))).collect();
        let lost = |_| Err("the thread that asked has panicked".to_owned());
        knocking.into_iter().map(|(name, asked)| (name, asked.join().unwrap_or_else(lost))).collect()
    })
}

/// Sysctls and rules are those of the asker's network.
fn other_network(pid: u32) -> Option<Finding> {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let (own, its) = (of("self")?, of(&pid.to_string())?);
    let remedy = format!("nsenter -t {pid} -n diehard doctor");
    (own != its)
        .then(|| warning("network", "the daemon runs in another network namespace than this command", remedy))
}
