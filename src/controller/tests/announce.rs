//! When gratuitous ARP is said again: after a merge, when the external LAN is whole again, now and then.

use super::bench::Bench;
use super::settings::{node, service, settings};
use crate::config::Quorum;
use crate::controller::Input;
use crate::vocabulary::{Instant, LinkRole};
use crate::wire::Packet;
use std::time::Duration;

fn told(bench: &Bench, at: usize, index: usize) -> Vec<Instant> {
    let announced = bench.machines[at].announced.iter().filter(|(_, told)| *told == service(index));
    announced.map(|(when, _)| *when).collect()
}

#[test]
fn m1_who_stays_announces_again_when_the_others_come_back() {
    // A majority that stayed, and one of two parts that both went on.
    for (quorum, nodes) in [(Quorum::Majority, 3), (Quorum::None, 2)] {
        let mut config = settings(nodes);
        config.cluster.quorum = quorum;
        let mut bench = Bench::formed_of(config);
        bench.isolate(nodes - 1);
        bench.run(8000);
        assert!(bench.machines[0].aliases.contains(&service(0)), "{quorum:?}: it never let go of its own");
        bench.forget();
        bench.run(2000);
        assert!(told(&bench, 0, 0).is_empty(), "{quorum:?}: nothing new, nothing said");
        bench.heal();
        let joined = bench.wait("the others", 9000, |bench| bench.members(0).len() == nodes);
        bench.run(1);
        assert!(told(&bench, 0, 0).iter().any(|&when| when >= joined), "{quorum:?}: to whom knew another");
        bench.wait("peace", 9000, Bench::is_settled);
    }
}

#[test]
fn who_comes_after_a_goodbye_brings_nobody_who_knows_another() {
    let mut bench = Bench::formed(3);
    bench.input(2, Input::Stop);
    bench.wait("the leave", 9000, |bench| bench.members(0).len() == 2);
    bench.run(8000);
    bench.forget();
    bench.start(2);
    bench.wait("its return", 9000, Bench::is_settled);
    assert!(told(&bench, 0, 0).is_empty());
}

#[test]
fn when_somebody_hears_his_neighbour_on_the_external_lan_again_all_announce() {
    let mut bench = Bench::formed(3);
    bench.run(8000);
    let header = bench.header(2);
    let mut status = bench.controller(2).own_status(bench.now);
    let hears = |status: &mut crate::wire::Status, yes: bool| {
        for link in status.links.iter_mut().filter(|link| link.role == LinkRole::External) {
            (link.up, link.hears_left) = (true, yes);
        }
    };
    bench.forget();
    for (yes, announcements) in [(false, 0), (false, 0), (true, 1), (true, 1)] {
        hears(&mut status, yes);
        bench.input(0, Input::Packet { header: header.clone(), packet: Packet::Status(status.clone()) });
        assert_eq!(told(&bench, 0, 0).len(), announcements, "{yes}");
    }
    assert_eq!(bench.members(0), [node(0), node(1), node(2)]);
}

#[test]
fn what_is_served_is_announced_now_and_then_and_not_at_the_same_moments() {
    let mut config = settings(3);
    config.cluster.arp_refresh = Duration::from_secs(10);
    let mut bench = Bench::formed_of(config);
    bench.run(8000);
    bench.forget();
    bench.run(100_000);
    let moments = told(&bench, 1, 1);
    let gaps: Vec<Duration> = moments.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps.len() >= 8, "{gaps:?}");
    assert!(gaps.iter().all(|gap| (9_000..=11_000).contains(&gap.as_millis())), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "jittered");
    bench.kill(1);
    bench.wait("its service elsewhere", 2000, |bench| !bench.holders(service(1)).is_empty());
    bench.forget();
    bench.run(30_000);
    assert!(told(&bench, 1, 1).is_empty(), "who does not have it says nothing");
}
