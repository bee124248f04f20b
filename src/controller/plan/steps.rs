//! H: the steps of a move under way, each a version of its own.

use super::*;

impl Controller {
    /// H1.
    pub(in crate::controller) fn plan_prepare(
        &mut self,
        now: Instant,
        next: &State,
        slot: &Slot,
        to: NodeId,
        conditions: &mut Conditions,
    ) -> Step {
        let service = slot.service;
        let Some(holder) = slot.holder else { return Step::Place };
        let back = Slot { phase: Phase::Held, ..*slot };
        match self.holder_is(next, holder, service) {
            Holder::Fine => {}
            Holder::Lost | Holder::Declined => {
                let step = self.finish_at(next, slot, to);
                if let Step::Become(_) = step {
                    let why = self.why_placed(next, slot);
                    let (from, to) = (Some(holder), Some(to));
                    conditions.events.push(Event::Assigned { service, from, to, why });
                }
                return step;
            }
        }
        let (ready, failed) = self.preparation(now, service, to);
        let overdue = self.is_overdue(now, slot, self.config.cluster.script_timeout + Duration::from_secs(1));
        if failed {
            self.remember_failure(now, to, service);
        }
        if failed || overdue || !self.may_hold(next, to, service) {
            if overdue {
                self.hold_against(now, to, service);
            }
            let why = if failed { Why::StartFailed } else { Why::TimedOut };
            conditions.events.push(Event::MoveAborted { service, to, why });
            return Step::Become(back);
        }
        // The one who gave it to the present holder may not know yet that it was taken: never three at once.
        let given = self.given_until(service).unwrap_or(now);
        self.look_again(given);
        if ready && now >= given {
            Step::Become(Slot { phase: Phase::Handover { to }, ..*slot })
        } else {
            Step::Stay
        }
    }

    /// It did not come to an end there. The third time in a row that node is no target of moves for a while: each costs the
    /// service its holder for a moment.
    pub(in crate::controller) fn hold_against(&mut self, now: Instant, node: NodeId, service: ServiceId) {
        let half_life = self.config.cluster.damping;
        if let Some(office) = &mut self.office {
            office.notes.damping.charge(now, (node, Some(service)), half_life);
        }
    }

    /// The holder is gone in the middle of a move: whoever was to have it gets it, if it still can.
    pub(in crate::controller) fn finish_at(&self, next: &State, slot: &Slot, to: NodeId) -> Step {
        if self.may_hold(next, to, slot.service) {
            Step::Become(Slot { holder: Some(to), phase: Phase::Held, ..*slot })
        } else {
            Step::Place
        }
    }

    pub(in crate::controller) fn preparation(
        &self,
        now: Instant,
        service: ServiceId,
        to: NodeId,
    ) -> (bool, bool) {
        let epoch = self.epoch();
        let Some(office) = &self.office else { return (false, false) };
        let told = office.notes.ready.get(&service).filter(|(at, node, _)| *at == epoch && *node == to);
        let report = office.report_at(to, epoch);
        let own = (to == self.me).then(|| self.services.get(&service)).flatten();
        let ready = told.is_some_and(|(.., ok)| *ok)
            || report.is_some_and(|report| report.ready.contains(&service))
            || to == self.me && self.is_ready(now, service);
        let failed = told.is_some_and(|(.., ok)| !*ok)
            || report.is_some_and(|report| report.failed.contains(&service))
            || own.is_some_and(|local| local.has_declined(epoch));
        (ready, failed)
    }

    /// The service has been in its phase for `limit`; if not yet, the plan is made again then.
    fn is_overdue(&mut self, now: Instant, slot: &Slot, limit: Duration) -> bool {
        let office = self.office.as_ref();
        let since = office.and_then(|office| office.notes.phases.get(&slot.service)).map(|(_, since)| *since);
        let waited = now.since(since.unwrap_or(now));
        self.look_again(now + limit.saturating_sub(waited));
        waited >= limit
    }

    /// H3, H5, and the time limit that leads to H4.
    pub(in crate::controller) fn plan_handover(
        &mut self,
        now: Instant,
        next: &State,
        slot: &Slot,
        to: NodeId,
        conditions: &mut Conditions,
    ) -> Step {
        let service = slot.service;
        if self.says_it_holds(service, to) {
            conditions.events.push(Event::MoveDone { service, to });
            let given = now + self.overlap();
            if let Some(office) = &mut self.office {
                office.notes.given.insert(service, given);
            }
            return Step::Become(Slot { holder: Some(to), phase: Phase::Held, ..*slot });
        }
        if self.holder_is(next, to, service) == Holder::Lost {
            // N is dead; O serves no longer than `until`, which is less than the wait for N's lease.
            let back = self.back_or_place(next, slot);
            if !matches!(back, Step::Stay) {
                conditions.not_before = conditions.not_before.max(now + self.timing.p * 2);
                return back;
            }
        }
        if self.is_overdue(now, slot, self.timing.p * 4) {
            self.hold_against(now, to, service);
            conditions.events.push(Event::MoveAborted { service, to, why: Why::TimedOut });
            return Step::Become(Slot { phase: Phase::Abort { to }, ..*slot });
        }
        Step::Stay
    }

    pub(in crate::controller) fn says_it_holds(&self, service: ServiceId, node: NodeId) -> bool {
        let epoch = self.epoch();
        let Some(office) = &self.office else { return false };
        let told = office.notes.taken.get(&service).is_some_and(|(at, by)| *at == epoch && *by == node);
        let report = office.report_at(node, epoch).is_some_and(|report| report.holding.contains(&service));
        let own =
            node == self.me && self.services.get(&service).is_some_and(|local| local.wanted && local.present);
        told || report || own
    }

    /// The move has failed: the service stays where it was, or goes to a third; but not away from who may
    /// still have it and is only suspected, or unfit: that one is heard again, or lost.
    pub(in crate::controller) fn back_or_place(&self, next: &State, slot: &Slot) -> Step {
        let Some(holder) = slot.holder else { return Step::Place };
        if self.may_hold(next, holder, slot.service) {
            return Step::Become(Slot { phase: Phase::Held, ..*slot });
        }
        let lost = self.holder_is(next, holder, slot.service) == Holder::Lost;
        if lost || self.has_released(slot, holder) { Step::Place } else { Step::Stay }
    }

    /// H4: only after N acknowledged the abort, or its lease ran out.
    pub(in crate::controller) fn plan_abort(
        &mut self,
        now: Instant,
        next: &State,
        slot: &Slot,
        to: NodeId,
        conditions: &mut Conditions,
    ) -> Step {
        if !self.has_released(slot, to) && !self.planted(Planted::AbortWithoutWaiting) {
            if self.holder_is(next, to, slot.service) != Holder::Lost {
                return Step::Stay;
            }
            conditions.not_before = conditions.not_before.max(now + self.timing.p * 2);
        }
        self.back_or_place(next, slot)
    }
}
