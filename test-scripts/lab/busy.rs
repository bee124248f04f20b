//! Processes that do nothing but want the processor. They end by themselves, whatever becomes of the lab.

use crate::namespace::Outcome;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// They run until this is dropped, or their time is over.
pub struct Busy(Vec<Child>);

impl Busy {
    /// So many for each core of the machine, for so long at most.
    pub fn start(each_core: usize, length: Duration) -> Outcome<Busy> {
        let cores = std::thread::available_parallelism().map_err(|error| format!("cores: {error}"))?.get();
        let mut busy = Busy(Vec::new());
        for _ in 0..cores * each_core {
            let child = Command::new("timeout")
                .args([&format!("{:.3}", length.as_secs_f64()), "sh", "-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // A Ctrl-C is for the lab, which ends them.
                .process_group(0)
                .spawn();
            busy.0.push(child.map_err(|error| format!("timeout: {error}"))?);
        }
        Ok(busy)
    }

    /// The process groups that they are in: each of its own.
    pub fn groups(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &self.0 {
            // Its whole group: `timeout` hands a signal on to its shell only once it knows that shell's number. One that
            // has ended by itself is a zombie until `wait`: its number is nobody else's.
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        for child in &mut self.0 {
            // Nothing can be done about it on the way out.
            let _ = child.wait();
        }
    }
}
