//! The two LANs of the lab: namespaces, bridges, cards, addresses.

use super::World;
use crate::namespace::{Outcome, run, run_with_input, within};
use std::fmt::Write as _;
use std::fs;

impl World {
    pub(super) fn make_lans(&self) -> Outcome<()> {
        let (switch, client, gateway) = (self.switch(), self.client(), self.gateway());
        let servers = self.nodes.iter().map(|node| node.namespace.as_str());
        for name in servers.chain([switch.as_str(), client.as_str(), gateway.as_str()]) {
            run("ip", &["netns", "add", name])?;
            // Nothing but what is measured on the wires.
            within(name, || fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))?
                .map_err(|error| format!("{name}: {error}"))?;
        }
        let mut wires = String::from(
            "link add ext type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link add int type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set ext up\nlink set int up\n",
        );
        for (index, node) in self.nodes.iter().enumerate() {
            let number = index + 1;
            for (port, device, bridge, lan) in [("e", "eth0", "ext", 1), ("i", "eth1", "int", 2)] {
                let peer = format!("name {device} address 02:00:00:0{lan}:00:{number:02x}");
                wire(&mut wires, &format!("{port}{number}"), &peer, &node.namespace, bridge);
            }
        }
        wire(&mut wires, "ec", "name eth0 address 02:00:00:01:00:64", &client, "ext");
        wire(&mut wires, "eg", "name eth0 address 02:00:00:01:00:fe", &gateway, "ext");
        run_with_input("ip", &["-n", &switch, "-batch", "-"], &wires)?;
        self.switch_rules(
            "table bridge power {\n set off { type ifname; }\n chain cut {\n  type filter hook forward priority 0;\n  \
             iifname @off drop\n  oifname @off drop\n }\n}\n",
        )?;
        let up = "link set lo up\nlink set eth0 up\n";
        for (index, node) in self.nodes.iter().enumerate() {
            let host = format!("{up}link set eth1 up\n{}", fixed_addresses(index));
            run_with_input("ip", &["-n", &node.namespace, "-batch", "-"], &host)?;
        }
        let host = format!("{up}addr add 203.0.113.100/24 dev eth0\n");
        run_with_input("ip", &["-n", &client, "-batch", "-"], &host)?;
        let host = format!("{up}addr add 203.0.113.1/24 dev eth0\n");
        run_with_input("ip", &["-n", &gateway, "-batch", "-"], &host)?;
        self.prepare_client()
    }

    /// Takes the external card of a server away and makes it again: the same name and addresses, and another card to its kernel.
    pub fn replace_external_card(&self, index: usize) -> Outcome<()> {
        let (number, address) = (index + 1, World::external_address(index));
        let (port, namespace) = (format!("e{number}"), &self.nodes[index].namespace);
        let mut wires = format!("link del {port}\n");
        let peer = format!("name eth0 address 02:00:00:01:00:{number:02x}");
        wire(&mut wires, &port, &peer, namespace, "ext");
        run_with_input("ip", &["-n", &self.switch(), "-batch", "-"], &wires)?;
        let host = format!(
            "link set eth0 up\naddr add {address}/24 brd + dev eth0\nroute add default via 203.0.113.1\n"
        );
        run_with_input("ip", &["-n", namespace, "-batch", "-"], &host).map(drop)
    }

    fn prepare_client(&self) -> Outcome<()> {
        let settings = [
            // A connection a millisecond must not run out of ports while old ones linger.
            ("ipv4/ip_local_port_range", "1024 65535"),
            // Questions to an address that nobody has wait here, on the account of the socket that sent
            // them: many of them would keep those to other addresses from being sent.
            ("ipv4/neigh/eth0/unres_qlen", "4"),
        ];
        let client = self.client();
        for (name, value) in settings {
            within(&client, || fs::write(format!("/proc/sys/net/{name}"), value))?
                .map_err(|error| format!("{client}: {name}: {error}"))?;
        }
        Ok(())
    }
}

fn wire(batch: &mut String, port: &str, peer: &str, namespace: &str, bridge: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(batch, "link add {port} type veth peer {peer} netns {namespace}");
    let _ = writeln!(batch, "link set {port} master {bridge} up");
}

/// What a server's cards have by themselves, as a batch for `ip`.
pub(super) fn fixed_addresses(index: usize) -> String {
    let (external, internal) = (World::external_address(index), World::internal_address(index));
    format!(
        "addr add {external}/24 brd + dev eth0\naddr add {internal}/24 brd + dev eth1\nroute add default via 203.0.113.1\n"
    )
}
