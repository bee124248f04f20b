//! Scheduling and memory of the heartbeat path: each function says whether it could.
//!
//! Called once by each heartbeat thread, and by the daemon at its start.

use std::io;

/// The calling thread runs before all ordinary ones (SCHED_FIFO) from now on; what it forks does not
/// (SCHED_RESET_ON_FORK: scripts would inherit it otherwise).
///
/// # Errors
/// EPERM without CAP_SYS_NICE or RLIMIT_RTPRIO, or in a control group without real-time share.
pub fn realtime(priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: i32::from(priority) };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread; `parameter` lives until after the call.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })
}

/// The calling thread is an ordinary one again.
///
/// # Errors
/// None known.
pub fn ordinary() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread; `parameter` lives until after the call.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameter) })
}

/// No page of this process is ever fetched from disk again once touched.
///
/// # Errors
/// EPERM or ENOMEM without CAP_IPC_LOCK beyond RLIMIT_MEMLOCK.
pub fn lock_memory() -> io::Result<()> {
    // MCL_ONFAULT: without it every stack would be resident in full.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: takes no pointers.
    check(unsafe { libc::mlockall(flags) })
}

/// The calling thread's sleeps end on time, not up to 50 µs later.
///
/// # Errors
/// None known.
pub fn exact_timers() -> io::Result<()> {
    // SAFETY: PR_SET_TIMERSLACK takes one number.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) })
}

/// The calling thread's name, at most 15 bytes; that of a process is its first thread's.
///
/// # Errors
/// None known.
pub fn name_thread(name: &std::ffi::CStr) -> io::Result<()> {
    Ok(nix::sys::prctl::set_name(name)?)
}

/// All threads allocate from one arena: an arena for each thread would cost resident memory for nothing.
/// To be called before any thread starts.
pub fn one_arena() {
    // SAFETY: takes two numbers.
    let accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    debug_assert_eq!(accepted, 1, "glibc knows M_ARENA_MAX");
}

/// Touches the next 64 KiB of the calling thread's stack, so that no heartbeat waits for a page.
#[inline(never)]
pub fn prefault_stack() {
    let mut pages = [0_u8; 64 << 10];
    for page in pages.iter_mut().step_by(4096) {
        *page = 1;
    }
    std::hint::black_box(&pages);
}

/// A thread that panics ends the process at once, after the message: a half-alive node is worse than a
/// dead one. `report` gets the message first.
pub fn abort_on_panic(report: fn(&str)) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let text = format!("thread '{}' panicked: {panic}", thread.name().unwrap_or("?"));
        eprintln!("{text}");
        report(&text);
        std::process::abort();
    }));
}

/// The host's name, cut at the first dot.
///
/// # Errors
/// None known.
pub fn host_name() -> io::Result<String> {
    let name = nix::unistd::gethostname()?;
    let name = name.to_string_lossy();
    Ok(name.split('.').next().unwrap_or_default().to_owned())
}

/// 64 random bits from the kernel.
///
/// # Errors
/// None known.
pub fn random_u64() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is 8 bytes long. Up to 256 bytes come at once or not at all.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if length == 8 { Ok(u64::from_ne_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_is_not_inherited_by_children() {
        let thread = std::thread::spawn(|| {
            if let Err(error) = realtime(1) {
                eprintln!("skipped: SCHED_FIFO is not permitted here: {error}");
                return;
            }
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", "awk '{ exit $(NF - 11) }' /proc/self/stat"])
                .status()
                .expect("sh runs");
            // Field 41 of 52 in /proc/PID/stat is the policy: 0 is SCHED_OTHER.
            assert_eq!(status.code(), Some(0));
        });
        thread.join().expect("no assertion failed");
    }

    #[test]
    fn the_other_knobs_turn() {
        exact_timers().expect("timer slack");
        prefault_stack();
        assert_ne!(random_u64().expect("random"), random_u64().expect("random"));
        assert!(!host_name().expect("a name").contains('.'));
    }
}
