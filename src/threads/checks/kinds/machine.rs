//! `memory` and `load`: what the kernel says of the whole machine.

use crate::os::errors::why;
use crate::recovery::Finding;
use std::fs;

pub(super) fn memory(target: &str) -> Finding {
    let limit: f64 = target.trim_end_matches('%').parse().unwrap_or(100.0);
    let text = match fs::read_to_string("/proc/meminfo") {
        Ok(text) => text,
        Err(error) => return Finding::bad(format!("/proc/meminfo: {}", why(&error))),
    };
    let Some(used) = used_percent(&text) else {
        return Finding::bad("/proc/meminfo does not say how much memory is available");
    };
    let message = format!("{used:.0}% of the memory in use");
    if used > limit {
        Finding::bad(format!("{message}, {limit}% is the limit"))
    } else {
        Finding::well(message)
    }
}

/// What programs could not get without swapping.
fn used_percent(meminfo: &str) -> Option<f64> {
    let kilobytes = |key: &str| -> Option<f64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let (total, available) = (kilobytes("MemTotal:")?, kilobytes("MemAvailable:")?);
    (total > 0.0).then(|| (total - available) * 100.0 / total)
}

pub(super) fn load(target: &str) -> Finding {
    let limit: f64 = target.parse().unwrap_or(f64::MAX);
    let text = match fs::read_to_string("/proc/loadavg") {
        Ok(text) => text,
        Err(error) => return Finding::bad(format!("/proc/loadavg: {}", why(&error))),
    };
    let Some(now) = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()) else {
        return Finding::bad("/proc/loadavg cannot be read");
    };
    let message = format!("load average {now:.2}");
    if now > limit {
        Finding::bad(format!("{message}, {limit} is the limit"))
    } else {
        Finding::well(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let text = "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:    250 kB\n";
        assert_eq!(used_percent(text), Some(75.0));
        assert_eq!(used_percent("MemTotal: 1000 kB\n"), None);
        assert!(!memory("1%").well);
        assert!(memory("1%").message.ends_with("1% is the limit"));
        assert!(memory("100%").well);
    }

    #[test]
    fn the_load_is_compared() {
        assert!(load("1000000").well);
        assert!(load("1000000").message.starts_with("load average "));
    }
}
