//! Planned moves: desired holder ≠ present holder, both alive; and the office itself.

use super::*;

/// Before a node is offered the office once more; twice as long each time.
const HEIR_PAUSE: Duration = Duration::from_secs(30);

impl Controller {
    /// M1: while another lineage is heard nothing moves by itself.
    pub(in crate::controller) fn merging(&mut self, now: Instant) -> bool {
        let merging = self.hears_foreign(now);
        if merging {
            self.look_again(self.calm_at());
        }
        merging
    }

    /// Another lineage was heard lately: its members may have what the state gives to this node.
    pub(in crate::controller) fn hears_foreign(&self, now: Instant) -> bool {
        self.boot.foreign_heard > Instant::ZERO && now < self.calm_at()
    }

    fn calm_at(&self) -> Instant {
        self.boot.foreign_heard + self.timing.promise * 2
    }

    /// Planned moves: desired holder ≠ present holder, both alive (H).
    pub(in crate::controller) fn plan_moves(
        &mut self,
        now: Instant,
        next: &mut State,
        conditions: &mut Conditions,
    ) {
        let mut loads = self.loads(next);
        let mut order: Vec<ServiceId> = next.table.iter().map(|slot| slot.service).collect();
        placement_order(&self.config, &mut order);
        for service in order {
            let Some(at) = next.table.iter().position(|slot| slot.service == service) else { continue };
            let slot = next.table[at];
            let (Phase::Held, Some(holder)) = (slot.phase, slot.holder) else { continue };
            let Some((to, pinned, why)) = self.wanted_move(now, next, &slot, holder, &loads) else {
                continue;
            };
            loads.remove(&self.config, service, holder);
            loads.add(&self.config, service, to);
            conditions.events.push(Event::MoveBegan { service, from: holder, to, why });
            next.table[at] = Slot { phase: Phase::Prepare { to }, pinned, ..slot };
        }
        if next.table.iter().all(|slot| slot.phase == Phase::Held || slot.phase == Phase::Failed) {
            self.plan_balance(now, next, conditions);
        }
    }

    pub(in crate::controller) fn wanted_move(
        &mut self,
        now: Instant,
        next: &State,
        slot: &Slot,
        holder: NodeId,
        loads: &Loads,
    ) -> Option<(NodeId, bool, Why)> {
        let service = slot.service;
        self.config.service(service)?;
        // Only who has the address can hand it over; who still looks, or is blocked, comes to it later.
        if !self.says_it_holds(service, holder) {
            return None;
        }
        let wish = self.office.as_ref().and_then(|office| office.notes.moves.get(&service)).copied();
        if let Some((to, pinned)) = wish
            && to != holder
            && self.may_hold(next, to, service)
        {
            return Some((to, pinned, Why::Operator));
        }
        let member = next.member(holder)?;
        let drained = if member.leaving {
            Some(Why::Leaving)
        } else if member.standby {
            Some(Why::Standby)
        } else if !self.external_of(holder) {
            Some(Why::ExternalLink)
        } else {
            None
        };
        if let Some(why) = drained {
            let ground = self.ground(next);
            let candidates = ground.candidates(service, Some(holder));
            return ground.best_of(service, &candidates, loads).map(|to| (to, false, why));
        }
        if let Some(to) = self.better_place(now, next, slot, holder, loads) {
            let why = if self.is_cut_off(holder) { Why::ExternalLink } else { Why::CheckFailed };
            return Some((to, false, why));
        }
        if self.merging(now) || next.frozen || slot.pinned || self.config.cluster.failback == Failback::Manual
        {
            return None;
        }
        let own_home = home(&self.config, service)?;
        let good = self.may_hold(next, own_home, service) && !self.is_unfit(own_home, service);
        if own_home == holder || !good || self.damped_for(own_home, service).is_some() {
            return None;
        }
        let office = self.office.as_mut()?;
        let since = office.notes.fit_since.get(&own_home).copied()?;
        let due = since + self.config.cluster.failback_delay;
        if now >= due {
            return Some((own_home, false, Why::Failback));
        }
        office.notes.look_again(due);
        None
    }

    /// P4: after a node has come back, loads differ by at most one service's weight.
    pub(in crate::controller) fn plan_balance(
        &mut self,
        now: Instant,
        next: &mut State,
        conditions: &mut Conditions,
    ) {
        let delay = self.config.cluster.failback_delay;
        if self.merging(now) || next.frozen || self.config.cluster.failback == Failback::Manual {
            return;
        }
        let Some(office) = &self.office else { return };
        let settled = office
            .notes
            .fit_since
            .iter()
            .filter(|(node, _)| next.member(**node).is_some())
            .map(|(_, since)| *since + delay)
            .max();
        let Some(settled) = settled else { return };
        // Who comes in with this very version has not been seen fit yet, and waits like the others.
        let fit = |id: &NodeId| office.notes.fit_since.contains_key(id);
        let nodes: Vec<NodeId> = next.members.iter().map(|member| member.id).filter(fit).collect();
        if now < settled {
            self.look_again(settled);
            return;
        }
        let measured = self.loads(next);
        let best = imbalance(next, &self.config, &nodes, |service, node| {
            self.may_hold(next, node, service)
                && !self.is_unfit(node, service)
                && self.damped_for(node, service).is_none()
                && self.is_worth_it(next, &measured, service, node)
        });
        if let Some((service, to)) = best
            && let Some(at) = next.table.iter().position(|slot| slot.service == service)
            && let Some(from) = next.table[at].holder
            && self.says_it_holds(service, from)
        {
            conditions.events.push(Event::MoveBegan { service, from, to, why: Why::Balance });
            next.table[at].phase = Phase::Prepare { to };
        }
    }

    /// Loads that are measured change all the time, and nothing moves for that: only who has nothing gets something,
    /// from who keeps something and has more to do.
    fn is_worth_it(&self, next: &State, loads: &Loads, service: ServiceId, to: NodeId) -> bool {
        let Some(from) = next.slot(service).and_then(|slot| slot.holder) else { return false };
        self.config.cluster.load == LoadSource::Services
            || (loads.is_empty(to)
                && !loads.is_alone(&self.config, service, from)
                && loads.after(&self.config, service, to) < loads.relative(&self.config, from))
    }

    /// The living node of highest priority is the controller: once one with more has been fit for
    /// `failback_delay` and nothing is under way, it gets the office.
    pub(in crate::controller) fn maybe_resign(&mut self, now: Instant) {
        let Some(state) = &self.committed else { return };
        let Some(office) = &self.office else { return };
        let (epoch, p) = (state.epoch, self.timing.p);
        let quiet = state.table.iter().all(|slot| slot.phase == Phase::Held || slot.phase == Phase::Failed);
        let mine = self.priority(self.me);
        let above = state
            .members
            .iter()
            .filter(|member| !member.leaving && self.is_calm(member.id) && self.priority(member.id) > mine)
            .map(|member| member.id);
        let due = |heir: NodeId| {
            // Standby nodes lead as well; `fit_since` knows those that do not take services by their joining.
            let since = office.notes.fit_since.get(&heir).copied().unwrap_or(office.won_at);
            let due = since.max(office.won_at) + self.config.cluster.failback_delay;
            // It was offered the office and did not come to lead: no majority hears it directly. Not soon again.
            let refused = self.offered.get(&heir).map(|&(at, times)| at + HEIR_PAUSE * (1 << times.min(6)));
            // Who comes into a cold start does not know who has not yet come.
            due.max(refused.unwrap_or(Instant::ZERO)).max(self.cold_until())
        };
        let Some(first) = above.clone().map(due).min().filter(|_| quiet && !state.frozen) else { return };
        // Who died a moment ago is not suspected yet, and an office that is offered to it is nobody's for long: it goes to
        // one that has answered the newest beat, a moment after all of them could.
        let asked = office.newest_beat();
        let look_at = match () {
            () if now < first => first,
            () if now < asked + p => asked + p,
            () => office.next_beat + p,
        };
        let heir = above
            .filter(|&heir| office.has_acknowledged(heir, asked) && office.report_at(heir, epoch).is_some())
            .max_by_key(|&heir| self.priority(heir))
            .filter(|&heir| now >= due(heir) && (asked + p..=asked + p * 2).contains(&now));
        let Some(heir) = heir else { return self.look_again(look_at) };
        let until = office.root_end.min(now + self.timing.x);
        let times = self.offered.get(&heir).map_or(0, |&(_, times)| times + 1);
        self.offered.insert(heir, (now, times));
        self.tell_all(Packet::Resign { to: heir });
        self.leave_office(now, until);
        if let Some(following) = &mut self.following {
            following.heir = Some(heir);
        }
        self.promise.release(now);
    }
}
