//! What `events --since` understands. PURE but for the age, which counts from now.

use crate::control::events::rfc3339;
use std::time::{Duration, SystemTime};

/// From where on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// After the event of this number.
    Sequence(u64),
    /// From this time on, written as the events' times are: they compare as text.
    Time(String),
}

impl Since {
    /// `17`, `2026-01-31T12:00:00Z` or `10m`.
    ///
    /// # Errors
    /// None of these: what was expected, in words.
    pub fn parse(text: &str) -> Result<Since, String> {
        if let Ok(number) = text.parse() {
            return Ok(Since::Sequence(number));
        }
        let found = age(text).map(before_now).or_else(|| time(text));
        found.map(Since::Time).ok_or_else(|| {
            format!("--since {text}: expected an event's number, a time as 2026-01-31T12:00:00Z or an age as 90s, 10m, 2h, 1d")
        })
    }

    /// Does an event of that time belong to it? Numbers are the daemon's to choose.
    pub fn includes(&self, event_time: &str) -> bool {
        match self {
            Since::Sequence(_) => true,
            Since::Time(time) => event_time >= time.as_str(),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a person's question in a person's time; nothing decides on it")]
fn before_now(age: Duration) -> String {
    rfc3339(SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
}

fn age(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

/// `YYYY-MM-DDTHH:MM:SS[.mmm]Z`, as the daemon writes it, with or without milliseconds.
fn time(text: &str) -> Option<String> {
    let stem = text.strip_suffix('Z')?;
    let (second, millis) = stem.split_once('.').unwrap_or((stem, "000"));
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, expected)| match expected {
                b'0' => byte.is_ascii_digit(),
                expected => byte == expected,
            })
    };
    (shape(second, "0000-00-00T00:00:00") && shape(millis, "000")).then(|| format!("{second}.{millis}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_understood() {
        assert_eq!(Since::parse("17"), Ok(Since::Sequence(17)));
        let expected = Since::Time("2026-01-31T12:00:00.000Z".into());
        assert_eq!(Since::parse("2026-01-31T12:00:00Z"), Ok(expected.clone()));
        assert_eq!(Since::parse("2026-01-31T12:00:00.000Z"), Ok(expected.clone()));
        assert!(
            expected.includes("2026-01-31T12:00:00.000Z") && expected.includes("2026-02-01T00:00:00.000Z")
        );
        assert!(!expected.includes("2026-01-31T11:59:59.999Z"));
    }

    #[test]
    fn ages_count_from_now() {
        assert_eq!(age("90s"), Some(Duration::from_secs(90)));
        assert_eq!(age("2h"), Some(Duration::from_secs(7200)));
        let Ok(Since::Time(hour_ago)) = Since::parse("1h") else { panic!("an age is a time") };
        assert!(
            hour_ago > before_now(Duration::from_secs(3700))
                && hour_ago < before_now(Duration::from_secs(3500))
        );
        assert_eq!(Since::parse("999999999d"), Ok(Since::Time("1970-01-01T00:00:00.000Z".into())));
    }

    #[test]
    fn nothing_else_is() {
        for wrong in [
            "",
            "yesterday",
            "10 m",
            "-5m",
            "5é",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "99999999999999999999d",
        ] {
            let result = Since::parse(wrong);
            let expected = format!(
                "--since {wrong}: expected an event's number, a time as 2026-01-31T12:00:00Z or an age as 90s, 10m, 2h, 1d"
            );
            assert_eq!(result, Err(expected));
        }
    }
}
