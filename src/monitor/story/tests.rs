use super::*;
use crate::control::rehearsal::Rehearsal;
use serde_json::json;

/// The rehearsal's cluster: web1 answers, www1 … www3 at home.
fn calm() -> Status {
    let rehearsal = Rehearsal::new();
    let client = crate::control::client::Client::connect(&rehearsal.socket());
    let mut status = client.expect("a daemon").status().expect("a status");
    for (index, service) in status.services.iter_mut().enumerate() {
        let name = format!("web{}", index + 1);
        service.state = "held".into();
        (service.holder, service.home) = (Some(name.clone()), Some(name));
    }
    for node in &mut status.nodes {
        node.state = "up".into();
        node.heard_ms = Some(20.0);
    }
    status.quorum = true;
    status
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(10_000_000_000 + ms * 1_000_000)
}

fn node(status: &mut Status, index: usize, state: &str, heard_ms: f64) {
    status.nodes[index].state = state.into();
    status.nodes[index].heard_ms = Some(heard_ms);
}

#[test]
fn an_outage_counts_from_the_last_word_of_the_dead_to_the_next_holder() {
    let (mut story, mut status) = (Story::default(), calm());
    story.look(at(0), "t0", &status);
    node(&mut status, 2, "suspect", 120.0);
    story.look(at(120), "t1", &status);
    let lasting = story.outages(at(150));
    assert_eq!((lasting.len(), lasting[0].to.clone(), lasting[0].outage_ms), (1, None, 150.0));
    node(&mut status, 2, "down", 190.0);
    story.look(at(190), "t2", &status);
    status.services[2].holder = Some("web2".into());
    story.look(at(200), "t3", &status);
    let expected = Outage {
        service: "www3".into(),
        from: Some("web3".into()),
        to: Some("web2".into()),
        outage_ms: 200.0,
        time: "t3".into(),
    };
    assert_eq!(story.outages(at(999)), [expected]);
    assert_eq!(story.counts().takeovers, [("failure", 1)].into());
    assert_eq!((story.counts().outages.count(), story.counts().outages.sum), (1, 0.2));
    assert_eq!(story.counts().outages.counts[6], 1, "200 ms are within 0.2 s");
}

#[test]
fn a_takeover_between_two_looks_is_an_outage_too() {
    let (mut story, mut status) = (Story::default(), calm());
    story.look(at(0), "t0", &status);
    node(&mut status, 2, "down", 210.0);
    status.services[2].holder = Some("web1".into());
    story.look(at(230), "t1", &status);
    let outages = story.outages(at(999));
    assert_eq!((outages.len(), outages[0].outage_ms), (1, 210.0));
}

#[test]
fn a_suspicion_that_is_cleared_is_no_outage() {
    let (mut story, mut status) = (Story::default(), calm());
    story.look(at(0), "t0", &status);
    node(&mut status, 2, "suspect", 120.0);
    story.look(at(120), "t1", &status);
    node(&mut status, 2, "up", 1.0);
    story.look(at(140), "t2", &status);
    assert_eq!(story.outages(at(150)), []);
    assert_eq!(story.counts().outages.count(), 0);
}

#[test]
fn a_planned_move_is_counted_and_is_no_outage() {
    let (mut story, mut status) = (Story::default(), calm());
    story.look(at(0), "t0", &status);
    status.services[0].state = "moving".into();
    story.look(at(10), "t1", &status);
    status.services[0].holder = Some("web2".into());
    story.look(at(20), "t2", &status);
    status.services[0].state = "held".into();
    story.look(at(30), "t3", &status);
    assert_eq!(story.counts().takeovers, [("planned", 1)].into());
    assert_eq!(story.outages(at(40)), []);
}

#[test]
fn nobody_measures_what_nobody_saw() {
    let (mut story, mut status) = (Story::default(), calm());
    story.look(at(0), "t0", &status);
    status.quorum = false;
    for service in &mut status.services {
        service.state = "stopped".into();
    }
    story.look(at(10), "t1", &status);
    assert_eq!(story.outages(at(20)), [], "a node without quorum knows nothing of the others");
    let mut returned = calm();
    returned.services[0].holder = Some("web2".into());
    story.look(at(5000), "t2", &returned);
    assert_eq!((story.outages(at(5000)), story.counts().takeovers.len()), (Vec::new(), 0));
}

#[test]
fn a_service_that_nobody_serves_from_the_beginning_counts_from_the_first_look() {
    let (mut story, mut status) = (Story::default(), calm());
    (status.services[0].holder, status.services[0].state) = (None, "stopped".into());
    story.look(at(0), "t0", &status);
    (status.services[0].holder, status.services[0].state) = (Some("web1".into()), "held".into());
    story.look(at(300), "t1", &status);
    let outages = story.outages(at(400));
    assert_eq!((outages.len(), outages[0].from.clone(), outages[0].outage_ms), (1, None, 300.0));
    assert!(story.counts().takeovers.is_empty(), "taken over from nobody");
}

#[test]
fn events_are_counted_by_name_reason_and_length() {
    let mut story = Story::default();
    for fields in [
        json!({"event": "down", "node": "web3", "after_ms": 52.0}),
        json!({"event": "assigned", "service": "www3", "why": "holder-down"}),
        json!({"event": "move-began", "why": "failback"}),
        json!({"event": "receipt", "detect_ms": 60.0, "confirm_ms": 3.0}),
        json!({}),
    ] {
        let entry = json!({"sequence": 1, "time": "t", "text": "x", "fields": fields});
        story.happened(&serde_json::from_value(entry).expect("an entry"));
    }
    let counts = story.counts();
    let names: Vec<&str> = counts.events.keys().map(String::as_str).collect();
    assert_eq!(names, ["assigned", "down", "move-began", "receipt", "unknown"]);
    assert_eq!(counts.decisions, [("failback".into(), 1), ("holder-down".into(), 1)].into());
    assert_eq!((counts.detections.count(), counts.detections.counts[4]), (1, 1));
    assert_eq!(counts.phases.keys().copied().collect::<Vec<_>>(), ["confirm", "detect"]);
}

#[test]
fn only_so_many_outages_are_remembered() {
    let (mut story, mut status) = (Story::default(), calm());
    for round in 0..2 * OUTAGES_MAX as u64 {
        status.services[0].holder = Some(if round % 2 == 0 { "web1" } else { "web2" }.into());
        story.look(at(round), "t", &status);
    }
    assert_eq!(story.outages(at(0)).len(), OUTAGES_MAX);
}
