//! A hand-made cluster for the tests of this module's siblings.

use super::Traffic;
use crate::config::*;
use crate::control::checks::Line;
use crate::controller::*;
use crate::recovery::Standing;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId, ServiceId, Term};
use crate::wire::{Cause, ConfigVersion, LinkStatus, Member, MoveStep, Moved, Phase, Slot, State, Status};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// 192.168.10.1
pub const WEB1: NodeId = NodeId(0xc0a8_0a01);
/// 192.168.10.2
pub const WEB2: NodeId = NodeId(0xc0a8_0a02);
/// 192.168.10.3
pub const WEB3: NodeId = NodeId(0xc0a8_0a03);

/// The service www1, www2 or www3.
pub fn www(number: u8) -> ServiceId {
    ServiceId::of(&format!("www{number}"))
}

/// Three servers, a service each.
pub fn config() -> Config {
    let mut services: Vec<Service> = (1..=3).map(service).collect();
    services.sort_by_key(|service| service.id);
    Config {
        cluster: Cluster::named("www"),
        nodes: (1..=3).map(node).collect(),
        services,
        checks: vec![Check {
            name: "www1-http".into(),
            scope: CheckScope::Service(www(1)),
            kind: CheckKind::Http,
            target: "http://203.0.113.21/health".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            fail: 3,
            rise: 2,
            policy: vec![PolicyStep::Alert],
            options: crate::config::CheckOptions::default(),
        }],
        notify: Vec::new(),
    }
}

/// Its one check is well.
pub fn lines() -> BTreeMap<String, Line> {
    let since = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let line = Line {
        standing: Standing::Well,
        message: "HTTP status 200 OK".into(),
        since,
        bad_in_a_row: 0,
        tried: Vec::new(),
        warning: false,
        performance: None,
        took: Some(Duration::from_micros(1500)),
    };
    BTreeMap::from([("www1-http".to_owned(), line)])
}

fn node(number: u8) -> Node {
    let address = Ipv4Addr::new(192, 168, 10, number);
    let internal = Interface { device: "eth1".into(), address: Some(Prefixed { address, prefix: 24 }) };
    Node {
        id: NodeId::of(address),
        name: format!("web{number}"),
        priority: 50 - 10 * u16::from(number),
        capacity: 1.0,
        internal,
        external: Interface { device: "eth0".into(), address: None },
    }
}

fn service(number: u8) -> Service {
    let address = Ipv4Addr::new(203, 0, 113, 20 + number).into();
    Service {
        id: www(number),
        name: format!("www{number}"),
        home: Some(NodeId::of(Ipv4Addr::new(192, 168, 10, number))),
        addresses: vec![Prefixed { address, prefix: 24 }],
        weight: 1.0,
        start: None,
        stop: None,
        status: None,
        parts: Vec::new(),
        route: None,
    }
}

/// web1 controls; web2 is dead and web3 serves www2.
pub fn view() -> View {
    View {
        me: WEB1,
        incarnation: Incarnation(4),
        epoch: Epoch { term: Term { round: 3, author: WEB1, life: Incarnation(1) }, version: 17 },
        lineage: 0xabc,
        controller: Some(WEB1),
        quorum: true,
        frozen: false,
        arbiter: None,
        lease: Some(Duration::from_micros(112_345)),
        hello_interval: Duration::from_millis(100),
        probe_interval: Duration::from_micros(12_500),
        lateness: Duration::from_micros(41),
        nodes: vec![
            node_view(WEB1, NodeState::Up, Some(WEB3), 1.0, true),
            node_view(WEB2, NodeState::Down, None, 0.0, false),
            node_view(WEB3, NodeState::Up, Some(WEB1), 2.0, true),
        ],
        services: vec![
            service_view(1, Some(WEB1), true),
            service_view(2, Some(WEB3), false),
            service_view(3, Some(WEB3), false),
        ],
        ground: None,
        moves: Vec::new(),
    }
}

/// The same with the ground of placements: web3 damped, and www2 unfit on web1; and what moved.
pub fn view_with_ground() -> View {
    let mut view = view();
    let member = |id| Member { id, incarnation: Incarnation(4), standby: false, leaving: false };
    let held = |number, holder| Slot {
        service: www(number),
        holder: Some(holder),
        phase: Phase::Held,
        pinned: false,
    };
    let mut table = vec![held(1, WEB1), held(2, WEB3), held(3, WEB3)];
    table.sort_by_key(|slot| slot.service);
    let state = State {
        epoch: view.epoch,
        lineage: view.lineage,
        hello_interval: view.hello_interval,
        probe_divisor: 8,
        longest_interval: view.hello_interval,
        coarsest_divisor: 8,
        frozen: false,
        members: vec![member(WEB1), member(WEB3)],
        base: vec![],
        table,
    };
    let damped = NodeGround { penalty: 2400, reuse: Some(Duration::from_secs(504)), ..NodeGround::default() };
    let unfit = PlaceGround { unfit: true, penalty: 1000, ..PlaceGround::default() };
    view.ground = Some(Ground {
        config: Arc::new(config()),
        state,
        controller: WEB1,
        nodes: BTreeMap::from([(WEB1, NodeGround::default()), (WEB3, damped)]),
        places: BTreeMap::from([((WEB1, www(2)), unfit)]),
    });
    view.moves = vec![Moved {
        service: www(2),
        epoch: view.epoch,
        from: Some(WEB2),
        to: Some(WEB3),
        step: MoveStep::Assigned,
        cause: Cause::HolderDown,
        ago_ms: 60_000,
    }];
    view
}

fn node_view(id: NodeId, state: NodeState, neighbour: Option<NodeId>, load: f64, told: bool) -> NodeView {
    let elsewhere = id != WEB1 && told;
    NodeView {
        id,
        state,
        incarnation: told.then_some(Incarnation(4)),
        left: neighbour,
        right: neighbour,
        load,
        heard: elsewhere.then_some(Duration::from_millis(37)),
        status: told.then(|| Status {
            name: String::new(),
            load_permille: 1000,
            config_digest: 0x1234,
            links: vec![link("eth1", LinkRole::Internal), link("eth0", LinkRole::External)],
            lateness_us: 41,
            rejected: 0,
            strangers: Vec::new(),
            version: ConfigVersion { number: 7, digest: 0x1234 },
            ..Status::default()
        }),
        round_trip: None,
        heard_on: if elsewhere { LinkRole::ALL.to_vec() } else { Vec::new() },
    }
}

fn link(device: &str, role: LinkRole) -> LinkStatus {
    LinkStatus { device: device.into(), role, up: true, hears_left: true, hears_right: true }
}

fn service_view(number: u8, holder: Option<NodeId>, here: bool) -> ServiceView {
    ServiceView {
        id: www(number),
        holder,
        phase: Some(Phase::Held),
        state: ServiceState::Held,
        here,
        stranger: None,
    }
}

/// What a node might have counted.
pub fn traffic() -> Traffic {
    let rejected = [("seal".to_owned(), 3), ("replayed".to_owned(), 0)].into();
    Traffic { rejected, announcements: 4, unheard: 0, unsent: 1, send_failures: 2 }
}
