//! H: this node's part in a planned move, as the old holder and as the new one.

use super::*;

impl Controller {
    pub(in crate::controller) fn tick_handover(&mut self, now: Instant, id: ServiceId) {
        let Some(local) = self.services.get_mut(&id) else { return };
        let Some(handover) = &mut local.handover else { return };
        if now >= handover.next_send && !handover.heard && handover.had {
            handover.next_send = now + HAND_OVER_STEP;
            let (to, nonce) = (handover.to, handover.nonce);
            self.tell(to, Packet::FailBack { service: id, nonce });
        }
    }

    /// H1: start and check, no address yet.
    pub(in crate::controller) fn settle_prepare(&mut self, now: Instant, id: ServiceId) {
        let epoch = self.epoch();
        let Some(local) = self.services.get_mut(&id) else { return };
        local.forget_what_was_declined(epoch);
        local.handover = None;
        local.wanted = false;
        if local.declined.is_some() {
            return;
        }
        match local.script {
            Script::Stopped | Script::Stopping(_) => self.start(now, id),
            Script::Started => {
                self.look_beside_the_holder(now, id);
                self.settle_started(now, id);
            }
            Script::Starting(_) => {}
        }
    }

    /// Started for a planned move, or in need of no start. Not before it is known that nothing is left up of an earlier stay: that
    /// would be taken for the new one, and the move for done (H3). Not while another lineage is heard (M1), which the
    /// controller may not hear itself: the old holder's word, which replaces the look (H3), says nothing about those.
    pub(in crate::controller) fn is_ready(&self, now: Instant, id: ServiceId) -> bool {
        let local = self.services.get(&id).filter(|local| local.script == Script::Started);
        local.is_some_and(|local| !local.may_be_up() && local.declined.is_none())
            && !self.hears_foreign(now)
            && self.knows_addresses(id)
            && self.sees_the_holder_alone(now, id)
    }

    pub(in crate::controller) fn answer_ready(&mut self, id: ServiceId, ok: bool) {
        let epoch = self.epoch();
        let me = self.me;
        if let Some(office) = &mut self.office {
            office.notes.ready(id, epoch, me, ok);
            self.dirty = true;
        } else if let Some(controller) = self.controller() {
            self.tell(controller, Packet::Ready { service: id, ok });
        }
    }

    /// H2: note `until` before the first FAIL_BACK; from then on never beyond it.
    pub(in crate::controller) fn settle_give(&mut self, now: Instant, id: ServiceId, to: NodeId) {
        let nonce = self.nonce();
        let limit = self.timing.p * 2;
        let endless = self.planted(Planted::HandoverWithoutUntil);
        let Some(local) = self.services.get_mut(&id) else { return };
        local.look = None;
        let had = local.present && local.wanted;
        // To somebody else than last time: the abort between the two did not come here. A newer version began it,
        // so it has clocks of its own.
        let known = local.handover.filter(|handover| handover.to == to);
        let handover =
            known.unwrap_or(Handover { to, nonce, until: now + limit, next_send: now, heard: false, had });
        local.handover = Some(handover);
        if now >= handover.until && (handover.heard || !endless) {
            if let Some(handover) = &mut local.handover {
                handover.until = Instant::MAX;
                handover.next_send =
                    if handover.heard || !handover.had { Instant::MAX } else { now + HAND_OVER_STEP };
            }
            if local.wanted {
                local.wanted = false;
                self.event(Event::Released { service: id, why: Why::HandedOver });
            }
        }
        self.tick_handover(now, id);
    }

    /// H3: FAIL_BACK and an own lease; the old holder's word replaces the look.
    pub(in crate::controller) fn settle_receive(&mut self, now: Instant, id: ServiceId) {
        let current = self.lease_is_current(now);
        let external = self.external_ok();
        let p = self.timing.p;
        let epoch = self.epoch();
        let looks_on = self.minorities_may_meet();
        let alone = self.sees_the_holder_alone(now, id);
        let Some(local) = self.services.get_mut(&id) else { return };
        local.handover = None;
        if !looks_on {
            local.look = None;
        }
        if local.wanted {
            if local.present && now.since(local.told) >= p {
                self.tell_taken(now, id);
            }
            return;
        }
        // Who else was seen since it said that it is ready has taken it meanwhile.
        if local.invited == Some(epoch) && current && external && alone {
            self.take(now, id);
        }
    }

    // ── hints and news from others ──────────────────────────────────────────────────────────────────

    /// FAIL_BACK: released to this node (H2). Counts only at exactly the epoch that both have.
    pub(in crate::controller) fn on_fail_back(
        &mut self,
        now: Instant,
        from: NodeId,
        epoch: Epoch,
        id: ServiceId,
    ) {
        self.commit_if_proved(now, epoch);
        if let Duty::Receive { from: holder } = self.duty(id)
            && holder == Some(from)
            && epoch == self.epoch()
            && let Some(local) = self.services.get_mut(&id)
        {
            local.invited = Some(epoch);
            self.stirred = true;
        }
    }

    /// TAKE_OVER or FAILBACK_OK: `from` holds it now.
    pub(in crate::controller) fn on_taken(
        &mut self,
        now: Instant,
        from: NodeId,
        epoch: Epoch,
        id: ServiceId,
    ) {
        let committed = self.epoch();
        if let Some(local) = self.services.get_mut(&id) {
            local.see_taken(from, epoch, committed);
        }
        if epoch < committed {
            return;
        }
        if let Some(office) = &mut self.office {
            office.notes.taken(id, epoch, from);
            self.dirty = true;
        }
        if let Some(handover) = self.services.get_mut(&id).and_then(|local| local.handover.as_mut())
            && handover.to == from
            && !handover.heard
        {
            handover.heard = true;
            self.stirred = true;
            handover.until = handover.until.min(now + HAND_OVER_STEP);
        }
    }
}
