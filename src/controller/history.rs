//! What moved lately, and why: for people. The controller writes it with every commit and tells it with STATUS; the
//! others remember what they heard. Nothing is decided by it.

use super::*;
use crate::wire::{Cause, MAX_MOVES, MoveStep, Moved};

/// Steps remembered of each service: the last few moves, each of two.
const STEPS: usize = 12;

/// A step, and when it was heard of.
#[derive(Debug, Clone, Copy)]
struct Known {
    heard: Instant,
    moved: Moved,
}

#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// Oldest first.
    steps: BTreeMap<ServiceId, VecDeque<Known>>,
}

impl History {
    /// Once each; in the order of the versions that decided them.
    fn note(&mut self, now: Instant, moved: Moved) {
        let steps = self.steps.entry(moved.service).or_default();
        if steps.iter().any(|known| known.moved.epoch == moved.epoch) {
            return;
        }
        let at = steps.partition_point(|known| known.moved.epoch < moved.epoch);
        steps.insert(at, Known { heard: now, moved });
        if steps.len() > STEPS {
            steps.pop_front();
        }
    }

    /// The steps of a service, oldest first, as old as they are now.
    pub fn of(&self, now: Instant, service: ServiceId) -> Vec<Moved> {
        self.steps.get(&service).into_iter().flatten().map(|known| known.aged(now)).collect()
    }

    /// The newest of all, newest last.
    fn newest(&self, now: Instant) -> Vec<Moved> {
        let mut all: Vec<Moved> = self.steps.values().flatten().map(|known| known.aged(now)).collect();
        all.sort_by_key(|moved| (moved.epoch, moved.service));
        all.split_off(all.len().saturating_sub(MAX_MOVES))
    }
}

impl Known {
    fn aged(&self, now: Instant) -> Moved {
        let since = u32::try_from(now.since(self.heard).as_millis()).unwrap_or(u32::MAX);
        Moved { ago_ms: self.moved.ago_ms.saturating_add(since), ..self.moved }
    }
}

impl Controller {
    /// The controller committed what made these events.
    pub(super) fn note_moves(&mut self, now: Instant, epoch: Epoch, events: &[Event]) {
        for event in events {
            let (service, from, to, step, cause) = match *event {
                Event::Assigned { service, from, to, why } => {
                    (service, from, to, MoveStep::Assigned, why.cause())
                }
                Event::MoveBegan { service, from, to, why } => {
                    (service, Some(from), Some(to), MoveStep::Began, why.cause())
                }
                Event::MoveDone { service, to } => {
                    (service, None, Some(to), MoveStep::Done, Some(Cause::HandedOver))
                }
                Event::MoveAborted { service, to, why } => {
                    (service, None, Some(to), MoveStep::Aborted, why.cause())
                }
                _ => continue,
            };
            let cause = cause.unwrap_or(Cause::TimedOut);
            self.history.note(now, Moved { service, epoch, from, to, step, cause, ago_ms: 0 });
        }
    }

    /// The controller told what it did lately, and what it thinks of places.
    pub(super) fn hear_standing(&mut self, now: Instant, from: NodeId, status: &Status) {
        if self.controller() != Some(from) || self.office.is_some() {
            return;
        }
        self.told = Some(plan::Told { at: now, remarks: status.remarks.clone() });
        for &moved in &status.moves {
            // A service that is no more leaves nothing behind.
            let known = self.committed.as_ref().is_some_and(|state| state.slot(moved.service).is_some());
            if known {
                self.history.note(now, moved);
            }
        }
        if let Some(state) = &self.committed {
            self.history.steps.retain(|service, _| state.slot(*service).is_some());
        }
    }

    /// For people.
    pub(super) fn moves_known(&self, now: Instant) -> Vec<Moved> {
        self.history.steps.keys().flat_map(|&service| self.history.of(now, service)).collect()
    }

    /// For STATUS.
    pub(super) fn told_moves(&self, now: Instant) -> Vec<Moved> {
        if self.office.is_some() { self.history.newest(now) } else { Vec::new() }
    }
}

impl Why {
    /// As the cause of a move; `None`: it is none.
    pub fn cause(self) -> Option<Cause> {
        Some(match self {
            Why::HolderDown => Cause::HolderDown,
            Why::ColdStart => Cause::ColdStart,
            Why::StartFailed => Cause::StartFailed,
            Why::Tampered => Cause::Tampered,
            Why::ExternalLink => Cause::ExternalLink,
            Why::CheckFailed => Cause::CheckFailed,
            Why::Operator => Cause::Operator,
            Why::Standby => Cause::Standby,
            Why::Leaving => Cause::Leaving,
            Why::Failback => Cause::Failback,
            Why::Balance => Cause::Balance,
            Why::TimedOut => Cause::TimedOut,
            Why::HandedOver => Cause::HandedOver,
            Why::HelloOverdue
            | Why::HelloUnanswered
            | Why::RollCallAbsent
            | Why::FailDown
            | Why::Heard
            | Why::Witness
            | Why::HolderReleased
            | Why::LeaseEnded
            | Why::StateChanged
            | Why::Resigned
            | Why::Reloaded => return None,
        })
    }
}
