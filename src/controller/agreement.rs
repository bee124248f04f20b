//! S, the member's side: store what the controller proposes, acknowledge, adopt what is committed.

use super::*;
use crate::wire::Header;

impl Controller {
    /// S1, from somebody else: store, then acknowledge, if its author is followed or has the vote.
    pub(super) fn on_proposal(&mut self, now: Instant, header: &Header, state: State) {
        let term = state.epoch.term;
        if term.author != header.from {
            return;
        }
        let concerns = state.member(self.me).is_some_and(|member| member.incarnation == self.incarnation);
        // What an earlier life knew to be committed binds this one as well.
        let known = self.epoch().max(epoch_of(self.remembered.as_ref()));
        if !self.is_newer(state.epoch, known) {
            if state.epoch < known {
                self.nack(now, header.from, known.term, None);
            }
            return;
        }
        let bound = now < self.promise.until && self.promise.term > term;
        let joining = self.committed.is_none() && concerns;
        // A voter stores what its candidate proposes, even if that state is without it: it was a member of
        // the one before, in this life or an earlier one, and counts there.
        let voter = self.promise.term == term && now < self.promise.until;
        let ours = self.is_member() || joining || voter;
        if bound || !ours {
            let newest = self.promise.term;
            return self.nack(now, header.from, newest, None);
        }
        if self.has_outvoted(term) {
            let newest = self.voted;
            return self.nack(now, header.from, newest, None);
        }
        // What is stored here may have a majority: nothing older is stored after it. Its author's successor,
        // or this controller in a newer term, takes it up (E3).
        let stored = epoch_of(self.proposed.as_ref());
        if self.is_newer(stored, state.epoch) {
            if stored.term > term {
                self.nack(now, header.from, stored.term, None);
            }
            return;
        }
        // Whoever stores it is bound by it as by a vote: an office or a candidacy of an older term would put its own
        // proposal in the place of this one, which may be committed already.
        if let Some(until) = self.office.as_ref().filter(|office| office.term < term).map(|it| it.root_end) {
            self.leave_office(now, until);
        }
        if self.candidacy.as_ref().is_some_and(|candidacy| candidacy.term < term) {
            self.candidacy = None;
        }
        self.has_voted(term);
        self.keep_proposal(now, state);
    }

    /// A voter stores nothing of an older term, however long ago it voted: who was elected may have proposed something
    /// that others have stored, and E3 would take that up in the place of what was committed since.
    pub(super) fn has_outvoted(&self, term: Term) -> bool {
        self.voted > term && !self.planted(Planted::AcknowledgeWhatIsOutvoted)
    }

    fn is_newer(&self, a: Epoch, b: Epoch) -> bool {
        if self.planted(Planted::OrderByVersionAlone) { a.version > b.version } else { a > b }
    }

    /// Stores a proposal; acknowledges at once, or after fsync where the membership or T changes. So no disk
    /// stands in the way of a service: tables change without it.
    pub(super) fn keep_proposal(&mut self, now: Instant, state: State) {
        let epoch = state.epoch;
        if self.planted(Planted::AcknowledgeWithoutStoring) {
            return self.acknowledge(epoch, crate::wire::digest(&state));
        }
        let again = self.proposed.as_ref().is_some_and(|proposed| proposed.epoch == epoch);
        if again && self.storing.is_some_and(|(_, storing)| storing == epoch) {
            return;
        }
        let same_basis = self.committed.as_ref().is_some_and(|old| {
            old.members == state.members && old.longest_interval >= state.longest_interval
        });
        let stored_before = again && self.unstored != Some(epoch);
        self.proposed = Some(state);
        if same_basis || stored_before {
            self.acknowledge_stored(epoch);
        } else {
            let token = self.store();
            self.storing = Some((token, epoch));
        }
        self.look_at_proposal(now);
    }

    fn acknowledge_stored(&mut self, epoch: Epoch) {
        let digest = self.proposed.as_ref().filter(|state| state.epoch == epoch).map(crate::wire::digest);
        if let Some(digest) = digest {
            self.acknowledge(epoch, digest);
        }
    }

    fn acknowledge(&mut self, epoch: Epoch, digest: u64) {
        let author = epoch.term.author;
        if author == self.me {
            self.own_ack(epoch);
        } else {
            self.tell(author, Packet::StateAck { epoch, digest });
        }
    }

    pub(super) fn on_stored(&mut self, _now: Instant, token: u64, ok: bool) {
        if !ok {
            self.event(Event::StoreFailed);
        }
        let Some((waiting, epoch)) = self.storing else { return };
        if token < waiting {
            return;
        }
        self.storing = None;
        // Not stored, not acknowledged: the proposal comes again and is tried again. A vote tells it all the same: what was
        // stored before it, and acknowledged, is in it.
        self.unstored = (!ok).then_some(epoch);
        if ok {
            self.acknowledge_stored(epoch);
        }
    }

    /// S2's second half, and anti-entropy.
    pub(super) fn on_committed(&mut self, now: Instant, header: &Header, state: State) {
        let mine = state.member(self.me).is_some_and(|member| member.incarnation == self.incarnation);
        if mine {
            // Another lineage's state counts only for who follows its author, or nobody any more (M1).
            let free = now >= self.promise.until && now >= self.serving_until();
            let replaced = self.lineage() == 0
                || state.lineage == self.lineage()
                || self.promise.term == state.epoch.term
                || free;
            if self.is_newer(state.epoch, self.epoch()) && replaced {
                self.adopt(now, state);
            }
            return;
        }
        // A state without this life: out of the cluster, if it is later than what this node knows (J3).
        if self.is_member() && state.lineage == self.lineage() && state.epoch > self.epoch() {
            let known = state.member(self.me).map(|member| member.incarnation);
            self.remembered = Some(state);
            self.rejoin(now, known);
        } else if !self.is_member() {
            self.boot.controller_seen = Some((now, header.from));
        }
    }

    /// An authentic packet from somebody who has committed exactly what is stored here proves the commit.
    pub(super) fn commit_if_proved(&mut self, now: Instant, epoch: Epoch) {
        let proved = self.proposed.as_ref().is_some_and(|proposed| proposed.epoch == epoch);
        if !proved || self.storing.is_some() {
            return;
        }
        let Some(state) = self.proposed.take() else { return };
        if state.member(self.me).is_some_and(|member| member.incarnation == self.incarnation) {
            self.adopt(now, state);
        } else if self.committed.is_none() {
            self.remembered = Some(state);
        } else {
            self.proposed = Some(state);
        }
    }

    /// The one function that changes the committed state.
    pub(super) fn adopt(&mut self, now: Instant, state: State) {
        let old = self.committed.replace(state);
        let new = self.committed.as_ref().expect("just set");
        let epoch = new.epoch;
        let was_member = old
            .as_ref()
            .and_then(|state| state.member(self.me))
            .is_some_and(|member| member.incarnation == self.incarnation);
        let members_changed = old.as_ref().is_none_or(|old| old.members != new.members);
        let new_lineage = old.as_ref().is_some_and(|old| old.lineage != new.lineage).then_some(new.lineage);
        let timing = Timing::of(new);
        // E5: a restarted node waits as long as its promises may have been.
        let longest = Timing::longest_of(new);
        let longer = old.as_ref().is_some_and(|old| longest.t > old.longest_interval);
        self.retime(now, timing, longest);
        // What another lineage has proposed goes with that one.
        let over = |proposed: &State| {
            proposed.epoch <= epoch || new_lineage.is_some_and(|lineage| proposed.lineage != lineage)
        };
        if self.proposed.as_ref().is_some_and(over) {
            self.proposed = None;
            self.storing = None;
        }
        if self.office.as_ref().is_some_and(|office| office.term < epoch.term) {
            let until = self.office.as_ref().map_or(now, |office| office.root_end);
            self.leave_office(now, until);
        }
        if self.candidacy.as_ref().is_some_and(|candidacy| candidacy.term <= epoch.term) {
            self.candidacy = None;
        }
        self.remembered = None;
        self.offered.remove(&epoch.term.author);
        self.event(Event::Committed { epoch });
        if let Some(lineage) = new_lineage {
            self.boot.outranked = None;
            self.event(Event::WentAlone { lineage });
        }
        if !was_member {
            self.event(Event::Joined { node: self.me, incarnation: self.incarnation });
            self.lease.cancel();
        }
        if members_changed || longer {
            self.store();
        }
        if members_changed {
            self.ring_changed(now, old.as_ref());
        }
        self.serving_adopted(now, old.as_ref());
        self.dirty = true;
        self.stirred = true;
        if self.office.is_none() && epoch.term.author != self.me {
            self.boot.led = true;
            self.follow(now, epoch);
            self.ask(now);
        }
    }

    /// L7, and what HELLO heals: whoever is behind gets the state, at most once every p.
    pub(super) fn offer_state(&mut self, now: Instant, to: NodeId, relay: Option<NodeId>) {
        let p = self.timing.p;
        let Some(state) = self.committed.clone() else { return };
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if now < peer.state_sent + p {
            return;
        }
        peer.state_sent = now;
        let packet = Packet::State { committed: true, state };
        match relay {
            None => self.tell(to, packet),
            Some(relay) => self.relay(relay, to, packet),
        }
    }

    /// «Not following you», at most once every p to each; «and that life is none of ours» as often besides:
    /// who asks for votes without end is told the first all the time, and must hear the second (M1).
    pub(super) fn nack(&mut self, now: Instant, to: NodeId, term: Term, known: Option<Incarnation>) {
        let p = self.timing.p;
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let sent = &mut peer.nack_sent[usize::from(known.is_some())];
        if now >= *sent + p {
            *sent = now;
            self.tell(to, Packet::Nack { term, known });
        }
    }
}
