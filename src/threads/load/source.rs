//! Where a load comes from: what the kernel says in /proc, and what a script prints.

use std::fs;
use std::io;

/// So many connections are a full machine of capacity 1.
const CONNECTIONS: f64 = 1000.0;
/// The greatest number that a script may print.
const MOST: f64 = 1000.0;

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error: io::Error| format!("{path}: {error}"))
}

fn strange(path: &str) -> String {
    format!("{path} is not understood")
}

/// The load average of the last minute for each processor.
pub(super) fn loadavg() -> Result<f64, String> {
    let path = "/proc/loadavg";
    let text = read(path)?;
    let average: Option<f64> = text.split_whitespace().next().and_then(|number| number.parse().ok());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(average.ok_or_else(|| strange(path))? / processors as f64)
}

/// The share of the processors' time that was not idle, since the last sample.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    last: Option<(u64, u64)>,
}

impl Cpu {
    /// `None`: this was the first, there is nothing to compare with.
    pub fn sample(&mut self) -> Result<Option<f64>, String> {
        let path = "/proc/stat";
        let now = busy_and_total(&read(path)?).ok_or_else(|| strange(path))?;
        Ok(self.since_last(now))
    }

    fn since_last(&mut self, now: (u64, u64)) -> Option<f64> {
        let last = self.last.replace(now)?;
        // The kernel's idle time may go back a little.
        let (busy, total) = (now.0.saturating_sub(last.0), now.1.saturating_sub(last.1));
        (total > 0).then(|| (busy as f64 / total as f64).min(1.0))
    }
}

/// Of the first line of /proc/stat: user nice system idle iowait irq softirq steal; a guest's time is in user.
fn busy_and_total(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().take(8).map_while(|number| number.parse().ok()).collect();
    if times.len() < 4 {
        return None;
    }
    let total: u64 = times.iter().sum();
    let idle = times[3] + times.get(4).copied().unwrap_or(0);
    Some((total.saturating_sub(idle), total))
}

/// Established TCP connections, of both families.
pub(super) struct Connections;

impl Connections {
    pub fn sample(capacity: f64) -> Result<f64, String> {
        let path = "/proc/net/snmp";
        let established = established(&read(path)?).ok_or_else(|| strange(path))?;
        Ok(established / CONNECTIONS / if capacity > 0.0 { capacity } else { 1.0 })
    }
}

/// `CurrEstab` of the two lines that begin with `Tcp:`: names, then numbers.
fn established(snmp: &str) -> Option<f64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == "CurrEstab")?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

/// The first line of a script.
pub(super) fn number(line: &str) -> Result<f64, String> {
    let number: Option<f64> = line.trim().parse().ok();
    number.filter(|number| (0.0..=MOST).contains(number)).ok_or_else(|| {
        let line: String = line.chars().filter(|letter| !letter.is_control()).take(60).collect();
        format!("expected a number from 0 to {MOST} in the first line, got `{line}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting_for_a_disk() {
        let stat = "cpu  100 10 50 800 40 0 5 1 7 0\ncpu0 1 1 1 1\n";
        assert_eq!(busy_and_total(stat), Some((166, 1006)));
        assert_eq!(busy_and_total("cpu  1 2 3\n"), None);
        assert_eq!(busy_and_total(""), None);
        let mut cpu = Cpu::default();
        assert_eq!(cpu.since_last((100, 1000)), None);
        assert_eq!(cpu.since_last((150, 1200)), Some(0.25));
        assert_eq!(cpu.since_last((150, 1200)), None, "no time has passed");
        assert_eq!(cpu.since_last((140, 1300)), Some(0.0), "less than before");
    }

    #[test]
    fn connections_are_found_by_their_name() {
        let snmp = "Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn CurrEstab InSegs\nTcp: 200 -1 250 7\nUdp: X\n";
        assert_eq!(established(snmp), Some(250.0));
        assert_eq!(established("Tcp: RtoMin\nTcp: 200\n"), None);
        assert_eq!(established(""), None);
    }

    #[test]
    fn this_machine_can_be_measured() {
        assert!(loadavg().is_ok_and(|load| load >= 0.0));
        assert!(Connections::sample(0.0).is_ok_and(|load| load >= 0.0));
        assert_eq!(Cpu::default().sample(), Ok(None));
    }

    #[test]
    fn a_script_prints_a_number_or_has_failed() {
        assert_eq!(number(" 0.75 "), Ok(0.75));
        for wrong in ["", "much", "-1", "1001", "NaN", "inf", "0.5 of 1"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
        assert!(number("a\x1b[31mb").is_err_and(|why| why.ends_with("got `a[31mb`")));
    }
}
