//! Faults of the wires: what the two switches drop, by port, direction, path and chance; and hosts
//! whose own firewall refuses what they send.
//!
//! Silent as a power cut is: every carrier stays. The switches' rules are replaced as a whole, in one
//! transaction, so that a partition begins and ends everywhere at the same moment.

use super::World;
use crate::foreign::PORT;
use crate::namespace::{Outcome, run, run_with_input};
use std::fmt::{self, Write as _};

/// One of the LANs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    /// The clients are on it.
    External,
    /// The servers are among themselves.
    Internal,
}

impl Lan {
    /// Both.
    pub const ALL: [Lan; 2] = [Lan::External, Lan::Internal];

    fn port(self, node: usize) -> String {
        let letter = match self {
            Lan::External => 'e',
            Lan::Internal => 'i',
        };
        format!("\"{letter}{}\"", node + 1)
    }
}

impl fmt::Display for Lan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Lan::External => "external",
            Lan::Internal => "internal",
        })
    }
}

/// As the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Nothing comes, nothing goes.
    Both,
    /// It hears nothing and is heard.
    In,
    /// It hears and is not heard.
    Out,
}

/// What a switch drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// A server's wire.
    Port {
        /// Whose.
        node: usize,
        /// Which.
        lan: Lan,
        /// In which direction.
        direction: Direction,
    },
    /// What goes from one server to another; everybody else hears both.
    Path {
        /// The sender.
        from: usize,
        /// Who does not hear it.
        to: usize,
        /// On which LAN.
        lan: Lan,
    },
    /// Between a server and all that is no server: the clients and the gateway.
    Outside {
        /// Whose.
        node: usize,
    },
    /// So many of a hundred frames, each by itself; a broadcast for each that it is to reach.
    Loss {
        /// On whose wire, in both directions; `None`: of all that servers send on that LAN.
        node: Option<usize>,
        /// Which.
        lan: Lan,
        /// Of a hundred.
        percent: u8,
    },
}

impl World {
    /// From now on the switches drop exactly this; nothing: all wires are whole.
    pub fn set_wires(&self, faults: &[WireFault]) -> Outcome<()> {
        let mut rules = String::from(
            "add table bridge faults\ndelete table bridge faults\ntable bridge faults {\n chain cut {\n  \
             type filter hook forward priority 1;\n",
        );
        for fault in faults {
            self.rule(&mut rules, fault);
        }
        rules.push_str(" }\n}\n");
        self.switch_rules(&rules)
    }

    fn rule(&self, rules: &mut String, fault: &WireFault) {
        let mut add = |rule: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(rules, "  {rule} drop");
        };
        match *fault {
            WireFault::Port { node, lan, direction } => {
                if direction != Direction::In {
                    add(format!("iifname {}", lan.port(node)));
                }
                if direction != Direction::Out {
                    add(format!("oifname {}", lan.port(node)));
                }
            }
            WireFault::Path { from, to, lan } => {
                add(format!("iifname {} oifname {}", lan.port(from), lan.port(to)));
            }
            WireFault::Outside { node } => {
                let port = Lan::External.port(node);
                for other in ["\"ec\"", "\"eg\""] {
                    add(format!("iifname {port} oifname {other}"));
                    add(format!("iifname {other} oifname {port}"));
                }
            }
            WireFault::Loss { node: Some(node), lan, percent } => {
                add(format!("iifname {} numgen random mod 100 < {percent}", lan.port(node)));
                add(format!("oifname {} numgen random mod 100 < {percent}", lan.port(node)));
            }
            WireFault::Loss { node: None, lan, percent } => {
                let all: Vec<String> = (0..self.nodes.len()).map(|node| lan.port(node)).collect();
                add(format!("iifname {{ {} }} numgen random mod 100 < {percent}", all.join(", ")));
            }
        }
    }

    /// The switch port of a server's wire goes down or up: its card has a carrier or not.
    pub fn set_carrier(&self, index: usize, lan: Lan, up: bool) -> Outcome<()> {
        let (port, word) = (lan.port(index), if up { "up" } else { "down" });
        run("ip", &["-n", &self.switch(), "link", "set", port.trim_matches('"'), word]).map(drop)
    }

    /// From now on the server's own firewall refuses (EPERM) or lets pass what its daemon sends by UDP.
    pub fn refuse_sending(&self, index: usize, refused: bool) -> Outcome<()> {
        let mut rules = String::from("add table inet faults\ndelete table inet faults\n");
        if refused {
            // Writing to a String cannot fail.
            let _ = write!(
                rules,
                "table inet faults {{\n chain refuse {{\n  type filter hook output priority 0;\n  \
                 udp dport {PORT} drop\n }}\n}}\n"
            );
        }
        let words = ["netns", "exec", &self.nodes[index].namespace, "nft", "-f", "-"];
        run_with_input("ip", &words, &rules).map(drop)
    }
}
