//! The worker: the whole daemon, in the process that the guardian forked. Its first thread makes all others
//! (`wiring`), waits for the guardian's orders, and joins them.
//!
//! Ends when it was told to and has left in order, at once when told twice, and in order too when the
//! guardian is dead: unguarded it does not stay. At once, and in no order, when it cannot go on (`Published::doom`).

use super::bond::{Bond, Territory, Word};
use super::wiring::Running;
use super::{Plan, Refusal, reload};
use crate::config::{Cluster, Config};
use crate::controller::Input;
use crate::os::pair::End;
use crate::os::{clock, sched};
use crate::threads::driver::Told;
use crate::threads::keeper::Wish;
use crate::threads::life_signs::LifeSigns;
use crate::threads::log_writer::{self, LogWriter, Sink};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// A heartbeat faster than this needs real-time scheduling (protocol.md, L8).
const FASTEST_WITHOUT_REALTIME: Duration = Duration::from_millis(200);

/// From `fork` to the process's end. `first`: nobody ran before it under this guardian.
pub(super) fn live(mut plan: Plan, signs: LifeSigns, end: End, first: bool) -> ExitCode {
    // For people only: a name that cannot be set is no reason not to run.
    let _ = sched::name_thread(c"diehardd-worker");
    let mut bond = match Bond::new(end) {
        Ok(bond) => bond,
        // The guardian sees the end, and has no better way to hear why.
        Err(_) => return ExitCode::from(super::FAILURE),
    };
    let _ = sched::no_core();
    let level = log_writer::level(&plan.config, plan.arguments.verbose);
    let sink = if plan.arguments.foreground { Sink::StandardError } else { Sink::Syslog };
    let crier = bond.crier().ok();
    log_writer::end_on_panic(sink, move |text| crier.as_ref().is_some_and(|cry| cry(text)));
    let log = match LogWriter::start(sink, level) {
        Ok(log) => log,
        Err(error) => return refused(&bond, &Refusal::failure(format!("cannot log: {error}"))),
    };
    if !first {
        // Reloads since the guardian's start count for this life as well.
        plan.config = reload::again(&plan);
        match super::keys(&plan.config) {
            Ok(keys) => plan.keys = keys,
            Err(why) => log::error!("{why}: going on with the keys of the daemon's start"),
        }
    }
    let running = match born(&plan, signs, &bond) {
        Ok(running) => running,
        Err(refusal) => {
            log::error!("{}", refusal.text);
            log.stop();
            return refused(&bond, &refusal);
        }
    };
    bond.tell(&Word::Ready);
    if let Some(doom) = wait(&plan, &mut bond, &running) {
        // As after a panic: to end its threads takes longer than the guardian needs to clear the card and to say LEAVE.
        bond.tell(&Word::Doomed(doom));
        return ExitCode::from(super::FAILURE);
    }
    running.end();
    log::info!("ended");
    log.stop();
    ExitCode::SUCCESS
}

fn refused(bond: &Bond, refusal: &Refusal) -> ExitCode {
    bond.tell(&Word::Failed(refusal.code, refusal.text.clone()));
    ExitCode::from(refusal.code)
}

/// Everything that can fail.
fn born(plan: &Plan, signs: LifeSigns, bond: &Bond) -> Result<Running, Refusal> {
    if let Err(error) = sched::lock_memory() {
        log::warn!("the heartbeat may wait for memory: cannot lock it: {error}");
    }
    may_be_fast(&plan.config)?;
    bond.tell(&Word::Territory(Territory::of(&plan.config)));
    Running::start(plan, signs, bond.bell()).map_err(Refusal::failure)
}

/// L8: the margin must exceed what the scheduler does. For the start, a reload, and whoever asks whether this node can follow.
pub(super) fn may_be_fast(config: &Config) -> Result<(), Refusal> {
    may_beat(&sched::realtime(1).and_then(|()| sched::ordinary()), &config.cluster).map_err(Refusal::failure)
}

/// `realtime`: what the kernel says to real-time priority.
fn may_beat(realtime: &io::Result<()>, cluster: &Cluster) -> Result<(), String> {
    let interval = cluster.hello_interval;
    match realtime {
        Err(error) if interval < FASTEST_WITHOUT_REALTIME && !cluster.force_interval => Err(format!(
            "hello_interval = {} ms needs real-time priority, which this machine refuses ({error}): \
             take {} ms or more, or force_interval = yes",
            interval.as_millis(),
            FASTEST_WITHOUT_REALTIME.as_millis(),
        )),
        _ => Ok(()),
    }
}

/// Until the orderly leave is complete, or its time is over, or somebody insists. `Some`: until it cannot go on, and why.
fn wait(plan: &Plan, bond: &mut Bond, running: &Running) -> Option<String> {
    let mut leave_until = None;
    loop {
        bond.wait_until(leave_until);
        if let Some(doom) = running.doom() {
            return Some(doom);
        }
        if bond.wants_picture() {
            running.tell(Told::Dump);
        }
        if bond.wants_reload() {
            reload::on_request(plan, bond, running);
        }
        while let Some((wish, reply)) = running.keeping().next_wish() {
            let done = match wish {
                Wish::Reload => reload::reload(plan, bond, running),
                Wish::Keys => reload::keys(bond, running),
            };
            // The keeper may have given up.
            let _ = reply.try_send(done);
        }
        if running.has_left() {
            return None;
        }
        match (bond.wants_end(), leave_until) {
            (0, None) if !bond.is_orphaned() => {}
            (asked, None) => {
                let patience = running.config().cluster.stop_timeout;
                let why = if asked > 0 { "asked to end" } else { "the guardian is dead" };
                log::info!("{why}: leaving in order, at most {} ms", patience.as_millis());
                leave_until = Some(clock::now() + patience);
                running.tell(Told::Happened(Box::new(Input::Stop)));
            }
            (2.., Some(_)) => {
                log::warn!("asked to end again: not waiting for the rest to be handed over");
                return None;
            }
            (_, Some(until)) if clock::now() >= until => {
                log::warn!("not everything was handed over in time: ending all the same");
                return None;
            }
            (_, Some(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_heartbeat_needs_real_time_priority_or_force() {
        let refused = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        for (milliseconds, force_interval, permitted, fine) in [
            (199, false, true, true),
            (199, false, false, false),
            (199, true, true, true),
            (199, true, false, true),
            (200, false, true, true),
            (200, false, false, true),
            (200, true, false, true),
            (20, false, false, false),
        ] {
            let hello_interval = Duration::from_millis(milliseconds);
            let cluster = Cluster { hello_interval, force_interval, ..Cluster::named("test") };
            let judged = may_beat(&if permitted { Ok(()) } else { refused() }, &cluster);
            assert_eq!(
                judged.is_ok(),
                fine,
                "{milliseconds} ms, forced {force_interval}, permitted {permitted}"
            );
            if let Err(why) = judged {
                assert!(why.starts_with(&format!("hello_interval = {milliseconds} ms needs")), "{why}");
                assert!(why.contains("take 200 ms or more, or force_interval = yes"), "{why}");
            }
        }
    }
}
