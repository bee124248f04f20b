use super::*;
use crate::control::doctor::Level;
use crate::control::scratch::Directory;
use crate::control::status::samples;

/// A machine of files, on which everything is well.
struct Model {
    root: Directory,
    config: Config,
}

const PID: u32 = 42;
const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

impl Model {
    fn new() -> Self {
        let mut config = samples::config();
        config.nodes[1].external.address =
            Some(crate::config::Prefixed { address: [203, 0, 113, 12].into(), prefix: 24 });
        let model = Model { root: Directory::new("doctor"), config };
        model.stat(1);
        model.file("/proc/42/status", "Name:\tdiehardd-worker\nVmLck:\t   20480 kB\n");
        model.file(CLOCK_SOURCE, "tsc\n");
        model.file("/etc/diehard.key", "secret");
        model.mode("/etc/diehard.key", 0o600);
        model.file("/sys/class/net/eth0/ifindex", "3\n");
        model.file("/var/lib/diehard/record", "");
        model
    }

    fn stat(&self, policy: u32) {
        // `man proc_pid_stat`: field 41 is the policy.
        let fields: Vec<String> =
            (3..=52).map(|field| if field == 41 { policy } else { 0 }.to_string()).collect();
        self.file("/proc/42/task/43/stat", &format!("43 (controller) {}\n", fields.join(" ")));
        self.file("/proc/42/task/42/stat", "42 (diehardd-worker) S 1 1 1 0");
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.root.path.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn mode(&self, path: &str, mode: u32) {
        let path = self.root.path.join(path.trim_start_matches('/'));
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }

    fn findings(&self) -> Vec<Finding> {
        let state_dir = Path::new("/var/lib/diehard");
        let node = &self.config.nodes[0];
        Machine { root: &self.root.path, config: &self.config, node, pid: Some(PID), state_dir }.findings()
    }

    /// The one check that is not well, and what it says.
    fn bad(&self) -> (String, Level, String) {
        let mut bad = self.findings();
        bad.retain(|finding| finding.level != Level::Ok);
        assert!(bad.iter().all(|finding| finding.remedy.is_some()), "{bad:?}");
        assert_eq!(bad.len(), 1, "{bad:?}");
        let Finding { check, level, message, .. } = bad.remove(0);
        (check, level, message)
    }
}

#[test]
fn a_machine_on_which_all_is_well() {
    let findings = Model::new().findings();
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    assert_eq!(findings.len(), 7);
}

#[test]
fn scheduling_and_memory() {
    let model = Model::new();
    model.stat(0);
    let (check, level, message) = model.bad();
    assert_eq!((check.as_str(), level), ("scheduling", Level::Failure), "{message}");
    let model = Model::new();
    model.file("/proc/42/status", "VmLck:\t       0 kB\n");
    assert_eq!(model.bad().0, "memory lock");
}

#[test]
fn sysctls_that_matter() {
    for (path, value, word) in [
        ("/proc/sys/net/ipv4/conf/all/arp_ignore", "8", "arp_ignore = 8"),
        ("/proc/sys/net/ipv4/conf/eth0/arp_ignore", "3", "arp_ignore = 3"),
        ("/proc/sys/net/ipv4/conf/all/drop_gratuitous_arp", "1", "drop_gratuitous_arp"),
        ("/proc/sys/net/ipv4/conf/eth0/arp_filter", "1", "arp_filter"),
        ("/proc/sys/net/ipv4/conf/all/rp_filter", "1", "rp_filter = 1"),
    ] {
        let model = Model::new();
        model.file(path, &format!("{value}\n"));
        let (check, _, message) = model.bad();
        assert!(check == "sysctl" && message.contains(word), "{path}: {message}");
    }
    // Fine, or another card's.
    for path in ["/proc/sys/net/ipv4/conf/eth7/arp_filter", "/proc/sys/net/ipv4/conf/all/arp_announce"] {
        let model = Model::new();
        model.file(path, "1\n");
        assert!(model.findings().iter().all(|finding| finding.level == Level::Ok), "{path}");
    }
    let mut model = Model::new();
    model.file("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1\n");
    let v6 = "2001:db8::21".parse().expect("an address");
    model.config.services[0].addresses.push(crate::config::Prefixed { address: v6, prefix: 64 });
    assert!(model.bad().2.contains("IPv6 is disabled on eth0"));
}

#[test]
fn a_clock_that_does_not_know_of_a_stop() {
    let model = Model::new();
    model.file(CLOCK_SOURCE, "kvm-clock\n");
    let (check, level, message) = model.bad();
    assert_eq!((check.as_str(), level), ("clock source", Level::Warning), "{message}");
    fs::remove_file(model.root.path.join(CLOCK_SOURCE.trim_start_matches('/'))).expect("there");
    assert!(model.findings().iter().all(|finding| finding.check != "clock source"), "who knows?");
}

#[test]
fn other_managers_of_the_card() {
    let model = Model::new();
    model.file("/run/systemd/netif/links/3", "ADMIN_STATE=unmanaged\nOPER_STATE=routable\n");
    assert!(model.findings().iter().all(|finding| finding.level == Level::Ok));
    model.file("/run/systemd/netif/links/3", "ADMIN_STATE=configured\n");
    assert!(model.bad().2.starts_with("systemd-networkd manages eth0"));
    let model = Model::new();
    model.file("/run/NetworkManager/devices/3", "[device]\nmanaged=true\n");
    assert!(model.bad().2.starts_with("NetworkManager manages eth0"));
    let model = Model::new();
    model.file(
        "/etc/keepalived/keepalived.conf",
        "virtual_ipaddress {\n  203.0.113.210/24\n # 203.0.113.21\n}\n",
    );
    assert!(model.findings().iter().all(|finding| finding.level == Level::Ok), "another, and a comment");
    model.file("/etc/keepalived/keepalived.conf", "virtual_ipaddress {\n  203.0.113.21/24\n}\n");
    let (check, level, message) = model.bad();
    assert_eq!((check.as_str(), level), ("managers", Level::Failure), "{message}");
}

#[test]
fn key_and_disk() {
    let model = Model::new();
    model.mode("/etc/diehard.key", 0o644);
    assert_eq!(model.bad().0, "key");
    fs::remove_file(model.root.path.join("etc/diehard.key")).expect("there");
    assert_eq!(model.bad().0, "key");
    let model = Model::new();
    fs::remove_dir_all(model.root.path.join("var")).expect("there");
    assert_eq!(model.bad().0, "disk");
    // A file system that takes no write, whoever writes: it is in nobody's directory.
    let state_dir = Path::new("/proc/self");
    let node = &model.config.nodes[0];
    let machine = Machine { root: Path::new("/"), config: &model.config, node, pid: None, state_dir };
    assert_eq!(machine.disk().level, Level::Failure);
}
