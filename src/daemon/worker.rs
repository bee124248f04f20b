//! The worker: the whole daemon, in the process that the guardian forked. Its first thread makes all others
//! (`wiring`), waits for the guardian's orders, and joins them.
//!
//! Ends when it was told to and has left in order, at once when told twice, and in order too when the
//! guardian is dead: unguarded it does not stay.

use super::bond::{Bond, Territory, Word};
use super::wiring::Running;
use super::{Plan, Refusal, reload};
use crate::config::Config;
use crate::controller::Input;
use crate::os::pair::End;
use crate::os::{clock, sched};
use crate::threads::driver::Told;
use crate::threads::keeper::Wish;
use crate::threads::life_signs::LifeSigns;
use crate::threads::log_writer::{self, LogWriter, Sink};
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
    let level = log_writer::level(&plan.config, plan.arguments.verbose);
    let sink = if plan.arguments.foreground { Sink::StandardError } else { Sink::Syslog };
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
    wait(&plan, &mut bond, &running);
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

/// L8: the margin must exceed what the scheduler does.
pub(super) fn may_be_fast(config: &Config) -> Result<(), Refusal> {
    let tried = sched::realtime(1).and_then(|()| sched::ordinary());
    let interval = config.cluster.hello_interval;
    match tried {
        Err(error) if interval < FASTEST_WITHOUT_REALTIME && !config.cluster.force_interval => {
            let text = format!(
                "hello_interval = {} ms needs real-time priority, which this machine refuses ({error}): \
                 take {} ms or more, or force_interval = yes",
                interval.as_millis(),
                FASTEST_WITHOUT_REALTIME.as_millis(),
            );
            Err(Refusal::failure(text))
        }
        _ => Ok(()),
    }
}

/// Until the orderly leave is complete, or its time is over, or somebody insists.
fn wait(plan: &Plan, bond: &mut Bond, running: &Running) {
    let mut leave_until = None;
    loop {
        bond.wait_until(leave_until);
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
            return;
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
                return log::warn!("asked to end again: not waiting for the rest to be handed over");
            }
            (_, Some(until)) if clock::now() >= until => {
                return log::warn!("not everything was handed over in time: ending all the same");
            }
            (_, Some(_)) => {}
        }
    }
}
