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

/// Whatever ends this process from now on leaves no image of its memory (what it starts is not concerned): that takes
/// hundreds of milliseconds, in which nobody hears that it is dead and its kernel answers for its addresses, and the
/// cluster's key would be in it.
///
/// # Errors
/// None known.
pub fn no_core() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// A thread that panics ends the process at once, after the message: a half-alive node is worse than a dead one. `report`
/// gets the message first, in one line, and must not wait for anything: all other threads live on meanwhile.
///
/// It ends by SIGABRT, which only a fault of its own does; a SIGKILL could be anybody's. Without a core, see `no_core`.
pub fn abort_on_panic(report: impl Fn(&str) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        let why = panic.payload_as_str().unwrap_or("no message");
        report(&format!("thread '{}' panicked at {place}: {why}", thread.name().unwrap_or("?")));
        // Where it was not done at the start.
        let _ = no_core();
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
    use crate::os::clock;
    use std::time::Duration;

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

    const DEED: &str = "DIEHARD_TEST_DEED";

    /// Not a test: the process that the next one starts and looks at.
    #[test]
    fn dies_if_it_is_told_to() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let Ok(deed) = std::env::var(DEED) else { return };
        let (_, most) = getrlimit(Resource::RLIMIT_CORE).expect("a limit");
        setrlimit(Resource::RLIMIT_CORE, most, most).expect("as far as it goes");
        if deed == "abort" {
            no_core().expect("permitted");
            std::process::abort();
        }
        abort_on_panic(|text| {
            let _ = crate::os::stderr::offer(text.as_bytes());
        });
        let doomed = std::thread::Builder::new().name("doomed".to_owned());
        let _ = doomed.spawn(|| panic!("as told")).expect("a thread").join();
        // Whoever hears of the panic as an error of `join` lives on.
    }

    fn child(deed: &str, stderr: std::os::fd::OwnedFd) -> std::process::ExitStatus {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "os::sched::tests::dies_if_it_is_told_to", "--nocapture"])
            .env(DEED, deed)
            .current_dir(std::env::temp_dir())
            .stdout(std::process::Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("it runs");
        let patience = clock::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = child.try_wait().expect("ours") {
                return status;
            }
            if clock::now() >= patience {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it waits for a pipe that nobody reads");
            }
            clock::sleep_until(clock::now() + Duration::from_millis(5));
        }
    }

    #[test]
    fn a_panic_ends_the_process_whoever_reads_its_message() {
        use std::io::Read;
        use std::os::unix::process::ExitStatusExt;
        for deed in ["panic", "abort"] {
            let (reader, writer) = nix::unistd::pipe().expect("descriptors");
            let keep = writer.try_clone().expect("a descriptor");
            if deed == "panic" {
                // Full to the last byte; then it blocks whoever writes, as a pipe does.
                use nix::fcntl::{FcntlArg, OFlag, fcntl};
                fcntl(&keep, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("set");
                for length in [4_096, 1] {
                    while nix::unistd::write(&keep, &[b'.'; 4_096][..length]).is_ok() {}
                }
                fcntl(&keep, FcntlArg::F_SETFL(OFlag::empty())).expect("set");
            }
            let status = child(deed, writer);
            assert_eq!(status.signal(), Some(libc::SIGABRT), "{deed}: {status}");
            assert!(!status.core_dumped(), "{deed}: {status}");
            drop((reader, keep));
        }
        let (reader, writer) = nix::unistd::pipe().expect("descriptors");
        assert_eq!(child("panic", writer).signal(), Some(libc::SIGABRT));
        let mut said = String::new();
        std::fs::File::from(reader).read_to_string(&mut said).expect("read");
        assert!(said.starts_with("thread 'doomed' panicked at src/os/sched.rs:"), "{said}");
        assert!(said.ends_with(": as told"), "{said}");
        // In a file what was said stays where it is, whoever writes next by the same descriptor.
        let path = std::env::temp_dir().join(format!("diehard-panic-{}", std::process::id()));
        let mut file = std::fs::File::create(&path).expect("made");
        let copy = file.try_clone().expect("a descriptor");
        assert_eq!(child("panic", copy.into()).signal(), Some(libc::SIGABRT));
        std::io::Write::write_all(&mut file, b"|after").expect("written");
        let said = std::fs::read_to_string(&path).expect("read");
        std::fs::remove_file(&path).expect("ours");
        assert!(said.starts_with("thread 'doomed'") && said.ends_with(": as told|after"), "{said}");
    }
}
