use super::*;
use crate::control::doctor::Level;
use crate::control::status::samples;
use crate::control::status::status;
use crate::control::vitals::Trip;
use serde_json::{Map, Value, json};

/// Everything is well: three nodes that are up, and hear each other.
fn healthy() -> Status {
    let mut status = status(&samples::view(), &samples::config(), &samples::lines());
    let up = status.nodes[0].clone();
    status.nodes[1] = NodeStatus { name: "web2".into(), ..up };
    status
}

fn entry(time: &str, fields: Value) -> Entry {
    let Value::Object(fields) = fields else { panic!("an object") };
    Entry { sequence: 1, time: time.into(), node: "web1".into(), text: "as told".into(), fields }
}

fn seen() -> Vec<Entry> {
    vec![entry("1", json!({"event": "confirmed", "service": "www1", "seen_by": ["web2"]}))]
}

fn vitals() -> Vitals {
    let trip = Trip {
        role: "internal".into(),
        to: Some("web2".into()),
        sent: 100,
        answered: 100,
        round_trip_ms: Some(0.2),
    };
    Vitals { trips: vec![trip], clocks_ms: [("web2".to_owned(), 3.0)].into(), ..Vitals::default() }
}

/// The check and level of what is not well.
fn bad(status: &Status, vitals: &Vitals, events: &[Entry]) -> Vec<(String, Level)> {
    let findings = findings(status, vitals, events);
    for finding in &findings {
        assert_eq!(finding.remedy.is_some(), finding.level != Level::Ok, "{finding:?}");
    }
    let bad = findings.into_iter().filter(|finding| finding.level != Level::Ok);
    bad.map(|finding| (finding.check, finding.level)).collect()
}

#[test]
fn a_healthy_cluster_has_no_finding() {
    assert_eq!(bad(&healthy(), &vitals(), &seen()), []);
}

/// Each with the finding that it leads to.
#[test]
fn each_fault_is_found() {
    let with = |change: fn(&mut Status), check: &str, level| {
        let mut status = healthy();
        change(&mut status);
        let found = bad(&status, &vitals(), &seen());
        assert!(found.contains(&(check.to_owned(), level)), "{check}: {found:?}");
    };
    with(|it| it.quorum = false, "quorum", Level::Failure);
    with(|it| it.controller = None, "quorum", Level::Failure);
    with(|it| it.frozen = true, "freeze", Level::Warning);
    with(|it| it.nodes[1].state = "down".into(), "nodes", Level::Failure);
    with(|it| it.nodes[1].state = "standby".into(), "nodes", Level::Warning);
    with(|it| it.services[0].state = "failed".into(), "services", Level::Failure);
    with(|it| it.services[0].stranger = Some("02:00:00:00:00:09".into()), "services", Level::Failure);
    with(|it| it.nodes[1].links[1].state = "down".into(), "links", Level::Failure);
    with(|it| it.nodes[1].links[0].hears_left = Some(false), "links", Level::Failure);
    with(|it| it.nodes[1].links[0].hears_right = Some(false), "links", Level::Failure);
    with(|it| it.nodes[2].config_digest = Some("other".into()), "drift", Level::Failure);
    with(|it| it.lateness_ms = 80.0, "lateness", Level::Warning);
}

#[test]
fn loss_and_slow_answers_are_judged_by_their_size() {
    let found = |answered, took| {
        let mut vitals = vitals();
        (vitals.trips[0].answered, vitals.trips[0].round_trip_ms) = (answered, Some(took));
        bad(&healthy(), &vitals, &seen())
    };
    assert_eq!(found(100, 0.2), []);
    assert_eq!(found(97, 0.2), [("loss".to_owned(), Level::Warning)]);
    assert_eq!(found(60, 0.2), [("loss".to_owned(), Level::Failure)]);
    assert_eq!(found(100, 40.0), [("loss".to_owned(), Level::Warning)]);
}

#[test]
fn receipts_clocks_and_what_was_never_seen() {
    let doubted = entry("2", json!({"event": "doubted", "service": "www1", "given_up": true}));
    let again = entry("3", json!({"event": "confirmed", "service": "www1", "seen_by": ["web2"]}));
    let mut events = seen();
    events.push(doubted);
    assert_eq!(bad(&healthy(), &vitals(), &events), [("arp".to_owned(), Level::Failure)]);
    events.push(again);
    assert_eq!(bad(&healthy(), &vitals(), &events), []);
    events.push(Entry { fields: Map::new(), ..events[0].clone() });
    assert_eq!(bad(&healthy(), &vitals(), &events), [], "an event without a name is none of these");
    assert_eq!(bad(&healthy(), &vitals(), &[]), [("arp".to_owned(), Level::Warning)]);
    let mut vitals = vitals();
    vitals.clocks_ms.insert("web3".into(), -90_000.0);
    let found = findings(&healthy(), &vitals, &seen());
    let clock = found.iter().find(|finding| finding.check == "clocks").expect("looked at");
    assert_eq!(
        (clock.level, clock.message.as_str()),
        (Level::Warning, "the clock of web3 is 90.0 s ahead of this one")
    );
}

#[test]
fn a_door_that_does_not_open_is_named_with_its_reason() {
    let open = |name: &str| (name.to_owned(), Ok(()));
    let finding = doors(&[open("web1"), open("web2")]);
    assert_eq!(
        (finding.level, finding.message.as_str()),
        (Level::Ok, "2 nodes can be reached by TCP on the internal link")
    );
    let closed = ("web2".to_owned(), Err("connection refused".to_owned()));
    let finding = doors(&[open("web1"), closed]);
    let expected = "no connection by TCP on the internal link to web2: connection refused";
    assert_eq!((finding.level, finding.message.as_str()), (Level::Failure, expected));
}
