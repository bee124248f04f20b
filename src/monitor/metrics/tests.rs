use super::*;
use crate::control::client::Client;
use crate::control::protocol::Question;
use crate::control::rehearsal::Rehearsal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A board that has seen some of everything.
fn board() -> Board {
    let rehearsal = Rehearsal::new();
    let mut client = Client::connect(&rehearsal.socket()).expect("a daemon");
    let mut raw = client.ask(&Question::Status).expect("a status");
    raw["nodes"][1]["round_trip_ms"] = 0.2.into();
    raw["nodes"][1]["heard_ms"] = 20.0.into();
    raw["services"][0]["checks"][0]["state"] = "failing".into();
    let board = Board::new(false);
    board.answered(serde_json::from_value(raw.clone()).expect("a status"), raw);
    let fields = [
        r#"{"event": "down", "after_ms": 50}"#,
        r#"{"event": "assigned", "why": "holder-down"}"#,
        r#"{"event": "x", "detect_ms": 1, "decide_ms": 2, "claim_ms": 3, "confirm_ms": 4}"#,
    ];
    let entry =
        |(at, fields)| format!(r#"{{"sequence": {at}, "time": "t{at}", "text": "x", "fields": {fields}}}"#);
    let entries = fields.iter().enumerate().map(entry);
    board.happened(entries.map(|text| serde_json::from_str(&text).expect("an entry")).collect(), true);
    board
}

/// The names of all series.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    lines.map(name).collect()
}

#[test]
fn the_text_is_well_formed_and_says_what_is() {
    let text = text(&board());
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "diehard_reachable 1.0",
        "diehard_node_state{node=\"web1\",state=\"up\"} 1.0",
        "diehard_node_state{node=\"web1\",state=\"down\"} 0.0",
        "diehard_rejected_packets_total{reason=\"seal\"} 3",
        "diehard_announcements_total 4",
        "diehard_takeovers_total{cause=\"failure\"} 0",
        "diehard_decisions_total{why=\"holder-down\"} 1",
        "diehard_node_round_trip_seconds{node=\"web2\"} 0.0002",
        "diehard_check_ok{check=\"www1-http\",type=\"http\",of=\"www1\"} 0.0",
        "diehard_detection_seconds_bucket{le=\"0.025\"} 0",
        "diehard_detection_seconds_bucket{le=\"0.05\"} 1",
        "diehard_detection_seconds_bucket{le=\"+Inf\"} 1",
        "diehard_takeover_phase_seconds_count{phase=\"claim\"} 1",
        "# TYPE diehard_outage_seconds histogram",
        "# UNIT diehard_lease_seconds seconds",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}:\n{text}");
    }
    let mut types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let all = types.len();
    types.dedup();
    assert_eq!(types.len(), all, "a family is told once");
}

#[test]
fn without_a_daemon_only_what_is_still_true_is_told() {
    let board = board();
    board.lost("gone".to_owned());
    let text = text(&board);
    assert!(text.contains("diehard_reachable 0.0") && text.contains("diehard_events_total"), "{text}");
    assert!(!text.contains("diehard_node_state") && !text.contains("diehard_quorum"), "{text}");
}

/// Every word of ours in a query of the shipped files.
fn used(path: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).expect("a shipped file");
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("diehard_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_only_what_exists_and_the_dashboard_names_it_all() {
    let exist = names(&text(&board()));
    for path in ["etc/grafana-dashboard.json", "etc/alerts.yml"] {
        let used = used(path);
        let unknown: Vec<_> = used.difference(&exist).collect();
        assert!(unknown.is_empty() && used.len() > 5, "{path}: {unknown:?} of {used:?}");
    }
    let shown = used("etc/grafana-dashboard.json");
    let parts = ["_sum", "_count"];
    let forgotten: Vec<_> =
        exist.difference(&shown).filter(|name| !parts.iter().any(|part| name.ends_with(part))).collect();
    assert_eq!(forgotten, Vec::<&String>::new(), "on no panel");
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/grafana-dashboard.json");
    let text = fs::read_to_string(dashboard).expect("it is shipped");
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 8));
}
