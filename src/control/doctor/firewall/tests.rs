use super::*;
use crate::control::doctor::Level;
use crate::os::namespace::{run, within};

/// What doctor says of these rules, given to the real nftables of an empty network namespace.
fn judged(rules: &'static str) -> Vec<(Level, String)> {
    let (told, hear) = std::sync::mpsc::channel();
    within(move || {
        // Its grammar wants an end of line after a closing brace.
        let rules = rules.replace("; }", ";\n}\n");
        run(&format!("printf '%s\\n' '{rules}' | nft -f -"));
        let ruleset = serde_json::from_str(&run("nft -j list ruleset")).expect("JSON");
        told.send(findings(&ruleset, &["eth1", "eth0"], 694)).expect("heard");
    });
    // Without root nothing was looked at, which `within` says.
    let found = hear.recv().unwrap_or_default();
    found.into_iter().map(|finding| (finding.level, finding.message)).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn only(found: &[(Level, String)], level: Level, part: &str) {
    if is_root() {
        assert!(!found.is_empty() && found.iter().all(|(it, _)| *it == level), "{found:?}");
        assert!(found.iter().any(|(_, message)| message.contains(part)), "{part}: {found:?}");
    }
}

#[test]
fn rules_that_let_us_pass() {
    only(&judged(""), Level::Ok, "nothing drops UDP port 694");
    let usual = "table inet filter { chain input { type filter hook input priority 0; policy drop;
        ct state established,related accept; iif lo accept; meta l4proto icmp accept; tcp dport 22 accept;
        udp dport { 53, 690-700 } accept; } }";
    only(&judged(usual), Level::Ok, "nothing drops");
    let by_card = "table ip t { chain input { type filter hook input priority 0; policy drop;
        iifname { \"eth0\", \"eth1\" } accept; } }";
    only(&judged(by_card), Level::Ok, "nothing drops");
    let others = "table inet t { chain input { type filter hook input priority 0; udp dport 695 drop;
        tcp dport 694 reject; iifname \"eth7\" drop; ip saddr 198.51.100.9 drop; } }";
    only(&judged(others), Level::Ok, "nothing drops");
    let jumped = "table inet t { chain cluster { udp dport 694 accept; }
        chain input { type filter hook input priority 0; policy drop; meta l4proto udp jump cluster; } }";
    only(&judged(jumped), Level::Ok, "nothing drops");
}

#[test]
fn rules_that_drop_us() {
    let rule = "table inet filter { chain input { type filter hook input priority 0; udp dport 694 drop; } }";
    only(&judged(rule), Level::Failure, "UDP port 694 to eth1 is dropped by a rule of inet filter input");
    let policy = "table inet f { chain input { type filter hook input priority 0; policy drop; tcp dport 22 accept; } }";
    only(&judged(policy), Level::Failure, "UDP port 694 to eth0 is dropped by the policy of inet f input");
    let out = "table ip f { chain output { type filter hook output priority 0; oifname \"eth0\" reject; } }";
    only(&judged(out), Level::Failure, "UDP port 694 from eth0 is dropped");
    let but = "table ip f { chain input { type filter hook input priority 0; policy drop; udp dport != 694 accept; } }";
    only(&judged(but), Level::Failure, "is dropped by the policy");
    let arp = "table arp f { chain input { type filter hook input priority 0; policy drop; } }";
    only(&judged(arp), Level::Failure, "ARP to eth0 is dropped");
}

#[test]
fn rules_of_which_nobody_knows() {
    let from = "table inet f { chain input { type filter hook input priority 0; policy drop;
        ip saddr 192.168.10.0/24 accept; } }";
    only(&judged(from), Level::Warning, "may be dropped by the policy of inet f input");
    let then = "table inet f { chain input { type filter hook input priority 0;
        ip saddr 192.168.10.0/24 accept; udp dport 694 drop; } }";
    only(&judged(then), Level::Warning, "may be dropped by a rule");
}

#[test]
fn garbage_is_no_rule() {
    for ruleset in
        [Value::Null, serde_json::json!({"nftables": [{"rule": 3}, {"chain": {"hook": "input"}}, 7]})]
    {
        assert_eq!(findings(&ruleset, &["eth0"], 694)[0].level, Level::Ok);
    }
}
