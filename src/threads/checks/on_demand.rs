//! Runs that people ask for (`diehard check run`): beside the schedule, and of no consequence. A check that is asked three
//! times in a row by somebody in a hurry shall not restart a service; what counts is the schedule alone.

use super::{ALLOWANCE, HANGS, Work};
use crate::control::checks::RunOrder;
use crate::recovery::Finding;
use crate::vocabulary::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs at a time: more people than that do not stand around one node.
const MOST: usize = 8;

/// One run on its way.
pub(super) struct OnDemand {
    number: u64,
    began: Arc<AtomicU64>,
    timeout: Duration,
    order: RunOrder,
    answered: bool,
    written_off: bool,
}

impl Work {
    /// Begins it, or says why not.
    pub(super) fn asked_to_run(&mut self, order: RunOrder) {
        // Who asked may be gone: its answer is dropped.
        let refuse = |order: &RunOrder, why: String| drop(order.answer.try_send(Err(why)));
        let Some(at) = self.subject_named(&order.check) else {
            return refuse(&order, format!("there is no check {}", order.check));
        };
        if self.on_demand.len() >= MOST {
            return refuse(&order, format!("{MOST} checks that were asked for run already: try again"));
        }
        let number = self.next_run;
        self.next_run += 1;
        let job = self.plain_job(number, at);
        let (began, timeout) = (job.began.clone(), job.check.timeout);
        self.on_demand.push(OnDemand { number, began, timeout, order, answered: false, written_off: false });
        self.pool.run(job);
    }

    /// A result that belongs to no scheduled run.
    pub(super) fn answer_on_demand(&mut self, number: u64, finding: Finding, took: Duration) {
        let Some(at) = self.on_demand.iter().position(|run| run.number == number) else { return };
        let run = self.on_demand.swap_remove(at);
        if !run.answered {
            let _ = run.order.answer.try_send(Ok((finding, took)));
        }
    }

    /// Who hangs is answered for, and replaced.
    pub(super) fn look_after_on_demand(&mut self, now: Instant) {
        for run in &mut self.on_demand {
            let began = run.began.load(Ordering::SeqCst);
            if began == 0 {
                continue;
            }
            let late = Instant::from_nanos(began) + run.timeout + ALLOWANCE;
            if !run.answered && now >= late {
                run.answered = true;
                let took = now.since(Instant::from_nanos(began));
                let _ = run.order.answer.try_send(Ok((super::kinds::no_answer(run.timeout), took)));
            }
            if run.answered && !run.written_off && now >= late + HANGS {
                run.written_off = true;
                self.pool.write_off(run.number);
            }
        }
        // A worker that was written off may never come back.
        self.on_demand.retain(|run| !run.written_off);
    }
}
