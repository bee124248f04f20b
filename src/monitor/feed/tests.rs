use super::*;
use crate::control::rehearsal::Rehearsal;
use crate::monitor::board::Seen;
use serde_json::json;

/// Waits until the board's picture is as wanted; far longer than it should take.
fn until(board: &Board, what: &str, wanted: impl Fn(&Value) -> bool) {
    let mut seen = Seen::default();
    for _ in 0..600 {
        let _ = board.news(&mut seen, Duration::from_millis(50));
        let state: Value = serde_json::from_str(&board.state()).expect("JSON");
        if wanted(&state) {
            return;
        }
    }
    panic!("{what}: {}", board.state());
}

#[test]
fn the_feed_brings_changes_events_the_daemons_end_and_its_return() {
    let mut rehearsal = Rehearsal::new();
    let (board, door) = (Arc::new(Board::new(false)), Arc::new(Door::own(&rehearsal.socket(), false)));
    start(&door, &board).expect("threads");
    until(&board, "the daemon is seen", |state| state["reachable"] == true);
    rehearsal.view.lock().frozen ^= true;
    let frozen = rehearsal.view.lock().frozen;
    let fields = json!({"event": "x"}).as_object().expect("an object").clone();
    rehearsal.events.push(std::time::UNIX_EPOCH, "it happened".into(), fields);
    until(&board, "a change is seen", |state| state["status"]["frozen"] == frozen);
    let mut seen = Seen::default();
    let mut texts = Vec::new();
    while !texts.contains(&"it happened".to_owned()) {
        let news = board.news(&mut seen, Duration::from_secs(30));
        texts.extend(news.events.iter().map(|entry| entry.text.clone()));
    }
    rehearsal.stop();
    until(&board, "its end is seen", |state| state["reachable"] == false);
    let told: Value = serde_json::from_str(&board.state()).expect("JSON");
    assert_eq!(told["status"]["cluster"], "www", "what was known stays");
}
