//! Ctrl-C, TERM and waiting: every wait of the lab ends early when somebody wants to leave, so that
//! everything is cleaned up on the way out.

use crate::namespace::Outcome;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static WANTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// What a wait fails with after a Ctrl-C.
pub const INTERRUPTED: &str = "interrupted";

/// From now on INT, TERM and HUP are noted instead of ending the process.
pub fn listen() -> Outcome<()> {
    let flag = WANTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).map_err(|error| format!("signals: {error}"))?;
    }
    Ok(())
}

/// Fails if somebody wants to leave.
pub fn check() -> Outcome<()> {
    let wanted = WANTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed));
    if wanted { Err(INTERRUPTED.to_owned()) } else { Ok(()) }
}

/// Waits so long.
pub fn pause(length: Duration) -> Outcome<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        check()?;
        std::thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
    }
    check()
}

/// Waits until `condition` is true; fails after `limit`, naming `what` was waited for.
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let end = Instant::now() + limit;
    loop {
        check()?;
        if condition()? {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("waited {} s in vain: {what}", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `condition` finds nothing to complain of; its last complaint is the error. An error of
/// its own, beside a complaint, ends the wait at once.
pub fn wait_until_right(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Outcome<Outcome<()>>,
) -> Outcome<()> {
    let mut complaint = String::new();
    let waited = wait_until(what, limit, || {
        match condition()? {
            Ok(()) => return Ok(true),
            Err(error) => complaint = error,
        }
        // Looking is work too: it must not load the machine on which the daemons are to be quick.
        std::thread::sleep(Duration::from_millis(20));
        Ok(false)
    });
    waited.map_err(|error| if error == INTERRUPTED { error } else { format!("{error}: {complaint}") })
}
