//! The cluster of the tests: node 0 has the highest priority, service `i` is at home on node `i`.

use crate::config::{Cluster, Config, Interface, Node, Prefixed, ProbeInterval, Quorum, Service};
use crate::vocabulary::{NodeId, ServiceId};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// T.
pub const T: Duration = Duration::from_millis(100);
/// p = T/8, with three members and more.
pub const P: Duration = Duration::from_micros(12_500);
/// T + g: how long silence means nothing (D2).
pub const PATIENCE: Duration = Duration::from_millis(120);
/// Lp = T + g + 3p.
pub const PROMISE: Duration = Duration::from_micros(157_500);
/// X = 3p.
pub const X: Duration = Duration::from_micros(37_500);
/// Lm = Lp + X.
pub const MEMBER: Duration = Duration::from_millis(195);
/// m = 2 ms and a thousandth of Lm.
pub const MARGIN: Duration = Duration::from_micros(2_195);

/// The identity of the node at this place.
pub fn node(at: usize) -> NodeId {
    NodeId::of(Ipv4Addr::new(10, 77, 0, u8::try_from(at + 1).expect("a small cluster")))
}

/// Of its external card.
pub fn mac(at: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::try_from(at + 1).expect("a small cluster")]
}

/// The identity of the service at home on the node at this place.
pub fn service(at: usize) -> ServiceId {
    ServiceId(u32::try_from(at + 1).expect("a small cluster"))
}

/// `nodes` nodes with a service each; scripts only where a test adds them.
pub fn settings(nodes: usize) -> Config {
    Config {
        cluster: cluster(),
        nodes: (0..nodes).map(configured).collect(),
        services: (0..nodes).map(|at| configured_service(at, Some(node(at)))).collect(),
        checks: Vec::new(),
        notify: Vec::new(),
    }
}

fn cluster() -> Cluster {
    Cluster {
        hello_interval: T,
        probe_interval: ProbeInterval::Eighth,
        quorum: Quorum::Majority,
        failback_delay: Duration::from_secs(1),
        startup_wait: Duration::from_secs(2),
        script_timeout: Duration::from_secs(5),
        stop_timeout: Duration::from_secs(5),
        arp_refresh: Duration::ZERO,
        ..Cluster::named("bench")
    }
}

fn configured(at: usize) -> Node {
    let last = u8::try_from(at + 1).expect("a small cluster");
    let fixed = |third: u8| Some(Prefixed { address: Ipv4Addr::new(10, 77, third, last), prefix: 24 });
    Node {
        id: node(at),
        name: format!("n{at}"),
        priority: 100 - 10 * u16::from(last),
        capacity: 1.0,
        internal: Interface { device: "eth1".to_owned(), address: fixed(0) },
        external: Interface { device: "eth0".to_owned(), address: fixed(1) },
    }
}

/// A service called `s` and its number.
pub fn configured_service(at: usize, home: Option<NodeId>) -> Service {
    let last = u8::try_from(at + 1).expect("a small cluster");
    Service {
        id: service(at),
        name: format!("s{at}"),
        home,
        addresses: vec![Prefixed { address: IpAddr::V4(Ipv4Addr::new(10, 77, 2, last)), prefix: 24 }],
        weight: 1.0,
        start: None,
        stop: None,
        status: None,
        parts: Vec::new(),
        route: None,
    }
}

/// Service `at` needs its server started and stopped.
pub fn with_scripts(config: &mut Config, at: usize) {
    config.services[at].start = Some(format!("start s{at}"));
    config.services[at].stop = Some(format!("stop s{at}"));
}
