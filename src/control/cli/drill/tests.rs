use super::*;
use crate::control::status::{Fate, Forecast, samples, status};
use serde_json::json;

/// Three nodes that are up, each with its own service; if web1 died, web3 would carry www1.
fn healthy() -> Status {
    let mut status = status(&samples::view(), &samples::config(), &samples::lines());
    status.nodes[1].state = "up".into();
    status.services[1].holder = Some("web2".into());
    let fate = Fate { service: "www1".into(), to: Some("web3".into()), load: Some(0.6), overloaded: false };
    status.forecast = vec![Forecast { node: "web1".into(), quorum: true, services: vec![fate] }];
    status
}

#[test]
fn a_node_and_a_service_can_be_drilled_when_the_rest_carries_it() {
    for (what, is_node) in [("web1", true), ("www1", false)] {
        let moved = allowed(&healthy(), what, is_node).expect("allowed");
        assert_eq!(moved.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["www1"]);
    }
    assert_eq!(next_holder(&healthy(), &healthy().services[0]).as_deref(), Some("web3"));
}

#[test]
fn a_refusal_says_why_and_what_would_allow_it() {
    let refusal = |change: fn(&mut Status), what: &str, is_node| {
        let mut status = healthy();
        change(&mut status);
        allowed(&status, what, is_node).expect_err("refused")
    };
    for (change, part) in [
        ((|it| it.quorum = false) as fn(&mut Status), "no quorum"),
        (|it| it.frozen = true, "`diehard thaw` allows it"),
        (|it| it.nodes[2].state = "down".into(), "web3 is down: no drill while"),
        (|it| it.nodes[0].state = "standby".into(), "`diehard online web1` first"),
        (|it| it.services[0].holder = None, "serves nothing"),
        (|it| it.services[0].state = "moving".into(), "www1 is moving: wait"),
        (|it| it.services[0].home = Some("web3".into()), "`diehard failback www1` first"),
        (|it| it.services[0].home = Some("any".into()), "is not at its home"),
        (|it| it.forecast.clear(), "no forecast for www1"),
        (|it| it.forecast[0].services[0].to = None, "nobody could take www1: another node has to be up"),
        (|it| it.forecast[0].services[0].overloaded = true, "web3 would carry www1 at a load of 0.60"),
    ] {
        let why = refusal(change, "web1", true);
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(refusal(|it| it.services[0].state = "failed".into(), "www1", false).contains("www1 is failed"));
}

#[test]
fn the_outage_is_what_the_nodes_saw() {
    let entry = |millis: u32, event: &str| {
        let fields = json!({"event": event, "service": "www1"}).as_object().cloned().expect("an object");
        let time = format!("2026-01-31T12:00:00.{millis:03}Z");
        Entry { sequence: 1, time, node: "web1".into(), text: String::new(), fields }
    };
    assert_eq!(outage_ms(&[entry(100, "released"), entry(107, "taken")], "www1"), Some(7.0));
    assert_eq!(
        outage_ms(&[entry(100, "taken"), entry(102, "released")], "www1"),
        Some(0.0),
        "make before break"
    );
    assert_eq!(outage_ms(&[entry(100, "taken")], "www1"), None);
    assert_eq!(outage_ms(&[entry(100, "released"), entry(107, "taken")], "www2"), None);
    let passage = Passage {
        service: "www1".into(),
        from: "web1".into(),
        to: "web3".into(),
        outage_ms: Some(0.0),
        back_outage_ms: None,
    };
    let expected =
        "drill of web1 done, everything is back\nwww1: web1 -> web3: outage 0 ms; back: outage not told";
    assert_eq!(told("web1", &[passage]), expected);
}
