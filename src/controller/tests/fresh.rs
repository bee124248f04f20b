//! Addresses that a reload brings to a service that is served (F1).

use super::bench::{Bench, serves};
use super::settings::{P, node, service, settings};
use crate::config::{Config, OnConflict, Prefixed};
use crate::controller::{Event, Input, ServiceState};
use crate::wire::Command;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

const FRESH: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 200));

fn reload(bench: &mut Bench, change: impl Fn(&mut Config)) {
    let mut config = (*bench.config).clone();
    change(&mut config);
    let config = Arc::new(config);
    for at in 0..bench.machines.len() {
        bench.input(at, Input::Reload(Arc::clone(&config)));
    }
}

fn add(config: &mut Config) {
    config.services[1].addresses.push(Prefixed { address: FRESH, prefix: 24 });
}

fn withheld(bench: &Bench) -> bool {
    bench.machines[1].order.withheld.contains(&FRESH)
}

#[test]
fn f1_an_address_that_a_reload_brings_comes_up_when_nobody_answers_and_the_others_stay() {
    let mut bench = Bench::formed(3);
    bench.run(8000);
    bench.forget();
    reload(&mut bench, add);
    assert!(withheld(&bench), "not before anybody has looked");
    let began = bench.now;
    bench.always("the service", 300, |bench| serves(bench, 1, &[1]));
    bench.wait("the address", 1000, |bench| !withheld(bench));
    let probes = bench.machines[1].probes.iter().filter(|(_, it)| *it == service(1)).count();
    assert!(probes >= 8 && bench.now.since(began) >= P * 4, "{probes} probes");
    let announced = bench.machines[1].announced.iter().any(|(when, it)| *when > began && *it == service(1));
    assert!(announced);
    let released = |event: &Event| matches!(event, Event::Released { .. });
    assert!(bench.event(1, released).is_none(), "nothing else was touched");
}

#[test]
fn f1_an_address_that_somebody_has_stays_down_and_the_others_up() {
    let mut bench = Bench::formed(3);
    bench.run(8000);
    bench.forget();
    bench.answer_for(service(1), Duration::from_secs(5));
    reload(&mut bench, add);
    bench.always("withheld", 5000, |bench| withheld(bench) && serves(bench, 1, &[1]));
    let blocked = |event: &Event| matches!(event, Event::Blocked { service: it, .. } if *it == service(1));
    assert!(bench.event(1, blocked).is_some(), "people are told who has it");
    bench.wait("the address", 5000, |bench| !withheld(bench));
    assert!(serves(&bench, 1, &[1]));
}

#[test]
fn f1_with_force_it_comes_up_when_no_dead_kernel_can_have_it() {
    let mut config = settings(3);
    config.cluster.on_conflict = OnConflict::Force;
    let mut bench = Bench::formed_of(config);
    bench.run(8000);
    bench.forget();
    bench.answer_for(service(1), Duration::from_secs(60));
    reload(&mut bench, add);
    bench.always("withheld", 2000, withheld);
    bench.wait("the address", 1000, |bench| !withheld(bench));
    let forced = |event: &Event| matches!(event, Event::Forced { service: it, .. } if *it == service(1));
    assert!(bench.event(1, forced).is_some(), "loudly");
}

#[test]
fn f1_a_service_with_other_addresses_alone_is_taken_anew() {
    let mut bench = Bench::formed(3);
    bench.run(8000);
    bench.answer_for(service(1), Duration::from_secs(5));
    reload(&mut bench, |config| config.services[1].addresses[0].address = FRESH);
    bench.run(1);
    assert!(bench.machines[1].aliases.is_empty());
    bench.run(2500);
    let view = bench.controller(1).view(bench.now);
    let seen = view.services.iter().find(|seen| seen.id == service(1)).map(|seen| seen.state);
    assert_eq!(seen, Some(ServiceState::Orphaned), "a stranger has it");
    bench.wait("the service", 9000, |bench| serves(bench, 1, &[1]));
}

#[test]
fn f1_an_address_that_goes_again_is_looked_for_no_longer() {
    let mut bench = Bench::formed(3);
    bench.run(8000);
    bench.answer_for(service(1), Duration::from_secs(60));
    reload(&mut bench, add);
    bench.run(500);
    reload(&mut bench, |config| {
        config.services[1].addresses.truncate(1);
    });
    bench.run(500);
    bench.forget();
    bench.run(3000);
    assert!(!withheld(&bench) && serves(&bench, 1, &[1]));
    assert!(bench.machines[1].probes.is_empty(), "{} probes", bench.machines[1].probes.len());
}

#[test]
fn f1_what_was_asked_before_the_address_was_known_does_not_count() {
    let mut bench = Bench::formed(3);
    bench.run(8000);
    bench.forget();
    bench.kill(2);
    bench.wait("the first question", 800, |bench| (0..2).any(|at| !bench.machines[at].probes.is_empty()));
    bench.run_to(bench.now + P * 2);
    let mut config = (*bench.config).clone();
    config.services[2].addresses.push(Prefixed { address: FRESH, prefix: 24 });
    let config = Arc::new(config);
    (0..2).for_each(|at| bench.input(at, Input::Reload(Arc::clone(&config))));
    let since = bench.now;
    bench.wait("service 2", 3000, |bench| bench.holders(service(2)).len() == 1);
    let taker = bench.holders(service(2))[0];
    let asked = bench.machines[taker].probes.iter().filter(|(when, it)| *when >= since && *it == service(2));
    assert!(asked.count() >= 8, "all of them");
}

#[test]
fn f1_who_has_not_read_of_a_service_does_not_take_it() {
    let mut bench = Bench::formed(3);
    bench.run(3000);
    let mut old = (*bench.config).clone();
    old.services.remove(2);
    // The node at home there is the last to hear of it.
    let (old, new) = (Arc::new(old), bench.config.clone());
    for at in 0..3 {
        bench.input(at, Input::Reload(Arc::clone(&old)));
    }
    bench.wait("without it", 6000, |bench| bench.holders(service(2)).is_empty());
    for at in 0..2 {
        bench.input(at, Input::Reload(Arc::clone(&new)));
    }
    bench.always("not there", 2000, |bench| bench.holders(service(2)).iter().all(|&at| at != 2));
    bench.input(2, Input::Reload(new));
    bench.wait("its service", 9000, |bench| serves(bench, 2, &[2]));
}

#[test]
fn f1_who_never_reads_of_a_service_declines_it_and_is_no_place_to_move_it_to() {
    let mut bench = Bench::formed(3);
    bench.run(3000);
    let mut old = (*bench.config).clone();
    old.services.remove(1);
    bench.input(2, Input::Reload(Arc::new(old)));
    assert_eq!(bench.command(0, Command::Move { service: service(1), to: node(2) }), Ok(()));
    bench.always("its holder", 15_000, |bench| serves(bench, 1, &[1]));
    // Node 0 has no capacity: node 2 is the only other place.
    let mut config = (*bench.config).clone();
    config.nodes[0].capacity = 0.0;
    bench.input(0, Input::Reload(Arc::new(config)));
    bench.kill(1);
    bench.wait("node 2 named", 1000, |bench| bench.holder(0, service(1)) == Some(node(2)));
    bench.always("node 2 waits for its file", 9_000, |bench| bench.holder(0, service(1)) == Some(node(2)));
    bench.wait("it says that it cannot", 3000, |bench| bench.holder(0, service(1)).is_none());
    assert!(bench.machines[2].aliases.iter().all(|&it| it != service(1)));
}
