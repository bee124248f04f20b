use super::*;
use crate::control::client::Client;
use crate::control::protocol::Question;
use crate::control::rehearsal::Rehearsal;

fn raw() -> Value {
    let rehearsal = Rehearsal::new();
    let mut client = Client::connect(&rehearsal.socket()).expect("a daemon");
    client.ask(&Question::Status).expect("a status")
}

fn tell(board: &Board, raw: &Value) {
    board.answered(serde_json::from_value(raw.clone()).expect("a status"), raw.clone());
}

fn news(board: &Board, seen: &mut Seen) -> News {
    board.news(seen, Duration::ZERO)
}

fn entry(sequence: u64, time: &str, text: &str) -> Entry {
    let value =
        json!({"sequence": sequence, "time": time, "node": "web1", "text": text, "fields": {"event": text}});
    serde_json::from_value(value).expect("an entry")
}

#[test]
fn what_changes_all_the_time_is_no_news_and_what_counts_is() {
    let (board, mut raw, mut seen) = (Board::new(false), raw(), Seen::default());
    assert!(news(&board, &mut seen).state.expect("a first picture").contains("\"reachable\":false"));
    tell(&board, &raw);
    let first = news(&board, &mut seen);
    let state: Value = serde_json::from_str(&first.state.expect("the daemon is there")).expect("JSON");
    assert_eq!((&state["reachable"], &state["status"]["cluster"]), (&json!(true), &json!("www")));
    assert!(first.pulse.expect("ages").contains("\"lease_ms\""));
    raw["lease_ms"] = json!(1.0);
    raw["nodes"][2]["heard_ms"] = json!(99.0);
    raw["traffic"]["announcements"] = json!(77);
    tell(&board, &raw);
    assert!(news(&board, &mut seen).state.is_none());
    raw["nodes"][2]["state"] = json!("suspect");
    tell(&board, &raw);
    assert!(news(&board, &mut seen).state.expect("news").contains("\"suspect\""));
}

#[test]
fn what_this_program_does_not_know_reaches_the_page_all_the_same() {
    let (board, mut raw) = (Board::new(true), raw());
    raw["of_tomorrow"] = json!([{"if": "web1"}]);
    tell(&board, &raw);
    let state: Value = serde_json::from_str(&board.state()).expect("JSON");
    assert_eq!(state["status"]["of_tomorrow"][0]["if"], "web1");
    assert_eq!(state["monitor"]["actions"], true);
}

#[test]
fn a_lost_daemon_is_told_once_and_so_is_its_return() {
    let (board, raw, mut seen) = (Board::new(false), raw(), Seen::default());
    tell(&board, &raw);
    news(&board, &mut seen);
    board.lost("gone".to_owned());
    let told = news(&board, &mut seen).state.expect("news");
    assert!(told.contains("\"trouble\":\"gone\"") && told.contains("\"cluster\":\"www\""), "{told}");
    board.lost("gone".to_owned());
    assert!(news(&board, &mut seen).state.is_none());
    assert!(board.measured(|status, _| status.is_none()), "old figures are no figures");
    tell(&board, &raw);
    assert!(news(&board, &mut seen).state.expect("news").contains("\"trouble\":null"));
}

#[test]
fn an_event_is_told_once_to_everybody_whatever_its_number() {
    let (board, mut one, mut late) = (Board::new(false), Seen::default(), Seen::default());
    assert!(board.happened(vec![entry(1, "t1", "a"), entry(2, "t2", "b")], false));
    assert_eq!(news(&board, &mut one).events.len(), 2);
    // The daemon was started anew, and tells what it kept.
    assert!(board.happened(vec![entry(7, "t2", "b"), entry(8, "t3", "c")], true));
    let told = news(&board, &mut one).events;
    assert_eq!((told.len(), told[0].text.as_str()), (1, "c"));
    assert!(!board.happened(vec![entry(9, "t3", "c")], true));
    assert_eq!(news(&board, &mut late).events.len(), 3);
    board.measured(|_, story| assert_eq!(story.counts().events, [("c".to_owned(), 1)].into()));
}

#[test]
fn who_is_slow_gets_the_newest_and_no_backlog() {
    let (board, mut slow) = (Board::new(false), Seen::default());
    for number in 0..3 * EVENTS_MAX as u64 {
        board.happened(vec![entry(number, &format!("t{number}"), "x")], true);
    }
    let told = news(&board, &mut slow).events;
    assert_eq!(told.len(), EVENTS_MAX);
    assert_eq!(told[EVENTS_MAX - 1].sequence, 3 * EVENTS_MAX as u64 - 1);
    assert!(news(&board, &mut slow).events.is_empty());
}

#[test]
fn who_looks_is_counted_until_they_look_away() {
    let board = Arc::new(Board::new(false));
    let (one, two) = (board.look(), board.look());
    assert_eq!(board.viewers(), 2);
    drop((one, two));
    assert_eq!(board.viewers(), 0);
}
