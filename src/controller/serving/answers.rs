//! What answers to a look mean, and how long they count.

use super::look::{AFTER_A_LATCH, Answerer, kernel_grace};
use super::*;

impl Controller {
    /// F1: somebody outside has the address: as the look found out, or by his own word. F2: who takes by force has to hear him
    /// for as long as a dead node's kernel answers, which it may have done into a cut until now.
    pub(in crate::controller) fn latch(&mut self, id: ServiceId, mac: Option<[u8; 6]>) {
        let force = self.config.cluster.on_conflict == OnConflict::Force;
        let life = self.config.cluster.valid_lft;
        let other = self.holder(id).filter(|&holder| holder != self.me);
        let contact = other.map_or(Instant::ZERO, |holder| self.heard(holder));
        if let Some(look) = self.services.get_mut(&id).and_then(|local| local.look.as_mut()) {
            let first = look.answered << (32 - AFTER_A_LATCH) == 0;
            look.answered |= 1;
            look.answerer = match (look.answerer, mac) {
                (Answerer::Nobody, Some(mac)) => Answerer::One(mac),
                (Answerer::One(before), Some(mac)) if mac == before => Answerer::One(mac),
                _ => Answerer::Unclear,
            };
            let from = if force && first { self.clock } else { look.since.max(contact) };
            let until = from + life + kernel_grace(life);
            look.blocked_until = Some(look.blocked_until.unwrap_or(until).max(until));
            let known = self.peers.values_mut().find(|peer| peer.mac.is_some() && peer.mac == mac);
            if let Some(peer) = known {
                peer.answers = true;
            }
        }
    }

    /// Somebody answers before the address is up here, as far as this node knows: it was asked late, or answers late. The
    /// look goes on, unless all that it can still do is done: it was blocked for its time, and takes by force.
    fn retract(&mut self, id: ServiceId) {
        let force = self.config.cluster.on_conflict == OnConflict::Force;
        let deaf = self.planted(Planted::LateAnswersIgnored);
        let Some(local) = self.services.get_mut(&id).filter(|local| local.wanted && !local.present && !deaf)
        else {
            return;
        };
        if let Some(look) = local.rests_on.take_if(|look| !force || look.blocked_until.is_none()) {
            local.wanted = false;
            local.look = Some(look);
        }
    }

    /// What was asked last may not have left: no take that is not up yet rests on that. The looks begin anew when sends work.
    pub(in crate::controller) fn retract_all(&mut self) {
        let coming = self.services.iter().filter(|(_, local)| local.wanted && !local.present);
        let coming: Vec<ServiceId> = coming.map(|(&id, _)| id).collect();
        coming.into_iter().for_each(|id| self.retract(id));
    }

    pub(in crate::controller) fn on_claimed(&mut self, now: Instant, id: ServiceId, mac: [u8; 6]) {
        let duty = self.duty(id);
        let look = self.services.get(&id).and_then(|local| local.look.or(local.rests_on));
        if look.is_some_and(|look| look.beside) && self.holders_mac(id) == Some(mac) {
            return;
        }
        let from_before = self.is_from_before(now, mac);
        if !from_before {
            self.retract(id);
        }
        let look = self.services.get_mut(&id).and_then(|local| local.look.as_mut());
        if let Some(look) =
            look.filter(|look| from_before && look.answerer == Answerer::Nobody && !look.beside)
        {
            return look.begin_anew(now, look.quick);
        }
        self.latch(id, Some(mac));
        let Some(local) = self.services.get_mut(&id) else { return };
        let (present, wanted) = (local.present, local.wanted);
        if let Some(look) = &mut local.look {
            local.stranger = Some(mac);
            // Told when it is this node's to hold, even if the look began before (F2).
            if duty == Duty::Hold && !std::mem::replace(&mut look.told, true) {
                self.event(Event::Blocked { service: id, mac });
            }
            // Who answers a look for a fresh address may have one of the others as well.
            if !wanted {
                return;
            }
        }
        if present && duty == Duty::Hold {
            self.on_rival(now, id, mac);
        }
    }

    /// A node has let go of all that it had, by its own word or its guardian's (J2) or by a new life's first word (J1).
    /// A latch need not wait any more for the kernel that answered, if it was that node's. After the goodbye of a holder
    /// that had it three probes suffice, as if none had been answered. Whoever else was named for the address may never
    /// have had it: the look is a whole one then.
    pub(in crate::controller) fn look_anew(&mut self, now: Instant, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.let_go = now;
        let Some(mac) = peer.mac else { return };
        for id in self.answered_by(mac) {
            let quick = self.holder(id) == Some(node) && self.holder_left(id);
            if let Some(look) = self.services.get_mut(&id).and_then(|local| local.look.as_mut()) {
                look.begin_anew(now, quick);
            }
        }
    }

    /// Whose looks that card has answered, and no other.
    fn answered_by(&self, mac: [u8; 6]) -> Vec<ServiceId> {
        let answered = |local: &Local| local.look.is_some_and(|look| look.answerer == Answerer::One(mac));
        self.services.iter().filter(|(_, local)| answered(local)).map(|(&id, _)| id).collect()
    }

    /// An answer from before that word, heard behind it: they come by different threads. It is taken as if it had
    /// come first. For so long only as that may take: who still answers then has the address again.
    fn is_from_before(&self, now: Instant, mac: [u8; 6]) -> bool {
        let mut peers = self.peers.values();
        peers.any(|peer| {
            peer.mac == Some(mac) && peer.let_go > Instant::ZERO && now.since(peer.let_go) < self.timing.p
        })
    }

    /// That node answered a look of this one, it lives, and has adopted the state that names another holder: it has let go, or
    /// does so at once. The look begins anew, a whole one; if it is answered again at this epoch, it is as blocked as any.
    pub(in crate::controller) fn look_anew_at_the_living(&mut self, now: Instant, header: &Header) {
        let (node, epoch) = (header.from, self.epoch());
        if header.epoch != epoch || header.lineage != self.lineage() {
            return;
        }
        let Some(mac) = self.mac_of(node) else { return };
        let answered = self.answered_by(mac);
        // Asked for each of its packets: not any more when no look is left.
        let mut answers = !answered.is_empty();
        for id in answered {
            let slot = self.committed.as_ref().and_then(|state| state.slot(id));
            let named_no_more =
                slot.is_some_and(|slot| slot.phase == Phase::Held && slot.holder != Some(node));
            let look = self.services.get_mut(&id).and_then(|local| local.look.as_mut());
            if let Some(look) =
                look.filter(|look| named_no_more && !look.beside && look.relieved != Some(epoch))
            {
                look.relieved = Some(epoch);
                look.begin_anew(now, false);
                answers = false;
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.let_go = now;
                }
            }
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.answers = answers;
        }
    }
}
