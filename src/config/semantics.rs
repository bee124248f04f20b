//! What only several sections together can get wrong: names that point nowhere, addresses and priorities
//! held twice, a quorum that promises what it cannot keep. Called by `parse` alone, once, with what could
//! be read; parts that could not are left out, because they have had their message.

use super::error::{Place, Report, did_you_mean, quoted};
use super::parse::{Draft, Located, MAX_CHECKS, MAX_NODES, MAX_SERVICES, ServiceDraft};
use super::types::*;
use super::values::written;
use crate::vocabulary::ServiceId;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn check(draft: &Draft, report: &mut Report) {
    sizes(draft, report);
    priorities(draft, report);
    identities(draft, report);
    let claims = addresses(draft, report);
    internal_networks(draft, report);
    cards(draft, report);
    homes(draft, report);
    routes(draft, &claims, report);
    quorum(draft, report);
    load(draft, report);
    checks(draft, report);
}

/// Who holds an address, and where the file says so.
type Claims<'a> = HashMap<IpAddr, &'a Place>;

fn sizes(draft: &Draft, report: &mut Report) {
    let whole = Place::default();
    if draft.cluster_place.is_none() {
        report.problem(&whole, "expected a [cluster] section, got none");
    }
    if draft.nodes.is_empty() {
        report.problem(&whole, "expected at least one [node NAME] section, got none");
    }
    if draft.services.is_empty() {
        report.warning(&whole, "there is no [service NAME] section: this cluster serves nothing");
    }
    let counts = [
        ("node", draft.nodes.len(), MAX_NODES),
        ("service", draft.services.len(), MAX_SERVICES),
        ("check", draft.checks.len(), MAX_CHECKS),
    ];
    for (word, count, most) in counts {
        if count > most {
            report.problem(&whole, format!("expected at most {most} [{word} NAME] sections, got {count}"));
        }
    }
    let servers = draft.nodes.iter().filter(|node| node.capacity != Some(0.0)).count();
    if servers == 0 && !draft.nodes.is_empty() && !draft.services.is_empty() {
        report.problem(&whole, "expected at least one node with a capacity of more than 0, got none");
    }
}

fn priorities(draft: &Draft, report: &mut Report) {
    let mut held: HashMap<u16, &Place> = HashMap::new();
    for priority in draft.nodes.iter().filter_map(|node| node.priority.as_ref()) {
        match held.get(&priority.value) {
            None => {
                held.insert(priority.value, &priority.place);
            }
            Some(first) => {
                let message = format!(
                    "expected a priority of its own, got `{}`, as in {}",
                    priority.value,
                    first.reference()
                );
                report.problem(&priority.place, message);
            }
        }
    }
}

/// Two names with one `ServiceId` would be one service on the wire.
fn identities(draft: &Draft, report: &mut Report) {
    let mut held: HashMap<ServiceId, &ServiceDraft> = HashMap::new();
    for service in &draft.services {
        match held.get(&ServiceId::of(&service.name)) {
            None => {
                held.insert(ServiceId::of(&service.name), service);
            }
            Some(first) => {
                let message = format!(
                    "expected another name: `{}` and {} have the same identity {} on the wire",
                    service.name,
                    first.place.reference(),
                    ServiceId::of(&service.name)
                );
                report.problem(&service.place, message);
            }
        }
    }
}

/// No address may be in two places: two machines would answer for it.
fn addresses<'a>(draft: &'a Draft, report: &mut Report) -> Claims<'a> {
    let mut claims = Claims::new();
    for node in &draft.nodes {
        let mut held = Vec::new();
        held.extend(&node.internal);
        // One card with one address plays both roles: written twice, held once.
        held.extend(node.external.iter().filter(|external| {
            node.internal.as_ref().is_none_or(|internal| internal.value != external.value)
        }));
        for card in held {
            let addresses = card.value.address.map(|address| address.address.into());
            claim(&mut claims, addresses, &card.place, report);
        }
    }
    for Located { value, place } in draft.services.iter().filter_map(|service| service.addresses.as_ref()) {
        claim(&mut claims, value.iter().map(|address| address.address), place, report);
    }
    let arbiters = draft.cluster.iter().flat_map(|cluster| &cluster.arbiter);
    claim(&mut claims, arbiters.map(|arbiter| (*arbiter).into()), &draft.arbiter_place, report);
    claims
}

fn claim<'a>(
    claims: &mut Claims<'a>,
    addresses: impl IntoIterator<Item = IpAddr>,
    place: &'a Place,
    report: &mut Report,
) {
    for address in addresses {
        match claims.get(&address) {
            None => {
                claims.insert(address, place);
            }
            Some(first) => {
                let message =
                    format!("expected an address of its own, got `{address}`, as in {}", first.reference());
                report.problem(place, message);
            }
        }
    }
}

/// Everybody must hear everybody's broadcasts on the internal LAN.
fn internal_networks(draft: &Draft, report: &mut Report) {
    let mut first: Option<(&Place, Prefixed<Ipv4Addr>)> = None;
    for internal in draft.nodes.iter().filter_map(|node| node.internal.as_ref()) {
        let Some(address) = internal.value.address else { continue };
        match first {
            None => first = Some((&internal.place, address)),
            Some((_, known)) if network(known) == network(address) => {}
            Some((place, known)) => {
                let (net, prefix) = network(known);
                let message = format!(
                    "expected an address in {net}/{prefix}, as in {}, got `{}/{}`",
                    place.reference(),
                    address.address,
                    address.prefix
                );
                report.problem(&internal.place, message);
            }
        }
    }
}

fn network(prefixed: Prefixed<Ipv4Addr>) -> (Ipv4Addr, u8) {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefixed.prefix)).unwrap_or(0);
    (Ipv4Addr::from(u32::from(prefixed.address) & mask), prefixed.prefix)
}

fn contains(net: (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    network(Prefixed { address, prefix: net.1 }) == net
}

/// Two cards are two ways to be heard; clients' addresses belong on the external one.
fn cards(draft: &Draft, report: &mut Report) {
    let mut inside: Option<(Ipv4Addr, u8)> = None;
    for node in &draft.nodes {
        let (Some(internal), Some(external)) = (&node.internal, &node.external) else { continue };
        if internal.value.device == external.value.device {
            let message = format!(
                "`{}` is the internal card as well: one cable is the only way to be heard",
                external.value.device
            );
            report.warning(&external.place, message);
            continue;
        }
        inside = inside.or(internal.value.address.map(network));
    }
    let Some(inside) = inside else { return };
    let external = draft.nodes.iter().filter_map(|node| {
        let external = node.external.as_ref()?;
        let shared = node.internal.as_ref().is_some_and(|card| card.value.device == external.value.device);
        let address = external.value.address.filter(|_| !shared)?;
        Some((IpAddr::V4(address.address), &external.place))
    });
    let services = draft.services.iter().filter_map(|service| service.addresses.as_ref());
    let services =
        services.flat_map(|Located { value, place }| value.iter().map(move |a| (a.address, place)));
    let arbiters = draft.cluster.iter().flat_map(|cluster| &cluster.arbiter);
    let arbiters = arbiters.map(|arbiter| (IpAddr::V4(*arbiter), &draft.arbiter_place));
    for (address, place) in external.chain(services).chain(arbiters) {
        let IpAddr::V4(address) = address else { continue };
        if contains(inside, address) {
            let message = format!(
                "`{address}` is in the internal network {}/{}: clients on the external LAN may not reach it",
                inside.0, inside.1
            );
            report.warning(place, message);
        }
    }
}

fn homes(draft: &Draft, report: &mut Report) {
    for home in draft.services.iter().filter_map(|service| service.home.as_ref()) {
        if home.value == "any" {
            continue;
        }
        match draft.nodes.iter().find(|node| node.name == home.value) {
            Some(node) if node.capacity == Some(0.0) => {
                let message = format!(
                    "expected a node that serves, got `{}`, which has capacity = 0 ({})",
                    home.value,
                    node.place.reference()
                );
                report.problem(&home.place, message);
            }
            Some(_) => {}
            None => {
                let known = draft.nodes.iter().map(|node| node.name.as_str()).chain(["any"]);
                let near = did_you_mean(&home.value, known);
                let got = quoted(&home.value);
                let message = format!("expected the name of a [node] or `any`, got {got}{near}");
                report.problem(&home.place, message);
            }
        }
    }
}

/// The kernel refuses a gateway that no address of the card can reach.
fn routes(draft: &Draft, claims: &Claims, report: &mut Report) {
    for service in &draft.services {
        let (Some(route), Some(addresses)) = (&service.route, &service.addresses) else { continue };
        let holder = claims.get(&IpAddr::V4(route.value)).filter(|place| **place != &draft.arbiter_place);
        if let Some(place) = holder {
            let message = format!(
                "expected a gateway outside the cluster, got `{}`, as in {}",
                route.value,
                place.reference()
            );
            report.problem(&route.place, message);
            continue;
        }
        let reachable = addresses.value.iter().any(|address| match address.address {
            IpAddr::V4(v4) => {
                contains(network(Prefixed { address: v4, prefix: address.prefix }), route.value)
            }
            IpAddr::V6(_) => false,
        });
        if !reachable {
            let message = format!(
                "expected a gateway in the network of one of the service's addresses, got `{}`",
                route.value
            );
            report.problem(&route.place, message);
        }
    }
}

/// protocol.md, Q: what each setting cannot promise is said before it matters.
fn quorum(draft: &Draft, report: &mut Report) {
    let Some(cluster) = &draft.cluster else { return };
    let (place, count) = (&draft.quorum_place, draft.nodes.len());
    match (cluster.quorum, !draft.arbiter_given) {
        (Quorum::Arbiter, true) => {
            report.problem(place, "expected an arbiter for `quorum = arbiter`: the key `arbiter` is missing");
        }
        (Quorum::Auto, true) if count >= 2 => {
            let message = "`auto` without an arbiter: half of the nodes or fewer go on serving after a cut, \
                           guarded only by the ARP look; set `arbiter`, normally to the gateway";
            report.warning(place, message);
            if count == 2 {
                let message = "two nodes cannot tell a cut from a death: \
                               add a third member with `capacity = 0`, or an arbiter";
                report.warning(place, message);
            }
        }
        (Quorum::Majority, _) if count == 2 => {
            let message = "`majority` with two nodes: when one of them dies the other stops serving; \
                           add a third member with `capacity = 0`";
            report.warning(place, message);
        }
        _ => {}
    }
    if matches!(cluster.quorum, Quorum::Majority | Quorum::None) && !cluster.arbiter.is_empty() {
        let message = "not used: only `quorum = auto` and `quorum = arbiter` ask an arbiter";
        report.warning(&draft.arbiter_place, message);
    }
}

fn load(draft: &Draft, report: &mut Report) {
    let Some(cluster) = &draft.cluster else { return };
    match (cluster.load, &cluster.load_script) {
        (LoadSource::Script, None) => {
            let message = "expected a command for `load = script`: the key `load_script` is missing";
            report.problem(&draft.load_place, message);
        }
        (LoadSource::Script, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            report.warning(&draft.load_place, "`load_script` is not used: only `load = script` runs it");
        }
    }
}

fn checks(draft: &Draft, report: &mut Report) {
    for check in &draft.checks {
        if let Some(timeout) = check.timeout.as_ref().filter(|timeout| timeout.value > check.interval) {
            let message = format!(
                "expected at most the interval of {}, got `{}`",
                written(check.interval),
                written(timeout.value)
            );
            report.problem(&timeout.place, message);
        }
        let may_reboot = draft.cluster.as_ref().is_none_or(|cluster| cluster.allow_reboot);
        if check.policy.value.contains(&PolicyStep::Reboot) && !may_reboot {
            let message =
                "`reboot` restarts the whole machine: expected `allow_reboot = yes` in [cluster] with it";
            report.problem(&check.policy.place, message);
        }
        let Some(scope) = &check.service else { continue };
        let restarts = check.policy.value.iter().any(|step| matches!(step, PolicyStep::Restart { .. }));
        if scope.value == "node" {
            if restarts || check.policy.value.contains(&PolicyStep::Move) {
                let message =
                    "expected standby, alert or reboot: `service = node` has no service to restart or move";
                report.problem(&check.policy.place, message);
            }
            continue;
        }
        match draft.services.iter().find(|service| service.name == scope.value) {
            Some(service) if restarts && service.start.is_none() => {
                let message =
                    format!("`restart` can do nothing: {} has no `start`", service.place.reference());
                report.warning(&check.policy.place, message);
            }
            Some(_) => {}
            None => {
                let known = draft.services.iter().map(|service| service.name.as_str()).chain(["node"]);
                let near = did_you_mean(&scope.value, known);
                let got = quoted(&scope.value);
                let message = format!("expected the name of a [service] or `node`, got {got}{near}");
                report.problem(&scope.place, message);
            }
        }
    }
}
