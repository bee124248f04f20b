//! Scheduling of the measuring threads, so that a busy machine does not look like an outage.

use std::sync::atomic::{AtomicBool, Ordering};

static REFUSED: AtomicBool = AtomicBool::new(false);

/// Asks for SCHED_FIFO for the calling thread, below the daemons' own priority.
pub fn prefer() {
    ask(10);
}

/// Whether some thread did not get it: then figures are worse than what they measure.
pub fn was_refused() -> bool {
    REFUSED.load(Ordering::Relaxed)
}

/// Asks for SCHED_FIFO of this priority; false: refused.
pub fn ask(priority: i32) -> bool {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: plain system call on the calling thread; the parameter block outlives the call.
    let result =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameters) };
    if result != 0 {
        REFUSED.store(true, Ordering::Relaxed);
    }
    result == 0
}
