//! `clock`: does somebody keep the wall clock right? Certificates, logs and databases of several nodes need it; the
//! cluster itself does not.

use crate::config::duration_of;
use crate::os::errors::why;
use crate::os::time_sync::{Synchronisation, synchronisation};
use crate::recovery::Finding;
use std::time::Duration;

pub(super) fn look(target: &str) -> Finding {
    // The configuration has tried it.
    let limit = duration_of(target).unwrap_or(Duration::MAX);
    match synchronisation() {
        Ok(told) => judged(told, limit, target),
        Err(error) => Finding::bad(format!("the kernel does not tell of the clock: {}", why(&error))),
    }
}

fn judged(told: Synchronisation, limit: Duration, target: &str) -> Finding {
    let error = format!("{:.1} ms", told.error.as_secs_f64() * 1000.0);
    if !told.kept {
        return Finding::bad("the clock is kept right by nobody: no NTP daemon has told the kernel lately");
    }
    if told.error > limit {
        return Finding::bad(format!("the clock may be wrong by {error}, {target} is the limit"));
    }
    Finding::well(format!("the clock is right within {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_or_that_is_too_wrong_is_bad() {
        let told = |kept, millis| {
            judged(
                Synchronisation { kept, error: Duration::from_millis(millis) },
                Duration::from_millis(100),
                "100ms",
            )
        };
        assert_eq!(told(true, 12), Finding::well("the clock is right within 12.0 ms"));
        assert_eq!(told(true, 101), Finding::bad("the clock may be wrong by 101.0 ms, 100ms is the limit"));
        assert!(!told(false, 1).well && told(false, 1).message.contains("nobody"));
        let real = look("1h");
        assert!(real.message.starts_with("the clock is "), "{real:?}");
    }
}
