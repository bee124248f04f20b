//! J, M: who is a member, under which flags and times, in which lineage.

use super::*;

impl Controller {
    /// J: who booted comes in, who is down or has left goes out; not with services still in its name.
    pub(in crate::controller) fn plan_members(
        &mut self,
        now: Instant,
        next: &mut State,
        conditions: &mut Conditions,
    ) {
        let fresh = self.timing.t * 3;
        let joining: Vec<(NodeId, Incarnation, bool)> = self
            .peers
            .iter()
            .filter_map(|(&id, peer)| {
                let (at, boot) = peer.boot.as_ref()?;
                let known = next.member(id).map(|member| member.incarnation);
                let new = known.is_none_or(|known| known < peer.incarnation);
                let left = peer.left.is_some_and(|left| left >= peer.incarnation);
                (new && !left && boot.may_vote && now.since(*at) <= fresh).then_some((
                    id,
                    peer.incarnation,
                    boot.standby,
                ))
            })
            .collect();
        for (id, incarnation, standby) in joining {
            // The state must fit one datagram: 64 members (protocol.md, size).
            let known = next.members.iter().position(|member| member.id == id);
            let member = Member { id, incarnation, standby, leaving: false };
            match known {
                Some(at) => next.members[at] = Member { standby: next.members[at].standby, ..member },
                None if next.members.len() < 64 => next.members.push(member),
                None => {}
            }
        }
        next.members.sort_by_key(|member| member.id);
        let names = |slot: &Slot, id| {
            slot.holder == Some(id)
                || matches!(slot.phase, Phase::Prepare { to } | Phase::Handover { to } | Phase::Abort { to } if to == id)
        };
        let out: Vec<NodeId> = next
            .members
            .iter()
            .map(|member| member.id)
            .filter(|&id| id != self.me && self.committed_member(id) && self.is_down(id))
            .filter(|&id| !next.table.iter().any(|slot| names(slot, id)))
            .collect();
        for id in out {
            conditions.not_before = conditions.not_before.max(self.free_at(now, id));
            conditions.revoked.insert(id);
            next.members.retain(|member| member.id != id);
        }
        self.plan_leaving(next);
    }

    pub(in crate::controller) fn committed_member(&self, id: NodeId) -> bool {
        self.committed.as_ref().is_some_and(|state| state.member(id).is_some())
    }

    pub(in crate::controller) fn plan_leaving(&self, next: &mut State) {
        let epoch = self.epoch();
        let Some(office) = &self.office else { return };
        for member in &mut next.members {
            let wants = if member.id == self.me {
                self.leaving.is_some()
            } else {
                office.report_at(member.id, epoch).is_some_and(|report| report.leaving)
            };
            member.leaving |= wants;
        }
    }

    /// The file's times. By those before something may be in force for as long as their leases last.
    pub(in crate::controller) fn plan_times(&mut self, next: &mut State) {
        let times = (self.config.cluster.hello_interval, self.probe_divisor(next));
        if (next.hello_interval, next.probe_divisor) != times {
            (next.hello_interval, next.probe_divisor) = times;
            next.longest_interval = next.longest_interval.max(times.0);
            next.coarsest_divisor = next.coarsest_divisor.min(times.1);
        } else if (next.longest_interval, next.coarsest_divisor) != times {
            let (since, lasts) = (self.retimed_at, self.longest.member * 2);
            let (now, Some(office)) = (self.clock, &mut self.office) else { return };
            let over = since.max(office.won_at) + lasts;
            if now >= over {
                (next.longest_interval, next.coarsest_divisor) = times;
            } else {
                office.notes.look_again(over);
            }
        }
    }

    /// Operators' flags, the file's services.
    pub(in crate::controller) fn plan_flags(&mut self, next: &mut State) {
        let config = Arc::clone(&self.config);
        let me = self.me;
        let mine = |(_, local): &(&ServiceId, &serving::Local)| local.may_be_up();
        let own: Vec<ServiceId> = self.services.iter().filter(mine).map(|(&id, _)| id).collect();
        let Some(office) = &mut self.office else { return };
        let notes = &mut office.notes;
        // A wish lasts until a committed state shows it: what is planned may be replaced before.
        for (&node, &standby) in &notes.standby {
            if let Some(member) = next.members.iter_mut().find(|member| member.id == node) {
                member.standby = standby;
            }
        }
        next.frozen = notes.frozen.unwrap_or(next.frozen);
        for slot in &mut next.table {
            slot.pinned &= !notes.unpin.contains(&slot.service);
        }
        let new = |service: &crate::config::Service| {
            let slot = Slot { service: service.id, holder: None, phase: Phase::Held, pinned: false };
            next.slot(service.id).is_none().then_some(slot)
        };
        let new: Vec<Slot> = config.services.iter().filter_map(new).collect();
        next.table.extend(new);
        // A service that is no longer in the file: first nobody holds it, then it goes.
        let epoch = epoch_of(self.committed.as_ref());
        let others: Vec<NodeId> =
            next.members.iter().map(|member| member.id).filter(|&id| id != me).collect();
        let held = |service: ServiceId| {
            let mut reports = others.iter().map(|&id| office.report_at(id, epoch));
            let told = reports.any(|report| report.is_none_or(|report| report.holding.contains(&service)));
            told || own.contains(&service)
        };
        let unheld = |slot: &Slot| {
            config.service(slot.service).is_some() || slot.holder.is_some() || held(slot.service)
        };
        next.table.retain(unheld);
        for slot in &mut next.table {
            if config.service(slot.service).is_none() && slot.phase == Phase::Held {
                slot.holder = None;
            }
        }
        next.table.sort_by_key(|slot| slot.service);
    }

    /// p = T/16 with two members, and where every machine is punctual enough (p ≥ 8 × worst lateness).
    pub(in crate::controller) fn probe_divisor(&self, next: &State) -> u8 {
        if next.members.len() <= 2 {
            return 16;
        }
        match self.config.cluster.probe_interval {
            ProbeInterval::Eighth => 8,
            ProbeInterval::Sixteenth => 16,
            ProbeInterval::Auto => {
                let Some(office) = &self.office else { return next.probe_divisor };
                let others = office.followers.iter().filter(|(id, _)| next.member(**id).is_some());
                let worst = others
                    .filter_map(|(_, follower)| follower.report.as_ref())
                    .map(|(_, report)| Duration::from_micros(u64::from(report.lateness_us)))
                    .chain([self.lateness])
                    .max()
                    .unwrap_or(Duration::ZERO);
                let limit = next.hello_interval / 128;
                // Hysteresis: down only well below the limit, up again only above it.
                if worst > limit {
                    8
                } else if worst * 4 < limit * 3 && !worst.is_zero() {
                    16
                } else {
                    next.probe_divisor
                }
            }
        }
    }

    /// M: a state that less than a majority of the old members can agree on begins a lineage of its own.
    pub(in crate::controller) fn choose_lineage(&mut self, current: &State, next: &mut State) {
        let total = current.members.len();
        let living = current.members.iter().filter(|member| self.is_calm(member.id)).count();
        // More than half again: whoever loses sight of the others once more goes its own way once more, and
        // looks as carefully (Q2; drill arbiter, seed 32).
        if 2 * living > total
            && self.is_arbitrated()
            && let Some(office) = &mut self.office
        {
            office.notes.alone = None;
        }
        if *next == *current || 2 * living > total || !self.knows_minorities() || total == 0 {
            return;
        }
        let known = self.office.as_ref().and_then(|office| office.notes.alone);
        let lineage = match known {
            Some((left, lineage)) if left == current.lineage => lineage,
            // Already alone by an own choice: the same lineage goes on.
            Some((_, lineage)) if lineage == current.lineage => lineage,
            _ => self.nonce(),
        };
        if let Some(office) = &mut self.office {
            office.notes.alone = Some((current.lineage, lineage));
        }
        next.lineage = lineage;
    }
}
