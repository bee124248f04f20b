//! Does a configuration fit this machine? Called by the keeper before it says that a version may come. Looks
//! at the machine and at the configuration in force; ends with every reason why not.

use crate::config::{self, CheckKind, Config, Prefixed};
use crate::os::card_addresses::{CardAddress, addresses};
use crate::vocabulary::NodeId;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

/// Longest configuration that is sent from node to node, in bytes: one of 64 nodes, 256 services and 1,024
/// checks with comments has less.
pub const LONGEST: usize = 256 << 10;

/// What the daemon alone can say: whether it can follow a configuration as it runs.
pub type Follows = dyn Fn(&Config) -> Result<(), Vec<String>> + Send;

/// The configuration that the text means, if this machine can have it.
///
/// # Errors
/// All reasons, for people.
pub fn fits(
    name: &str,
    text: &str,
    me: NodeId,
    old: &Config,
    follows: &Follows,
) -> Result<Config, Vec<String>> {
    if text.len() > LONGEST {
        return Err(vec![format!("{name}: expected at most {LONGEST} bytes, got {}", text.len())]);
    }
    let parsed = config::parse(name, text.as_bytes());
    let parsed = parsed.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let new = parsed.config;
    let mut reasons = follows(&new).err().unwrap_or_default();
    if let Some(node) = new.node(me) {
        match addresses() {
            Ok(have) => {
                cards(node, &have, &mut reasons);
                on_link(&new, old, &node.external.device, &have, &mut reasons);
            }
            Err(error) => reasons.push(format!("cannot list this machine's addresses: {error}")),
        }
    }
    commands(&new, &mut reasons);
    if reasons.is_empty() { Ok(new) } else { Err(reasons) }
}

fn cards(node: &config::Node, have: &[CardAddress], reasons: &mut Vec<String>) {
    for (role, card) in [("internal", &node.internal), ("external", &node.external)] {
        let device = &card.device;
        if !have.iter().any(|it| it.device == *device) {
            reasons.push(format!("[node {}] {role}: this machine has no card {device}", node.name));
        } else if let Some(own) = card.address
            && !have.iter().any(|it| it.device == *device && it.address == Some(own.address.into()))
        {
            reasons.push(format!("[node {}] {role}: {device} does not have {}", node.name, own.address));
        }
    }
}

/// A service's address must be of a network that the card is on: from another nobody would ask for it there.
/// What the cluster itself put on the card tells nothing, and a card without an address of its own takes all.
fn on_link(new: &Config, old: &Config, device: &str, have: &[CardAddress], reasons: &mut Vec<String>) {
    let served = |config: &Config, address: IpAddr| {
        config.services.iter().any(|service| service.addresses.iter().any(|it| it.address == address))
    };
    let own: Vec<&CardAddress> = have.iter().filter(|it| it.device == device).collect();
    for service in &new.services {
        for wanted in &service.addresses {
            let networks: Vec<String> = own
                .iter()
                .filter(|it| it.address.is_some_and(|own| comparable(own, wanted.address)))
                .filter(|it| it.address.is_some_and(|own| !served(new, own) && !served(old, own)))
                .filter_map(|it| Some(format!("{}/{}", it.address?, it.prefix)))
                .collect();
            let near = |it: &&&CardAddress| it.address.is_some_and(|own| contains(own, it.prefix, wanted));
            if !networks.is_empty() && !own.iter().any(|it| near(&it)) {
                let (name, address) = (&service.name, wanted.address);
                let networks = networks.join(", ");
                reasons.push(format!(
                    "[service {name}] address: {address} is on no network of {device} ({networks})"
                ));
            }
        }
    }
}

/// Of one family, and no link-local one, which every card has.
fn comparable(own: IpAddr, wanted: IpAddr) -> bool {
    match (own, wanted) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(own), IpAddr::V6(_)) => !own.is_unicast_link_local(),
        _ => false,
    }
}

fn contains(own: IpAddr, prefix: u8, wanted: &Prefixed<IpAddr>) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let ((own, length), (wanted, other)) = (bits(own), bits(wanted.address));
    let differing = own ^ wanted;
    length == other && (prefix == 0 || differing >> (128 - u32::from(prefix).min(128)) == 0)
}

/// Commands that name a file by its full path: it must be there and be executable. What the shell finds by
/// itself is the shell's business.
fn commands(new: &Config, reasons: &mut Vec<String>) {
    let services = new.services.iter().flat_map(|service| {
        let commands = [("start", &service.start), ("stop", &service.stop)];
        commands.into_iter().filter_map(move |(key, command)| {
            Some((format!("[service {}] {key}", service.name), command.as_deref()?))
        })
    });
    let checks = new.checks.iter().filter(|check| check.kind == CheckKind::Script);
    let checks = checks.map(|check| (format!("[check {}] target", check.name), check.target.as_str()));
    for (place, command) in services.chain(checks) {
        let Some(file) = command.split_whitespace().next().filter(|word| is_plain_path(word)) else {
            continue;
        };
        match fs::metadata(file) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {}
            Ok(_) => reasons.push(format!("{place}: {file} cannot be executed")),
            Err(error) => reasons.push(format!("{place}: {file}: {error}")),
        }
    }
}

/// No variable, quote or operator of the shell in it.
fn is_plain_path(word: &str) -> bool {
    word.starts_with('/')
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+@:,".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
[cluster]
name = test
[node a]
priority = 2
internal = eth9 192.168.77.1/24
external = eth9
[service www]
home = a
address = 192.168.77.100/24
start = /bin/sh -c true
stop = true
[check c]
service = node
type = script
target = test -e /
";

    fn judged(change: &[(&str, &str)]) -> Result<(), String> {
        let text = change.iter().fold(TEXT.to_owned(), |text, (from, to)| text.replace(from, to));
        let old = config::parse("old", TEXT.as_bytes()).expect("right").config;
        let me = old.nodes[0].id;
        fits("new", &text, me, &old, &|_| Ok(())).map(drop).map_err(|reasons| reasons.join("\n"))
    }

    #[test]
    fn every_reason_is_told_and_a_fitting_one_has_none() {
        crate::os::namespace::within(|| {
            let made = "ip link add eth9 type veth peer name eth8 && ip link set eth9 up";
            crate::os::namespace::run(&format!("{made} && ip addr add 192.168.77.1/24 dev eth9"));
            judge();
        });
    }

    fn judge() {
        assert_eq!(judged(&[]), Ok(()));
        let wrong = [
            ("external = eth9", "external = eth77"),
            ("/bin/sh -c true", "/nonexistent/start"),
            ("stop = true", "stop = /etc/passwd now"),
            ("test -e /", "/nonexistent/check"),
        ];
        assert_eq!(
            judged(&wrong).unwrap_err(),
            "[node a] external: this machine has no card eth77\n\
             [service www] start: /nonexistent/start: No such file or directory (os error 2)\n\
             [service www] stop: /etc/passwd cannot be executed\n\
             [check c] target: /nonexistent/check: No such file or directory (os error 2)"
        );
        assert_eq!(
            judged(&[("192.168.77.100/24", "198.51.100.7/24")]).unwrap_err(),
            "[service www] address: 198.51.100.7 is on no network of eth9 (192.168.77.1/24)"
        );
        assert!(judged(&[("priority", "pritority")]).unwrap_err().contains("pritority"));
        assert!(judged(&[("name = test", &format!("name = test\n;{}", "x".repeat(LONGEST)))]).is_err());
        let old = config::parse("old", TEXT.as_bytes()).expect("right").config;
        let refused = fits("new", TEXT, old.nodes[0].id, &old, &|_| Err(vec!["no".into()]));
        assert_eq!(refused, Err(vec!["no".to_owned()]));
    }

    #[test]
    fn networks_are_told_apart() {
        let near = |own: &str, prefix, wanted: &str| {
            let wanted = Prefixed { address: wanted.parse().expect("an address"), prefix: 24 };
            contains(own.parse().expect("an address"), prefix, &wanted)
        };
        assert!(near("203.0.113.1", 24, "203.0.113.200") && !near("203.0.113.1", 25, "203.0.113.200"));
        assert!(near("10.0.0.1", 0, "203.0.113.200") && near("10.0.0.1", 32, "10.0.0.1"));
        assert!(near("2001:db8::1", 64, "2001:db8::2") && !near("2001:db8::1", 64, "2001:db8:0:1::2"));
        assert!(!near("10.0.0.1", 0, "2001:db8::2"));
    }
}
