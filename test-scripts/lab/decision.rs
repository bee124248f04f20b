//! When was it decided? Read from the daemons' own events, to part what the takeover cost from what the
//! detection cost.

use crate::checks;
use crate::namespace::Outcome;
use crate::stage::Stage;
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DAY: i128 = 86_400_000;

/// The time from the last decision before `answer` (a majority has stored the state, every lease of the
/// dead has ended: `committed` on the controller) to that answer; `None` if the controller tells of none.
/// The daemons' events have whole milliseconds, cut off: it can be up to one too long.
pub fn to_answer(stage: &Stage, answer: Instant) -> Outcome<Option<Duration>> {
    let controller = checks::controller(&stage.world)?;
    let told = stage.world.diehard(controller, &["--json", "events", "--here", "--limit", "200"])?;
    let answered = time_of_day(answer);
    let mut shortest: Option<i128> = None;
    for line in told.lines() {
        let entry: Value = serde_json::from_str(line).map_err(|error| format!("events: {error}: {line}"))?;
        if entry["fields"]["event"] != "committed" {
            continue;
        }
        let time = entry["time"].as_str().and_then(parse_time_of_day);
        let time = time.ok_or_else(|| format!("events: {} is no time", entry["time"]))?;
        let passed = (answered - time).rem_euclid(DAY);
        // What is "almost a day ago" came after the answer.
        if passed < DAY / 2 {
            shortest = Some(shortest.map_or(passed, |shortest| shortest.min(passed)));
        }
    }
    Ok(shortest.and_then(|passed| u64::try_from(passed).ok()).map(Duration::from_millis))
}

/// Milliseconds since midnight, UTC, at this instant of the past.
pub fn time_of_day(instant: Instant) -> i128 {
    let since = (SystemTime::now() - instant.elapsed()).duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_millis()).unwrap_or_default() % DAY
}

/// The same from `2026-01-31T12:00:00.123Z`.
pub fn parse_time_of_day(text: &str) -> Option<i128> {
    let clock = text.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = clock.split([':', '.']);
    let mut next = || parts.next()?.parse::<i128>().ok();
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    let milliseconds = next().unwrap_or(0);
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds)
}
