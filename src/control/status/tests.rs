use super::samples::*;
use super::*;
use crate::config::Failback;
use crate::controller::{Ground, PlaceGround};
use crate::wire::Phase;
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn the_whole_object_is_as_promised() {
    let links = || {
        json!([
            {"device": "eth1", "role": "internal", "state": "up", "hears_left": true, "hears_right": true},
            {"device": "eth0", "role": "external", "state": "up", "hears_left": true, "hears_right": true}
        ])
    };
    let silent = json!([
        {"device": "eth1", "role": "internal", "state": "unknown", "hears_left": null, "hears_right": null},
        {"device": "eth0", "role": "external", "state": "unknown", "hears_left": null, "hears_right": null}
    ]);
    let expected = json!({
        "cluster": "www", "node": "web1", "epoch": "3.17", "controller": "web1", "quorum": true, "frozen": false,
        "nodes": [
            {
                "name": "web1", "state": "up", "incarnation": 4, "priority": 40, "left": "web3", "right": "web3",
                "load": 1.0, "damped_ms": null, "capacity": 1.0, "links": links(), "config_digest": "0000000000001234", "config_version": 7,
                "address": "192.168.10.1", "heard_ms": null, "heard_on": [], "round_trip_ms": null, "lateness_ms": 0.041, "rejected": 0, "checks": []
            },
            {
                "name": "web2", "state": "down", "incarnation": null, "priority": 30, "left": null, "right": null,
                "load": 0.0, "damped_ms": null, "capacity": 1.0, "links": silent, "config_digest": null, "config_version": null,
                "address": "192.168.10.2", "heard_ms": null, "heard_on": [], "round_trip_ms": null, "lateness_ms": null, "rejected": null, "checks": []
            },
            {
                "name": "web3", "state": "up", "incarnation": 4, "priority": 20, "left": "web1", "right": "web1",
                "load": 2.0, "damped_ms": null, "capacity": 1.0, "links": links(), "config_digest": "0000000000001234", "config_version": 7,
                "address": "192.168.10.3", "heard_ms": 37.0, "heard_on": ["internal", "external"], "round_trip_ms": null,
                "lateness_ms": 0.041, "rejected": 0, "checks": []
            }
        ],
        "services": [
            {
                "name": "www1", "home": "web1", "holder": "web1", "state": "held", "addresses": ["203.0.113.21/24"],
                "checks": [{
                    "name": "www1-http", "type": "http", "target": "http://203.0.113.21/health", "state": "ok",
                    "message": "HTTP status 200 OK", "since": "2027-01-15T08:00:00.000Z",
                    "warning": false, "performance": null, "took_ms": 1.5
                }],
                "to": null, "weight": 1.0, "here": true, "stranger": null, "note": null
            },
            {
                "name": "www2", "home": "web2", "holder": "web3", "state": "held", "addresses": ["203.0.113.22/24"],
                "checks": [], "to": null, "weight": 1.0, "here": false, "stranger": null,
                "note": "away from home: web2 is down"
            },
            {
                "name": "www3", "home": "web3", "holder": "web3", "state": "held", "addresses": ["203.0.113.23/24"],
                "checks": [], "to": null, "weight": 1.0, "here": false, "stranger": null, "note": null
            }
        ],
        "incarnation": 4, "lineage": "0000000000000abc", "lease_ms": 112.345, "hello_interval_ms": 100.0,
        "probe_interval_ms": 12.5, "lateness_ms": 0.041, "forecast": [], "config_drift": [],
        "key_change_waits_for": null,
        "traffic": {"rejected": {}, "announcements": 0, "unheard": 0, "unsent": 0, "send_failures": 0}
    });
    let made = status(&view(), &config(), &lines());
    assert_eq!(serde_json::to_value(&made).unwrap(), expected);
    let back: Status = serde_json::from_value(expected).unwrap();
    assert_eq!(back, made, "diehard reads what the daemon writes");
}

#[test]
fn the_promised_fields_come_first_and_in_their_order() {
    let text = serde_json::to_string(&status(&view(), &config(), &lines())).unwrap();
    let mut rest = text.as_str();
    for field in ["cluster", "node", "epoch", "controller", "quorum", "frozen", "nodes", "name", "state"] {
        let at = rest.find(&format!("\"{field}\":")).unwrap_or_else(|| panic!("{field} in {rest}"));
        rest = &rest[at + 1..];
    }
}

#[test]
fn every_state_has_its_word() {
    let words = [NodeState::Up, NodeState::Suspect, NodeState::Down, NodeState::Joining, NodeState::Standby];
    assert_eq!(words.map(node_state_word), ["up", "suspect", "down", "joining", "standby"]);
    assert_eq!(node_state_word(NodeState::Leaving), "leaving");
    let words = [ServiceState::Held, ServiceState::Moving, ServiceState::Stopped, ServiceState::Failed];
    assert_eq!(words.map(service_state_word), ["held", "moving", "stopped", "failed"]);
    assert_eq!(service_state_word(ServiceState::Orphaned), "orphaned");
}

#[test]
fn a_node_in_nobody_s_file_goes_by_the_name_it_gives_itself() {
    let (mut view, mut config) = (view(), config());
    config.nodes.retain(|node| node.id != WEB3);
    view.nodes[2].status.as_mut().unwrap().name = "web9".into();
    let made = status(&view, &config, &lines());
    assert_eq!(made.nodes[2].name, "web9");
    assert_eq!(made.nodes[0].right.as_deref(), Some("web9"));
    assert_eq!(made.services[1].holder.as_deref(), Some("web9"));
    assert_eq!((made.nodes[2].priority, made.nodes[2].capacity), (None, None));
    view.nodes[2].status = None;
    let made = status(&view, &config, &lines());
    assert_eq!(made.nodes[2].name, "192.168.10.3");
    assert_eq!(made.nodes[2].links, []);
}

#[test]
fn a_service_in_nobody_s_file_goes_by_its_number() {
    let (view, mut config) = (view(), config());
    config.services.retain(|service| service.name != "www2");
    let made = status(&view, &config, &lines());
    let stranger = made.services.last().unwrap();
    assert_eq!(stranger.name, www(2).to_string());
    assert_eq!((&stranger.home, &stranger.weight, stranger.addresses.len()), (&None, &None, 0));
}

#[test]
fn a_home_may_be_any_and_a_load_is_always_a_number() {
    let (mut view, mut config) = (view(), config());
    config.services.iter_mut().for_each(|service| service.home = None);
    view.nodes[1].load = f64::INFINITY;
    view.lease = None;
    let made = status(&view, &config, &lines());
    assert_eq!(made.services[1].home.as_deref(), Some("any"));
    assert_eq!(made.services[1].note, None, "who has no home is never away");
    let value = serde_json::to_value(&made).unwrap();
    assert_eq!(value["nodes"][1]["load"], 0.0);
    assert_eq!(value["lease_ms"], Value::Null);
}

/// www2's note after `change`.
fn note_after(change: impl FnOnce(&mut View, &mut Config)) -> String {
    let (mut view, mut config) = (view(), config());
    change(&mut view, &mut config);
    status(&view, &config, &lines()).services[1].note.clone().unwrap_or_default()
}

#[test]
fn every_reason_for_being_away_is_told() {
    for (state, reason) in [
        (NodeState::Down, "web2 is down"),
        (NodeState::Suspect, "web2 is silent"),
        (NodeState::Joining, "web2 is joining"),
        (NodeState::Standby, "web2 is on standby"),
        (NodeState::Leaving, "web2 is leaving"),
        (NodeState::Up, "web2 is up: it was moved by hand, or waits until web2 is stable and able"),
    ] {
        let note = note_after(|view, _| view.nodes[1].state = state);
        assert_eq!(note, format!("away from home: {reason}"));
    }
    let note = note_after(|view, _| (view.nodes[1].state, view.frozen) = (NodeState::Up, true));
    assert_eq!(note, "away from home: the cluster is frozen");
    let note = note_after(|view, config| {
        view.nodes[1].state = NodeState::Up;
        config.cluster.failback = Failback::Manual;
    });
    assert_eq!(note, "away from home: failback is manual");
    let note = note_after(|view, _| {
        view.nodes[1].state = NodeState::Up;
        view.nodes[1].status = view.nodes[2].status.clone();
        view.nodes[1].status.as_mut().unwrap().links[1].up = false;
    });
    assert_eq!(note, "away from home: web2 has no working external link");
}

#[test]
fn every_trouble_of_a_service_is_told() {
    let set = |state, phase, holder, stranger| {
        note_after(move |view, _| {
            let service = &mut view.services[1];
            (service.state, service.phase, service.holder, service.stranger) =
                (state, phase, holder, stranger);
        })
    };
    let held = Some(Phase::Held);
    let moving = ServiceState::Moving;
    assert_eq!(set(moving, Some(Phase::Prepare { to: WEB2 }), Some(WEB3), None), "on its way to web2");
    assert_eq!(set(moving, Some(Phase::Handover { to: WEB2 }), Some(WEB3), None), "on its way to web2");
    assert_eq!(
        set(moving, Some(Phase::Abort { to: WEB2 }), Some(WEB3), None),
        "the move to web2 was given up"
    );
    assert_eq!(set(moving, held, Some(WEB3), None), "being taken by web3");
    assert_eq!(set(moving, held, None, None), "being placed");
    assert_eq!(set(ServiceState::Stopped, held, None, None), "no node may serve it");
    assert_eq!(set(ServiceState::Failed, held, None, None), "failed on every node that may serve it");
    let mac = Some([0, 0x16, 0x3e, 0, 0, 1]);
    assert_eq!(
        set(ServiceState::Orphaned, held, Some(WEB3), mac),
        "a stranger, 00:16:3e:00:00:01, answers for its address"
    );
    assert_eq!(set(ServiceState::Orphaned, held, Some(WEB3), None), "a stranger answers for its address");
    let note = note_after(|view, _| {
        view.quorum = false;
        view.services[1].state = ServiceState::Stopped;
    });
    assert_eq!(note, "no quorum: nothing is served from here");
}

#[test]
fn the_forecast_says_who_gets_what_and_who_cannot_carry_it() {
    let mut view = view_with_ground();
    let told = |view: &View| {
        let made = status(view, &config(), &lines()).forecast;
        made.iter()
            .map(|it| {
                let fates = it.services.iter().map(|fate| (fate.to.clone(), fate.load, fate.overloaded));
                (it.node.clone(), it.quorum, fates.collect::<Vec<_>>())
            })
            .collect::<Vec<_>>()
    };
    let to = |node: &str| Some(node.to_owned());
    let expected = vec![
        ("web1".to_owned(), true, vec![(to("web3"), Some(3.0), false)]),
        ("web3".to_owned(), true, vec![(to("web1"), Some(3.0), false), (to("web1"), Some(3.0), false)]),
    ];
    assert_eq!(told(&view), expected, "weights alone say nothing of limits");
    let ground = view.ground.as_mut().unwrap();
    ground.nodes.get_mut(&WEB3).unwrap().load_permille = Some(300);
    ground.nodes.get_mut(&WEB1).unwrap().load_permille = Some(600);
    let loads: Vec<_> = told(&view).into_iter().map(|(.., fates)| fates[0].clone()).collect();
    assert_eq!(loads, [(to("web3"), Some(0.6), false), (to("web1"), Some(1.2), true)], "0.3 a weight");
    let config = Arc::make_mut(&mut view.ground.as_mut().unwrap().config);
    config.cluster.quorum = crate::config::Quorum::Majority;
    assert!(
        told(&view).iter().all(|(_, quorum, fates)| !quorum && fates.iter().all(|fate| fate.0.is_none()))
    );
}

#[test]
fn a_change_of_keys_names_whom_it_waits_for() {
    let waits = |keys: [Option<(u64, u64)>; 3]| {
        let mut view = view();
        for (node, keys) in view.nodes.iter_mut().zip(keys) {
            node.status =
                keys.map(|(key, next_key)| crate::wire::Status { key, next_key, ..Default::default() });
        }
        status(&view, &config(), &lines()).key_change_waits_for
    };
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(waits([Some((1, 0)), Some((1, 0)), Some((1, 0))]), None);
    assert_eq!(waits([Some((1, 0)), None, Some((1, 0))]), None, "one that was never heard changes nothing");
    assert_eq!(waits([Some((1, 2)), None, Some((1, 0))]), names(&["web2", "web3"]));
    assert_eq!(waits([Some((1, 2)), Some((1, 2)), Some((2, 0))]), names(&[]));
    assert_eq!(waits([Some((1, 0)), Some((1, 0)), Some((1, 2))]), names(&["web1"]));
    assert_eq!(waits([Some((2, 0)), Some((1, 2)), Some((2, 0))]), names(&["web2"]));
}

#[test]
fn a_home_that_the_controller_thinks_little_of_is_why_it_is_away() {
    let note = |change: &dyn Fn(&mut Ground)| {
        let mut view = view_with_ground();
        let ground = view.ground.as_mut().unwrap();
        ground.places.clear();
        let slot = ground.state.table.iter_mut().find(|slot| slot.service == www(3)).unwrap();
        slot.holder = Some(WEB1);
        change(ground);
        view.services[2].holder = Some(WEB1);
        let made = status(&view, &config(), &lines());
        made.services[2].note.clone().unwrap_or_default()
    };
    let place = |ground: &mut Ground, place| {
        ground.places.insert((WEB3, www(3)), place);
    };
    assert_eq!(note(&|_| {}), "away from home: web3 comes and goes, and is used again in 504 s");
    let unfit = PlaceGround { unfit: true, ..PlaceGround::default() };
    assert_eq!(note(&|ground| place(ground, unfit)), "away from home: its check fails on web3");
    let failed = PlaceGround { failed: Some(Duration::from_secs(60)), ..unfit };
    let expected = "away from home: it could not be started on web3, which is forgotten in 60 s";
    assert_eq!(note(&|ground| place(ground, failed)), expected);
    let cut_off = |ground: &mut Ground| ground.nodes.get_mut(&WEB3).unwrap().cut_off = true;
    assert_eq!(note(&cut_off), "away from home: the gateway does not answer web3");
}
