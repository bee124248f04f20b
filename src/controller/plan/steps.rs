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
            Holder::Lost => {
                conditions.not_before = conditions.not_before.max(self.free_at(now, holder));
                conditions.revoked.insert(holder);
                return self.finish_at(next, slot, to);
            }
            Holder::Declined => return self.finish_at(next, slot, to),
        }
        let (ready, failed) = self.preparation(service, to);
        let waited = self.phase_age(now, slot);
        let limit = self.config.cluster.script_timeout + Duration::from_secs(1);
        self.look_again(now + limit.saturating_sub(waited));
        if failed {
            self.remember_failure(now, to, service);
        }
        if failed || waited >= limit || !self.may_hold(next, to, service) {
            let why = if failed { Why::StartFailed } else { Why::TimedOut };
            conditions.events.push(Event::MoveAborted { service, to, why });
            return Step::Become(back);
        }
        if ready { Step::Become(Slot { phase: Phase::Handover { to }, ..*slot }) } else { Step::Stay }
    }

    /// The holder is gone in the middle of a move: whoever was to have it gets it, if it still can.
    pub(in crate::controller) fn finish_at(&self, next: &State, slot: &Slot, to: NodeId) -> Step {
        if self.may_hold(next, to, slot.service) {
            Step::Become(Slot { holder: Some(to), phase: Phase::Held, ..*slot })
        } else {
            Step::Place
        }
    }

    pub(in crate::controller) fn preparation(&self, service: ServiceId, to: NodeId) -> (bool, bool) {
        let epoch = self.epoch();
        let Some(office) = &self.office else { return (false, false) };
        let told = office.notes.ready.get(&service).filter(|(at, node, _)| *at == epoch && *node == to);
        let report = office.report_at(to, epoch);
        let own = (to == self.me).then(|| self.services.get(&service)).flatten();
        let ready = told.is_some_and(|(.., ok)| *ok)
            || report.is_some_and(|report| report.ready.contains(&service))
            || own.is_some_and(|local| local.is_ready());
        let failed = told.is_some_and(|(.., ok)| !*ok)
            || report.is_some_and(|report| report.failed.contains(&service))
            || own.is_some_and(|local| local.has_declined(epoch));
        (ready, failed)
    }

    pub(in crate::controller) fn phase_age(&self, now: Instant, slot: &Slot) -> Duration {
        let office = self.office.as_ref();
        let since = office.and_then(|office| office.notes.phases.get(&slot.service)).map(|(_, since)| *since);
        now.since(since.unwrap_or(now))
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
            return Step::Become(Slot { holder: Some(to), phase: Phase::Held, ..*slot });
        }
        if self.holder_is(next, to, service) == Holder::Lost {
            // N is dead; O serves no longer than `until`, which is less than the wait for N's lease.
            let wait = self.free_at(now, to).max(now + self.timing.p * 2);
            conditions.not_before = conditions.not_before.max(wait);
            conditions.revoked.insert(to);
            return self.back_or_place(next, slot);
        }
        let limit = self.timing.p * 4;
        let waited = self.phase_age(now, slot);
        self.look_again(now + limit.saturating_sub(waited));
        if waited >= limit {
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
        let own = node == self.me && self.services.get(&service).is_some_and(|local| local.present);
        told || report || own
    }

    pub(in crate::controller) fn back_or_place(&self, next: &State, slot: &Slot) -> Step {
        let holder = slot.holder.filter(|&holder| self.may_hold(next, holder, slot.service));
        match holder {
            Some(_) => Step::Become(Slot { phase: Phase::Held, ..*slot }),
            None => Step::Place,
        }
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
        let epoch = self.epoch();
        let service = slot.service;
        let office = self.office.as_ref();
        let report = office.and_then(|office| office.report_at(to, epoch));
        let released = report.is_some_and(|report| !report.holding.contains(&service))
            || (to == self.me
                && self.services.get(&service).is_none_or(|local| !local.present && !local.wanted))
            || self.planted(Planted::AbortWithoutWaiting);
        let until = now + self.timing.p * 2;
        if let Some(holder) = slot.holder
            && self.holder_is(next, holder, service) == Holder::Lost
        {
            conditions.not_before = conditions.not_before.max(self.free_at(now, holder));
            conditions.revoked.insert(holder);
        }
        if released {
            return self.back_or_place(next, slot);
        }
        if self.holder_is(next, to, service) == Holder::Lost {
            conditions.not_before = conditions.not_before.max(self.free_at(now, to)).max(until);
            conditions.revoked.insert(to);
            return self.back_or_place(next, slot);
        }
        Step::Stay
    }
}
