//! D3, D4, D5: SUSPECT to the others, their answers, and what follows from an answer or from none.

use super::*;
use std::cmp::Reverse;

/// More than so many are asked by one broadcast.
const MOST_ASKED: usize = 8;

/// D3: the controller and two more.
const OBSERVERS: usize = 3;

impl Controller {
    /// To all at first; then to those who have not answered or can still be witnesses: the observers and the
    /// suspect's neighbours. Where only the path is at fault the observers alone are asked: no storm.
    pub(in crate::controller) fn spread_suspicion(&mut self, now: Instant, node: NodeId, packet: Packet) {
        let Some(suspicion) = self.suspicions.get_mut(&node) else { return };
        let first = suspicion.asked.is_none();
        suspicion.asked.get_or_insert(now);
        let suspicion = &self.suspicions[&node];
        let path_fault = self.peers.get(&node).is_some_and(|peer| peer.path_fault);
        let asked = if path_fault && suspicion.probes <= 4 {
            self.observers(node)
        } else if first {
            return self.tell_all(packet);
        } else {
            let mut asked = self.observers(node);
            let state = self.committed.as_ref();
            let neighbours = state.map(|state| [state.left_of(node), state.right_of(node)]);
            asked.extend(neighbours.into_iter().flatten().flatten());
            let absent = |member: &NodeId| {
                !suspicion.present.contains(member) && !self.suspicions.contains_key(member)
            };
            asked.extend(self.members().filter(absent));
            asked
        };
        let asked: BTreeSet<NodeId> = asked.into_iter().filter(|&other| other != node).collect();
        if asked.len() > MOST_ASKED {
            return self.tell_all(packet);
        }
        for other in asked {
            self.tell(other, packet.clone());
        }
    }

    /// Controller and the next two in priority, without the suspect (D3).
    pub(in crate::controller) fn observers(&self, suspect: NodeId) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.members().filter(|&node| node != suspect).collect();
        nodes.sort_by_cached_key(|&node| self.place_among_observers(node));
        nodes.truncate(OBSERVERS);
        nodes
    }

    /// The lowest are asked first.
    fn place_among_observers(&self, node: NodeId) -> (Reverse<(bool, u16)>, NodeId) {
        (Reverse((Some(node) == self.controller(), self.priority(node))), node)
    }

    /// Is this node one of them? Asked for each word about a suspect, so without putting all members in order.
    pub(in crate::controller) fn is_observer(&self, suspect: NodeId) -> bool {
        let me = self.me;
        if me == suspect || !self.members().any(|node| node == me) {
            return false;
        }
        let mine = self.place_among_observers(me);
        let before =
            self.members().filter(|&node| node != suspect && self.place_among_observers(node) < mine);
        before.take(OBSERVERS).count() < OBSERVERS
    }

    /// D4: absent from the roll call for p ⇒ suspect as well: several that died together are found in one
    /// round. Absence alone is never a verdict.
    pub(in crate::controller) fn roll_call_absent(&mut self, now: Instant, node: NodeId) {
        let Some(suspicion) = self.suspicions.get(&node) else { return };
        let called = suspicion.asked.is_some_and(|asked| now.since(asked) > self.timing.p);
        if !called || suspicion.probes > 12 {
            return;
        }
        let since = suspicion.since;
        if self.hears_nobody(since) {
            return;
        }
        let absent: Vec<NodeId> = self
            .members()
            .filter(|&other| {
                other != self.me && other != node && self.heard(other) < since && self.is_calm(other)
            })
            .collect();
        for other in absent {
            self.suspect(now, other, Why::RollCallAbsent);
        }
    }

    /// D3, D4: somebody suspects `suspect`.
    pub(in crate::controller) fn on_suspect(
        &mut self,
        now: Instant,
        header: &Header,
        suspect: NodeId,
        life: Incarnation,
        nonce: u64,
    ) {
        if !self.is_member() {
            return;
        }
        if suspect == self.me {
            // The answer itself clears it; to all who ask.
            self.roll_call(now, header.from, suspect, nonce, Duration::ZERO);
            return;
        }
        let known = self.committed.as_ref().and_then(|state| state.member(suspect));
        if known.is_some_and(|member| member.incarnation == life) {
            let news = !self.is_doubtful(suspect);
            self.rumours.insert(suspect, now);
            let observer = self.is_observer(suspect);
            if observer && now.since(self.heard(suspect)) > self.timing.p {
                self.suspect(now, suspect, Why::Witness);
            }
            // Of dozens that are down for good each observer asks again and again.
            if news || now.since(self.serving.looked_for) >= self.timing.p / 2 {
                self.look_for_suspects(now);
            }
        }
        let rank = self.members().position(|node| node == self.me).unwrap_or(0);
        let count = self.members().count().max(1);
        let spread = self.timing.p / 2 * u32::try_from(rank).unwrap_or(0) / u32::try_from(count).unwrap_or(1);
        self.roll_call(now, header.from, suspect, nonce, spread);
    }

    pub(in crate::controller) fn roll_call(
        &mut self,
        now: Instant,
        to: NodeId,
        suspect: NodeId,
        nonce: u64,
        spread: Duration,
    ) {
        // One pending answer to each asker about each suspect: bounded by members².
        self.roll_calls.retain(|call| call.to != to || call.suspect != suspect);
        self.roll_calls.push(PendingRollCall { due: now + spread, to, suspect, nonce });
        self.answer_roll_calls(now);
    }

    pub(in crate::controller) fn answer_roll_calls(&mut self, now: Instant) {
        if self.roll_calls.iter().all(|call| call.due > now) {
            return;
        }
        let (due, later): (Vec<_>, Vec<_>) = self.roll_calls.drain(..).partition(|call| call.due <= now);
        self.roll_calls = later;
        for call in due {
            let heard = self.heard(call.suspect);
            let age = (heard > Instant::ZERO).then(|| now.since(heard));
            let heard_us = age.and_then(|age| u32::try_from(age.as_micros()).ok());
            let answer = Packet::RollCall {
                suspect: call.suspect,
                nonce: call.nonce,
                heard_us: if call.suspect == self.me { Some(0) } else { heard_us },
                vote: None,
                newest: None,
            };
            self.tell(call.to, answer.clone());
            let controller = self.controller();
            // The controller wants to know of witnesses alone: of many answers about a dead node none is.
            let witness = age.is_some_and(|age| age <= self.timing.p * 4);
            if let Some(controller) = controller.filter(|&node| witness && node != call.to && node != self.me)
            {
                self.tell(controller, answer);
            }
        }
    }

    /// D5: a witness's first-hand receipt *after the suspicion began* clears it. «I heard of it» is none.
    pub(in crate::controller) fn on_witness(
        &mut self,
        now: Instant,
        from: NodeId,
        suspect: NodeId,
        heard_us: Option<u32>,
    ) {
        let Some(suspicion) = self.suspicions.get_mut(&suspect) else { return };
        suspicion.present.insert(from);
        let Some(age) = heard_us else { return };
        let heard = now - Duration::from_micros(u64::from(age));
        if from != suspect && heard > suspicion.since {
            let life = suspicion.incarnation;
            self.clear(now, suspect, life, Why::Witness);
            if let Some(peer) = self.peers.get_mut(&suspect)
                && !peer.path_fault
            {
                peer.path_fault = true;
                self.event(Event::PathFault { node: suspect });
            }
        }
    }
}
