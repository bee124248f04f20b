//! Would nftables drop our packets? The rules are walked as the kernel does, for a UDP packet to the cluster's
//! port on each card, and for ARP. PURE: `nft -j list ruleset` is handed in.
//!
//! What a rule matches beside port, protocol and card is not known here: such a rule may match or not, and the
//! answer becomes «unsure».

use super::{Finding, failure, warning, well};
use serde_json::Value;

/// Jumps from chain to chain; the kernel allows sixteen.
const DEPTH_MAX: u32 = 16;

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// It comes to the next rule.
    GoesOn,
    Passes,
    /// By which chain.
    Dropped(String),
    /// Which chain may drop it.
    Unsure(String),
}

/// What is sent through the rules.
#[derive(Debug, Clone, Copy)]
struct Probe<'a> {
    device: &'a str,
    port: u16,
    arp: bool,
}

/// Findings on all cards.
pub fn findings(ruleset: &Value, devices: &[&str], port: u16) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &device in devices {
        for (hook, way) in [("input", "to"), ("output", "from")] {
            let probe = Probe { device, port, arp: false };
            let words = format!("UDP port {port} {way} {device}");
            let remedy = format!("nft insert rule FAMILY TABLE CHAIN udp dport {port} accept");
            findings.extend(judged(&hooked(ruleset, hook, probe), &words, &remedy));
            let arp = Probe { arp: true, ..probe };
            let words = format!("ARP {way} {device}");
            findings.extend(judged(
                &hooked(ruleset, hook, arp),
                &words,
                "let ARP pass on the cards of the cluster",
            ));
        }
    }
    if findings.is_empty() {
        findings.push(well(
            "firewall",
            format!("nothing drops UDP port {port} or ARP on {}", devices.join(", ")),
        ));
    }
    findings
}

fn judged(fate: &Fate, words: &str, remedy: &str) -> Option<Finding> {
    match fate {
        Fate::Dropped(by) => Some(failure("firewall", format!("{words} is dropped by {by}"), remedy)),
        Fate::Unsure(by) => Some(warning(
            "firewall",
            format!("{words} may be dropped by {by}: what its rules match is not known here"),
            format!("if the links above are heard, nothing; else {remedy}"),
        )),
        Fate::GoesOn | Fate::Passes => None,
    }
}

/// Through every base chain of that hook: each may drop it.
fn hooked(ruleset: &Value, hook: &str, probe: Probe) -> Fate {
    let mut fate = Fate::Passes;
    let family_fits =
        |family: &str| if probe.arp { family == "arp" } else { matches!(family, "ip" | "inet") };
    for chain in objects(ruleset, "chain") {
        if chain["hook"] != hook || chain["type"] != "filter" || !family_fits(text(&chain["family"])) {
            continue;
        }
        let mut here = walk(ruleset, chain, probe, 0);
        if here == Fate::GoesOn && chain["policy"] == "drop" {
            here = Fate::Dropped(format!("the policy of {}", name(chain)));
        }
        match here {
            Fate::Dropped(_) => return here,
            Fate::Unsure(_) => fate = here,
            Fate::GoesOn | Fate::Passes => {}
        }
    }
    fate
}

fn walk(ruleset: &Value, chain: &Value, probe: Probe, depth: u32) -> Fate {
    let mut maybe_accepted = false;
    let rules = objects(ruleset, "rule").filter(|rule| {
        rule["family"] == chain["family"] && rule["table"] == chain["table"] && rule["chain"] == chain["name"]
    });
    for rule in rules {
        let Some(sure) = matches(rule, probe) else { continue };
        let fate = verdict(ruleset, rule, probe, depth);
        match (fate, sure) {
            (Fate::GoesOn, _) => {}
            (Fate::Dropped(by), true) if maybe_accepted => return Fate::Unsure(by),
            (fate, true) => return fate,
            // An accept that may match: what drops it later does so only perhaps.
            (Fate::Passes, false) => maybe_accepted = true,
            // A drop that may match is somebody's rule against somebody else, as a rule.
            (Fate::Dropped(_) | Fate::Unsure(_), false) => {}
        }
    }
    match (maybe_accepted, &chain["policy"]) {
        (true, policy) if policy == "drop" => Fate::Unsure(format!("the policy of {}", name(chain))),
        _ => Fate::GoesOn,
    }
}

/// `None`: surely not; else whether surely.
fn matches(rule: &Value, probe: Probe) -> Option<bool> {
    let mut sure = true;
    for one in statements(rule).filter_map(|statement| statement.get("match")) {
        let (left, right) = (&one["left"], &one["right"]);
        let payload = (text(&left["payload"]["protocol"]), text(&left["payload"]["field"]));
        let holds = match (payload, text(&left["meta"]["key"])) {
            (("udp" | "th", "dport"), _) => Some(!probe.arp && has_number(right, u64::from(probe.port))),
            (("tcp" | "icmp" | "icmpv6" | "sctp" | "ip6", _), _) => Some(false),
            (("ip", "protocol"), _) | (_, "l4proto") => Some(!probe.arp && has_word(right, "udp", "17")),
            (_, "iifname" | "oifname" | "iif" | "oif") => Some(has_word(right, probe.device, probe.device)),
            (_, "nfproto") => Some(has_word(right, "ipv4", "2")),
            _ => None,
        };
        let negated = one["op"] == "!=";
        match holds {
            Some(holds) if holds == negated => return None,
            Some(_) => {}
            None => sure = false,
        }
    }
    Some(sure)
}

fn verdict(ruleset: &Value, rule: &Value, probe: Probe, depth: u32) -> Fate {
    for statement in statements(rule) {
        let Some(keys) = statement.as_object() else { continue };
        if keys.contains_key("accept") {
            return Fate::Passes;
        }
        if keys.contains_key("drop") || keys.contains_key("reject") {
            return Fate::Dropped(format!("a rule of {}", name_of(rule, &rule["chain"])));
        }
        if keys.contains_key("return") {
            return Fate::GoesOn;
        }
        let target =
            ["jump", "goto"].iter().find_map(|word| keys.get(*word)).map(|jump| text(&jump["target"]));
        if let Some(target) = target
            && depth < DEPTH_MAX
        {
            let same = |chain: &&Value| {
                chain["family"] == rule["family"]
                    && chain["table"] == rule["table"]
                    && chain["name"] == target
            };
            return objects(ruleset, "chain")
                .find(same)
                .map_or(Fate::GoesOn, |chain| walk(ruleset, chain, probe, depth + 1));
        }
    }
    Fate::GoesOn
}

fn objects<'a>(ruleset: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    ruleset["nftables"].as_array().into_iter().flatten().filter_map(move |object| object.get(kind))
}

fn statements(rule: &Value) -> impl Iterator<Item = &Value> {
    rule["expr"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn name(chain: &Value) -> String {
    name_of(chain, &chain["name"])
}

fn name_of(of: &Value, chain: &Value) -> String {
    format!("{} {} {}", text(&of["family"]), text(&of["table"]), text(chain))
}

/// A number, a set, a range.
fn has_number(right: &Value, wanted: u64) -> bool {
    if let Some(set) = right["set"].as_array() {
        return set.iter().any(|one| has_number(one, wanted));
    }
    if let Some([low, high]) = right["range"].as_array().map(Vec::as_slice) {
        return low.as_u64().is_some_and(|low| low <= wanted)
            && high.as_u64().is_some_and(|high| wanted <= high);
    }
    right.as_u64() == Some(wanted)
}

fn has_word(right: &Value, wanted: &str, number: &str) -> bool {
    if let Some(set) = right["set"].as_array() {
        return set.iter().any(|one| has_word(one, wanted, number));
    }
    match right {
        Value::String(word) => {
            word == wanted || word.strip_suffix('*').is_some_and(|begin| wanted.starts_with(begin))
        }
        other => other.as_u64().is_some_and(|other| number.parse() == Ok(other)),
    }
}

#[cfg(test)]
mod tests;
