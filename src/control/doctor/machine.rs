//! This machine: scheduling, sysctls, the clock source, other managers of the external card, the state directory.
//!
//! Reads files below a root, which is `/` but in tests.

use super::{Finding, failure, warning, well};
use crate::config::{Config, Node};
use crate::os::disk;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The state directory holds two records of 128 KiB and two MiB of events.
const ROOM_PERCENT: f64 = 95.0;

/// Where to look.
pub struct Machine<'a> {
    /// `/`.
    pub root: &'a Path,
    /// The configuration in force.
    pub config: &'a Config,
    /// This node.
    pub node: &'a Node,
    /// The daemon's worker; `None`: it does not run.
    pub pid: Option<u32>,
    /// The daemon's state directory.
    pub state_dir: &'a Path,
}

impl Machine<'_> {
    /// All of it.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.scheduling();
        findings.extend(self.sysctls());
        findings.extend(self.clock_source());
        findings.extend(self.managers());
        findings.push(self.key());
        findings.push(self.disk());
        findings
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// SCHED_FIFO of the heartbeat's threads, and memory locked.
    fn scheduling(&self) -> Vec<Finding> {
        let Some(pid) = self.pid else { return Vec::new() };
        let remedy = "start it as root, or with CAP_SYS_NICE and CAP_IPC_LOCK; in a container allow them \
                      (ulimit -r, -l; cpu.rt_runtime_us of its cgroup)";
        let tasks = fs::read_dir(self.path(&format!("/proc/{pid}/task"))).into_iter().flatten().flatten();
        let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
        let policy = stats.filter_map(|stat| heartbeat_policy(&stat)).next();
        let realtime = match policy {
            Some(1 | 2) => well("scheduling", "the heartbeat runs with real-time priority"),
            Some(_) => {
                failure("scheduling", "the heartbeat runs without real-time priority: load delays it", remedy)
            }
            None => {
                warning("scheduling", format!("the threads of process {pid} cannot be read"), "ask as root")
            }
        };
        let status = self.read(&format!("/proc/{pid}/status")).unwrap_or_default();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let locked = locked.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let memory = match locked {
            Some(0) | None => failure(
                "memory lock",
                "the daemon's memory is not locked: swapping delays the heartbeat",
                remedy,
            ),
            Some(kilobytes) => well("memory lock", format!("{kilobytes} kB are locked")),
        };
        vec![realtime, memory]
    }

    /// Only those that matter to what Diehard does.
    fn sysctls(&self) -> Vec<Finding> {
        let external = self.node.external.device.as_str();
        let value = |card: &str, name: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/{card}/{name}");
            self.read(&path).and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or(0)
        };
        // The kernel takes the larger one of these, and for drop_gratuitous_arp either.
        let both = |name: &str| value("all", name).max(value(external, name));
        let set = |name: &str, to: i64| {
            format!("sysctl -w net.ipv4.conf.all.{name}={to} net.ipv4.conf.{external}.{name}={to}")
        };
        let mut findings = Vec::new();
        let ignore = both("arp_ignore");
        if ignore >= 3 {
            let message = format!(
                "arp_ignore = {ignore}: this machine does not answer ARP for every address that it serves"
            );
            findings.push(failure("sysctl", message, set("arp_ignore", 1)));
        }
        if both("drop_gratuitous_arp") != 0 {
            let message = "drop_gratuitous_arp = 1: this machine does not learn of takeovers";
            findings.push(failure("sysctl", message, set("drop_gratuitous_arp", 0)));
        }
        if both("arp_filter") != 0 {
            let message = "arp_filter = 1: whether it answers ARP depends on its routes to who asks";
            findings.push(warning("sysctl", message, set("arp_filter", 0)));
        }
        let others_have_one =
            self.config.nodes.iter().any(|node| node.id != self.node.id && node.external.address.is_some());
        if both("rp_filter") != 0 && self.node.external.address.is_none() && others_have_one {
            let message = format!(
                "rp_filter = {}: {external} has no address of its own, and what others say on it may be dropped for want of a route",
                both("rp_filter")
            );
            findings.push(warning("sysctl", message, set("rp_filter", 0)));
        }
        let v6 = self
            .config
            .services
            .iter()
            .flat_map(|service| &service.addresses)
            .any(|it| matches!(it.address, IpAddr::V6(_)));
        let disabled = |card: &str| {
            self.read(&format!("/proc/sys/net/ipv6/conf/{card}/disable_ipv6"))
                .is_some_and(|it| it.trim() == "1")
        };
        if v6 && disabled(external) {
            let message = format!("IPv6 is disabled on {external}, and a service has an IPv6 address");
            findings.push(failure(
                "sysctl",
                message,
                format!("sysctl -w net.ipv6.conf.{external}.disable_ipv6=0"),
            ));
        }
        if findings.is_empty() {
            findings.push(well(
                "sysctl",
                "arp_ignore, arp_filter, drop_gratuitous_arp, rp_filter, disable_ipv6 are fine",
            ));
        }
        findings
    }

    /// Does the clock tell a virtual machine that it was stopped? All leases and pauses are measured by it.
    fn clock_source(&self) -> Option<Finding> {
        let directory = "/sys/devices/system/clocksource/clocksource0";
        let source = self.read(&format!("{directory}/current_clocksource"))?;
        let source = source.trim();
        if source != "kvm-clock" {
            return Some(well(
                "clock source",
                format!("{source} is not set back when the machine was stopped"),
            ));
        }
        let message = "kvm-clock stands still while this virtual machine is stopped: when it goes on it does not know \
                       that it was, and may serve for up to a lease beside its successor";
        let remedy = format!(
            "echo tsc >{directory}/current_clocksource where available_clocksource has it, and clocksource=tsc on the kernel's command line"
        );
        Some(warning("clock source", message, remedy))
    }

    /// Who else puts addresses on the external card, or ours anywhere.
    fn managers(&self) -> Vec<Finding> {
        let device = self.node.external.device.as_str();
        let index = self.read(&format!("/sys/class/net/{device}/ifindex")).unwrap_or_default();
        let index = index.trim();
        let mut findings = Vec::new();
        let networkd = self.read(&format!("/run/systemd/netif/links/{index}")).unwrap_or_default();
        let managed = |line: &str| matches!(line, "ADMIN_STATE=configured" | "ADMIN_STATE=configuring");
        if networkd.lines().any(managed) {
            let message = format!(
                "systemd-networkd manages {device} and removes addresses that it does not know when it restarts"
            );
            let remedy =
                "KeepConfiguration=yes in its .network file, and ManageForeignRoutes=no in networkd.conf";
            findings.push(warning("managers", message, remedy));
        }
        let manager = self.read(&format!("/run/NetworkManager/devices/{index}")).unwrap_or_default();
        if manager.lines().any(|line| line.trim() == "managed=true") {
            let message =
                format!("NetworkManager manages {device} and removes addresses that it does not know");
            let remedy =
                format!("nmcli device set {device} managed no, and unmanaged-devices in NetworkManager.conf");
            findings.push(warning("managers", message, remedy));
        }
        let keepalived = self.read("/etc/keepalived/keepalived.conf").unwrap_or_default();
        for service in &self.config.services {
            let taken = |address: &IpAddr| mentions(&keepalived, &address.to_string());
            if let Some(it) = service.addresses.iter().find(|it| taken(&it.address)) {
                let message = format!("keepalived.conf has {}, an address of {}", it.address, service.name);
                findings.push(failure(
                    "managers",
                    message,
                    "one of the two alone: take it out of /etc/keepalived/keepalived.conf",
                ));
            }
        }
        if findings.is_empty() {
            findings.push(well("managers", format!("nobody else manages {device} or the service addresses")));
        }
        findings
    }

    fn key(&self) -> Finding {
        let file = &self.config.cluster.key_file;
        match fs::metadata(self.path(&file.display().to_string())) {
            Ok(found) if found.permissions().mode() & 0o077 == 0 => {
                well("key", format!("{} is private", file.display()))
            }
            Ok(_) => failure(
                "key",
                format!("others can read {}", file.display()),
                format!("chmod 600 {}; then a new key everywhere", file.display()),
            ),
            Err(error) => {
                failure("key", format!("{}: {error}", file.display()), "copy it from another node, mode 0600")
            }
        }
    }

    /// Membership changes wait for this disk; takeovers do not.
    fn disk(&self) -> Finding {
        let directory = self.path(&self.state_dir.display().to_string());
        let place = self.state_dir.display();
        let filling = match disk::filling(&directory) {
            Ok(filling) => filling,
            Err(error) => return failure("disk", format!("{place}: {error}"), format!("mkdir -p {place}")),
        };
        if filling.read_only {
            return failure(
                "disk",
                format!("{place} is mounted read-only"),
                "look for disk errors in dmesg; mount -o remount,rw",
            );
        }
        if let Err(error) = disk::write_through(&directory, "doctor") {
            return failure(
                "disk",
                format!("cannot write in {place}: {error}"),
                "make room, or mend the file system: no node can join meanwhile",
            );
        }
        let full = filling.space.max(filling.inodes.unwrap_or(0.0));
        match full > ROOM_PERCENT {
            true => warning("disk", format!("the file system of {place} is {full:.0} % full"), "make room"),
            false => well("disk", format!("{place} takes writes, {full:.0} % full")),
        }
    }
}

/// The scheduling policy of the driver's thread, if this is its line: `/proc/PID/task/TID/stat`, field 41.
fn heartbeat_policy(stat: &str) -> Option<u32> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // After the name comes field 3.
    (name == "controller").then(|| rest.split_whitespace().nth(41 - 3)?.parse().ok()).flatten()
}

/// As a whole address, and not in a comment.
fn mentions(text: &str, address: &str) -> bool {
    let code = text.lines().map(|line| line.split(['#', '!']).next().unwrap_or_default());
    let part = |letter: char| letter.is_ascii_hexdigit() || letter == '.' || letter == ':';
    code.flat_map(|line| line.split(|letter: char| !part(letter))).any(|word| word == address)
}

#[cfg(test)]
mod tests;
