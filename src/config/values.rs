//! One value → its type, or what was expected instead (with units and range). Called by `parse` for each
//! key; the tables of words are shared with `print`, so that what is printed parses.

use super::addresses::device;
use super::error::{did_you_mean, wrong};
use super::types::*;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The value, or the message that says what was expected.
pub(super) type Value<T> = Result<T, String>;

/// The words of a key and what they mean.
pub(super) type Words<T> = &'static [(&'static str, T)];

pub(super) const PROBE_INTERVAL: Words<ProbeInterval> =
    &[("auto", ProbeInterval::Auto), ("1/8", ProbeInterval::Eighth), ("1/16", ProbeInterval::Sixteenth)];
pub(super) const QUORUM: Words<Quorum> = &[
    ("auto", Quorum::Auto),
    ("majority", Quorum::Majority),
    ("arbiter", Quorum::Arbiter),
    ("none", Quorum::None),
];
pub(super) const FAILBACK: Words<Failback> = &[("auto", Failback::Auto), ("manual", Failback::Manual)];
pub(super) const ON_CONFLICT: Words<OnConflict> = &[("wait", OnConflict::Wait), ("force", OnConflict::Force)];
pub(super) const LOAD: Words<LoadSource> = &[
    ("services", LoadSource::Services),
    ("loadavg", LoadSource::Loadavg),
    ("cpu", LoadSource::Cpu),
    ("connections", LoadSource::Connections),
    ("script", LoadSource::Script),
];
pub(super) const LOG_LEVEL: Words<LogLevel> = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];
pub(super) const YES_NO: Words<bool> = &[("yes", true), ("no", false)];
pub(super) const CHECK_KIND: Words<CheckKind> = &[
    ("http", CheckKind::Http),
    ("tcp", CheckKind::Tcp),
    ("process", CheckKind::Process),
    ("script", CheckKind::Script),
    ("link", CheckKind::Link),
    ("gateway", CheckKind::Gateway),
    ("disk", CheckKind::Disk),
    ("memory", CheckKind::Memory),
    ("load", CheckKind::Load),
    ("fd", CheckKind::Fd),
    ("clock", CheckKind::Clock),
    ("dns", CheckKind::Dns),
];
/// The steps of `policy` that are one word; `restart:TIMES/WINDOW` is the fifth.
pub(super) const STEPS: Words<PolicyStep> = &[
    ("alert", PolicyStep::Alert),
    ("move", PolicyStep::Move),
    ("standby", PolicyStep::Standby),
    ("reboot", PolicyStep::Reboot),
];

/// Units of durations in microseconds, the largest first.
pub(super) const UNITS: &[(&str, u64)] =
    &[("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// A value that `none` switches off.
pub(super) fn or_none<T>(parse: impl Fn(&str) -> Value<T>) -> impl Fn(&str) -> Value<Option<T>> {
    move |text| {
        if text == "none" {
            return Ok(None);
        }
        let single = !text.contains(','); // In a list, `none` is no alternative for one part of it.
        parse(text).map(Some).map_err(|message| match single {
            true => message.replacen("expected ", "expected `none` or ", 1),
            false => message,
        })
    }
}

/// One word of a fixed set.
pub(super) fn word<T: Copy>(words: Words<T>) -> impl Fn(&str) -> Value<T> {
    move |text| {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let near = did_you_mean(text, words.iter().map(|(word, _)| *word));
        Err(format!("{}{near}", wrong(&listed(words), text)))
    }
}

/// `a, b or c`
fn listed<T>(words: Words<T>) -> String {
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let (last, rest) = names.split_last().expect("a table of words has at least two");
    format!("{} or {last}", rest.join(", "))
}

/// How a word of a table is written.
pub(super) fn spelled<T: PartialEq>(words: Words<T>, value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("?", |(word, _)| word)
}

/// A name of a cluster, node, service or check.
pub(super) fn name(text: &str) -> Value<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=32).contains(&text.len()) && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err(wrong("a name of 1 to 32 letters, digits, `.`, `_` and `-`", text))
}

/// The name of something that another section describes.
pub(super) fn reference(what: &'static str) -> impl Fn(&str) -> Value<String> {
    move |text| if text.is_empty() { Err(wrong(what, text)) } else { Ok(text.to_owned()) }
}

/// A command line or other free text.
pub(super) fn command(text: &str) -> Value<String> {
    if text.is_empty() {
        return Err(wrong("a command line", text));
    }
    Ok(text.to_owned())
}

/// An absolute path.
pub(super) fn path(text: &str) -> Value<PathBuf> {
    if text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    Err(wrong("an absolute path", text))
}

/// A whole number within a range, both ends included.
pub(super) fn number(low: u32, high: u32) -> impl Fn(&str) -> Value<u32> {
    move |text| {
        digits(text)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (low..=high).contains(number))
            .ok_or_else(|| wrong(&format!("a whole number from {low} to {high}"), text))
    }
}

/// A number that fits 16 bits.
pub(super) fn number16(text: &str) -> Value<u16> {
    let number = number(1, u32::from(u16::MAX))(text)?;
    Ok(u16::try_from(number).expect("number() has checked the range"))
}

pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A share of the work that a node can take: 0, or like `weight`.
pub(super) fn capacity(text: &str) -> Value<f64> {
    decimal(text)
        .filter(|value| *value == 0.0 || (0.001..=1_000_000.0).contains(value))
        .ok_or_else(|| wrong("0 or a decimal number from 0.001 to 1000000", text))
}

/// A share of the work that a service makes.
pub(super) fn weight(text: &str) -> Value<f64> {
    decimal(text)
        .filter(|value| (0.001..=1_000_000.0).contains(value))
        .ok_or_else(|| wrong("a decimal number from 0.001 to 1000000", text))
}

/// Digits with at most one point: no sign, no exponent, no `inf`, no `nan`.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && text.len() <= 32).then(|| text.parse().ok()).flatten()
}

/// A duration within a range, both ends included.
pub(super) fn duration(low: Duration, high: Duration) -> impl Fn(&str) -> Value<Duration> {
    move |text| match micros(text) {
        Some(value) if (low..=high).contains(&value) => Ok(value),
        _ => {
            let range = format!("a duration from {} to {}", written(low), written(high));
            let near = unit_meant(text).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(format!("{}{near}", wrong(&format!("{range} with its unit (us, ms, s, min, h)"), text)))
        }
    }
}

/// A duration that may also be 0: never, or at once.
pub(super) fn duration_or_zero(low: Duration, high: Duration) -> impl Fn(&str) -> Value<Duration> {
    move |text| match micros(text) {
        Some(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(low, high)(text)
            .map_err(|message| message.replacen("expected a duration", "expected 0 or a duration", 1)),
    }
}

/// A lifetime that the kernel can count: it knows whole seconds only.
pub(super) fn lifetime(text: &str) -> Value<Duration> {
    let (low, high) = (Duration::from_secs(1), Duration::from_secs(3600));
    let value = duration(low, high)(text)?;
    if value.subsec_nanos() != 0 {
        return Err(wrong("whole seconds, because the kernel counts in them", text));
    }
    Ok(value)
}

fn micros(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, micros) = UNITS.iter().find(|(known, _)| *known == unit)?;
    Some(Duration::from_micros(digits(number)?.checked_mul(*micros)?))
}

/// `5m` → `5min`: the units that people write instead.
fn unit_meant(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let meant = match unit.trim().to_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "msecs" | "millis" => "ms",
        "us" | "usec" | "usecs" | "µs" | "μs" => "us",
        "min" | "m" | "mins" | "minute" | "minutes" => "min",
        "h" | "hr" | "hour" | "hours" => "h",
        _ => return None,
    };
    // `5s` out of range needs no advice about its unit.
    (!number.is_empty() && unit != meant).then(|| format!("{number}{meant}"))
}

/// A duration in its largest unit that leaves nothing over.
pub(super) fn written(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0".to_owned();
    }
    let fits = |(_, size): &&(&str, u64)| micros.is_multiple_of(*size);
    let (unit, size) = UNITS.iter().find(fits).expect("every number is a multiple of one microsecond");
    format!("{}{unit}", micros / size)
}

/// The parts of a list: comma separated, at least one, none twice.
pub(super) fn list<T: PartialEq>(
    most: usize,
    parse: impl Fn(&str) -> Value<T>,
) -> impl Fn(&str) -> Value<Vec<T>> {
    move |text| {
        let mut values = Vec::new();
        for part in text.split(',') {
            let value = parse(part.trim())?;
            if values.contains(&value) {
                return Err(format!("expected each only once, got `{}` twice", part.trim()));
            }
            values.push(value);
        }
        if values.len() > most {
            return Err(format!("expected at most {most}, got {}", values.len()));
        }
        Ok(values)
    }
}

/// One step of `policy`.
pub(super) fn step(text: &str) -> Value<PolicyStep> {
    let Some(limits) = text.strip_prefix("restart:") else {
        if let Some((_, step)) = STEPS.iter().find(|(word, _)| *word == text) {
            return Ok(*step);
        }
        let known = STEPS.iter().map(|(word, _)| *word).chain(["restart:3/60s"]);
        let near = did_you_mean(text, known);
        return Err(format!("{}{near}", wrong("restart:TIMES/WINDOW, move, standby, alert or reboot", text)));
    };
    let (times, window) =
        limits.split_once('/').ok_or_else(|| wrong("restart:TIMES/WINDOW, such as `restart:3/60s`", text))?;
    let times = number(1, 1000)(times).map_err(|why| format!("restart TIMES: {why}"))?;
    let window = duration(Duration::from_secs(1), Duration::from_secs(86_400))(window)
        .map_err(|why| format!("restart WINDOW: {why}"))?;
    Ok(PolicyStep::Restart { times, window })
}

/// `target`, as the kind of the check wants it.
pub(super) fn target(kind: CheckKind, text: &str) -> Value<String> {
    let percent = |text: &str| {
        let number = text.strip_suffix('%').and_then(digits);
        number.is_some_and(|number| (1..=100).contains(&number))
    };
    let (good, expected) = match kind {
        CheckKind::Http => (is_http_url(text), "`http://HOST[:PORT]/PATH` or `https://HOST[:PORT]/PATH`"),
        CheckKind::Tcp => (text.parse::<SocketAddr>().is_ok(), "`ADDRESS:PORT` (IPv6: `[ADDRESS]:PORT`)"),
        CheckKind::Process => (!text.is_empty(), "the name of a process or the path of its pid file"),
        CheckKind::Script => (!text.is_empty(), "a command line"),
        CheckKind::Link => (device(text).is_ok(), "a network device"),
        CheckKind::Gateway => (text.parse::<IpAddr>().is_ok(), "an IP address"),
        CheckKind::Disk => {
            // 95 %: what the check takes where the file says nothing.
            let (path, limit) = text.rsplit_once(char::is_whitespace).unwrap_or((text, "95%"));
            (path.starts_with('/') && percent(limit), "`/PATH` or `/PATH PERCENT%` (how full it may be)")
        }
        CheckKind::Memory => (percent(text), "`PERCENT%` from 1% to 100% (how much may be in use)"),
        CheckKind::Load => (weight(text).is_ok(), "a decimal number from 0.001 to 1000000 (load average)"),
        CheckKind::Fd => {
            let (of, limit) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
            (
                !of.is_empty() && percent(limit),
                "`system`, a process or a pid file, then `PERCENT%` (of its limit)",
            )
        }
        CheckKind::Clock => (clock(text), "a duration from 1us to 1h with its unit (how wrong it may be)"),
        CheckKind::Dns => (is_dns(text), "`NAME [A|AAAA|SOA] [@SERVER[:PORT]]`, the server by its address"),
    };
    if good { Ok(text.to_owned()) } else { Err(wrong(expected, text)) }
}

fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    !host.is_empty() && !text.contains(char::is_whitespace)
}

fn clock(text: &str) -> bool {
    micros(text).is_some_and(|limit| (1..=3_600_000_000).contains(&limit.as_micros()))
}

/// A duration that was checked when the file was read.
pub fn duration_of(text: &str) -> Option<Duration> {
    micros(text)
}

fn is_dns(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or("").trim_end_matches('.');
    let label = |label: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        (1..=63).contains(&label.len()) && label.chars().all(good)
    };
    let mut next = words.next();
    if matches!(next, Some("A" | "AAAA" | "SOA")) {
        next = words.next();
    }
    let server = next.is_none_or(|server| {
        server
            .strip_prefix('@')
            .is_some_and(|server| server.parse::<IpAddr>().is_ok() || server.parse::<SocketAddr>().is_ok())
    });
    name.len() <= 253 && name.split('.').all(label) && server && words.next().is_none()
}
