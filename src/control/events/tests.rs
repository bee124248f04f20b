#![allow(clippy::disallowed_methods, reason = "a real socket lives in real time")]

use super::*;
use std::sync::Arc;

fn push(log: &EventLog, text: &str) -> u64 {
    log.push(UNIX_EPOCH, text.into(), Map::new())
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.events.iter().map(|entry| entry.text.as_str()).collect()
}

#[test]
fn times_are_rfc_3339() {
    // Expected values: `date -u -d @N +%FT%T`.
    for (millis, expected) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_799_999, "2000-02-29T23:59:59.999Z"),
        (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
        (1_767_225_599_500, "2025-12-31T23:59:59.500Z"),
        (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), expected);
    }
    assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00.000Z");
}

#[test]
fn entries_are_numbered_and_the_oldest_forgotten() {
    let log = EventLog::with_capacity(3);
    for (number, text) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        assert_eq!(push(&log, text), number as u64 + 1);
    }
    let all = log.after(0, usize::MAX);
    assert_eq!((texts(&all), all.missed), (vec!["c", "d", "e"], 2));
    assert_eq!(all.events[0].sequence, 3);
    let some = log.after(3, usize::MAX);
    assert_eq!((texts(&some), some.missed), (vec!["d", "e"], 0));
    assert_eq!(texts(&log.after(0, 1)), ["e"]);
    assert_eq!(texts(&log.after(5, usize::MAX)), [""; 0]);
    assert_eq!(log.after(99, usize::MAX), Batch::default(), "a number of an earlier life");
}

#[test]
fn a_follower_is_woken_by_the_next_entry_and_by_the_end() {
    let log = Arc::new(EventLog::default());
    assert_eq!(log.wait_after(0, Duration::from_millis(1)), Some(Batch::default()));
    let follower = std::thread::spawn({
        let log = log.clone();
        move || {
            let first = log.wait_after(0, Duration::from_secs(60)).expect("still open");
            let end = log.wait_after(1, Duration::from_secs(60));
            (texts(&first).join(","), end)
        }
    });
    push(&log, "woken");
    std::thread::sleep(Duration::from_millis(20));
    log.close();
    assert_eq!(follower.join().unwrap(), ("woken".to_owned(), None));
}
