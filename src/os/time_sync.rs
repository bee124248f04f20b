//! Whether somebody keeps the wall clock right, as the kernel was told by an NTP daemon. Called by a worker of the checks.

use std::io;
use std::time::Duration;

/// How right the wall clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synchronisation {
    /// An NTP daemon has told the kernel lately.
    pub kept: bool,
    /// How wrong it may be at most.
    pub error: Duration,
}

/// How right the wall clock is.
///
/// # Errors
/// ENOSYS, EPERM where system calls are filtered.
pub fn synchronisation() -> io::Result<Synchronisation> {
    // SAFETY: all-zero bytes are a valid timex (integers); with modes = 0 the call only writes to it.
    let (state, told) = unsafe {
        let mut told: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut told), told)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let error = Duration::from_micros(u64::try_from(told.maxerror).unwrap_or(u64::MAX));
    let kept = state != libc::TIME_ERROR && told.status & libc::STA_UNSYNC == 0;
    Ok(Synchronisation { kept, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let told = synchronisation().expect("the kernel tells everybody");
        // It adds 500 ppm to what it was told last, up to 16 s, and then says that nobody keeps it.
        assert!(
            told.error <= Duration::from_secs(16) && (told.kept || told.error > Duration::ZERO),
            "{told:?}"
        );
    }
}
