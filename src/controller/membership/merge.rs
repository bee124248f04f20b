//! M: two lineages hear each other.

use super::*;

impl Controller {
    /// Somebody has stored a proposal of a newer term, or voted in one, and acknowledges no state of this one any more.
    pub(in crate::controller) fn outbid(&mut self, now: Instant, header: &Header, term: Term) {
        let begun = self.epoch().term;
        // Of this lineage, or of none: a node that joins may have stored it in an earlier life.
        let ours = header.lineage == self.lineage() || header.lineage == 0;
        let Some(office) = &mut self.office else { return };
        if term <= office.term {
            return;
        }
        if office.term != begun {
            // Won, and it cannot begin.
            self.renew_term(now);
        } else if ours {
            office.outbid = office.outbid.max(term);
        }
    }

    /// This controller goes on in a term that is newer than what a member has seen: when whoever has to vote has just
    /// acknowledged a beat, and what was waited for since the last election is done. So nothing is interrupted.
    pub(in crate::controller) fn renew_in_time(&mut self, now: Instant) {
        let Some(office) = &self.office else { return };
        let newest = office.newest_beat();
        let acknowledged = |node: NodeId| node == self.me || office.has_acknowledged(node, newest);
        let due = office.outbid > office.term && office.term == self.epoch().term;
        let calm = now < office.root_end && now >= office.not_before;
        if due && calm && !self.can_commit(now) && self.enough(&self.basis(), acknowledged) {
            self.renew_term(now);
        }
    }

    /// Its voters are bound to itself: they vote again at once. Without a root it only gives way.
    fn renew_term(&mut self, now: Instant) {
        let Some(office) = &self.office else { return };
        let until = office.root_end;
        // It granted nothing, and nobody else can have before its root ends: there is nothing new to wait for.
        let waits = (office.term != self.epoch().term).then_some((office.not_before, office.predecessor));
        self.leave_office(now, until);
        self.candidacy = None;
        if now < until {
            if let Some(following) = &mut self.following {
                following.heir = Some(self.me);
            }
            self.promise.release(now);
            self.resumes =
                waits.map(|(not_before, predecessor)| succession::Resumed { until, not_before, predecessor });
        }
    }

    // ── merge ───────────────────────────────────────────────────────────────────────────────────────

    /// M1: two lineages hear each other. More members win, then the controller's priority, then the
    /// lineage's number: everybody decides the same. The losers release, then join the winner.
    pub(in crate::controller) fn on_foreign(&mut self, now: Instant, header: &Header, packet: Packet) {
        self.boot.foreign_heard = now;
        match packet {
            Packet::Beat { number, members, priority } => {
                let Some(state) = &self.committed else { return };
                let leader = self.controller().unwrap_or(self.me);
                let own = self.weight(now);
                let mine = (own, self.priority(leader), state.lineage);
                if (members, priority, header.lineage) <= mine {
                    return self.tell_outranked(header, leader, own);
                }
                if self.is_mute() {
                    // It cannot ask to be let in, and everybody there has the right to what it serves.
                    return self.join_winner(now, header.from, None);
                }
                self.boot.outranked = Some((header.from, now));
                self.retract_all();
                self.stirred = true;
                let report = self.report(now);
                let nonce = self.nonce();
                // Known there? Then the state comes. If not, NACK.
                self.tell(header.from, Packet::BeatAck { number, nonce, report });
            }
            Packet::Nack { known: Some(known), .. } => {
                let outranked = self
                    .boot
                    .outranked
                    .is_some_and(|(by, at)| by == header.from && now.since(at) <= self.timing.t * 2);
                if outranked && known >= self.incarnation {
                    self.join_winner(now, header.from, Some(known));
                }
            }
            Packet::State { committed: true, state } => self.on_committed(now, header, state),
            // Who has this node's vote unites both lineages under its term.
            Packet::State { committed: false, state } if state.epoch.term == self.promise.term => {
                self.on_proposal(now, header, state);
            }
            Packet::StateAck { epoch, digest } => self.on_state_ack(now, header.from, epoch, digest),
            // A member here that follows another lineage: the state, or, if it is beyond this one, a new life.
            Packet::BeatAck { .. } if self.office.is_some() => {
                if header.epoch < self.epoch() {
                    self.offer_state(now, header.from, None);
                } else {
                    let newest = self.epoch().term;
                    self.nack(now, header.from, newest, Some(header.incarnation));
                }
            }
            Packet::Suspect { suspect, candidacy: Some(wish), nonce, .. } => {
                self.on_candidacy(now, header, suspect, wish, nonce);
            }
            Packet::RollCall { nonce, vote: Some(vote), newest, .. } => {
                self.on_vote(now, header.from, nonce, vote, newest);
            }
            // It has just taken what this node may be about to take, or meets this node, which has it too.
            Packet::TakeOver { service } | Packet::FailbackOk { service } => {
                self.latch(service, None);
                if self.services.get(&service).is_some_and(|local| local.wanted && local.present) {
                    let leader = self.controller().unwrap_or(self.me);
                    self.tell_outranked(header, leader, self.weight(now));
                }
            }
            Packet::IpCheck { nonce, .. } => {
                let controller = self.controller();
                self.tell(header.from, Packet::IpCheckAck { nonce, controller });
            }
            _ => {}
        }
    }

    /// A stronger part was heard lately: what this one gives to its members is theirs, and their looks are under way.
    pub(in crate::controller) fn is_outranked(&self, now: Instant) -> bool {
        self.boot.outranked.is_some_and(|(_, at)| now.since(at) <= self.timing.t * 2)
    }

    /// This lineage has lost; the winner's takes its place in everything, votes included.
    fn join_winner(&mut self, now: Instant, winner: NodeId, known: Option<Incarnation>) {
        self.event(Event::Merged { winner });
        self.boot.outranked = None;
        self.boot.round_seen = self.boot.round_seen.max(self.epoch().term.round);
        self.boot.standby = self.own_standby();
        self.committed = None;
        self.proposed = None;
        self.remembered = None;
        self.rejoin(now, known);
    }

    /// Members of the own state of whom nothing bad is known.
    pub(in crate::controller) fn living(&self) -> u16 {
        u16::try_from(self.members().filter(|&member| self.is_calm(member)).count()).unwrap_or(u16::MAX)
    }

    /// What the own lineage weighs in a merge. Who leads nobody, or follows nobody, has no weight: its
    /// members may be on the other side.
    pub(in crate::controller) fn weight(&self, now: Instant) -> u16 {
        if now >= self.serving_until() {
            return 0;
        }
        match &self.following {
            Some(following) if self.office.is_none() => following.living,
            _ => self.living(),
        }
    }

    /// The weaker side's controller may hear this node and not the stronger one's: it is told in its name.
    pub(in crate::controller) fn tell_outranked(&mut self, header: &Header, leader: NodeId, members: u16) {
        let Some(state) = &self.committed else { return };
        let Some(incarnation) = state.member(leader).map(|leader| leader.incarnation) else { return };
        if members == 0 {
            return;
        }
        let beat = Packet::Beat { number: 0, members, priority: self.priority(leader) };
        let (origin, epoch, to) = (leader, self.epoch(), header.from);
        self.tell(to, Packet::Forward { origin, incarnation, epoch, to, packet: Box::new(beat) });
    }

    /// M1 by way of a third node: this controller is on the weaker side.
    pub(in crate::controller) fn on_outranked(
        &mut self,
        now: Instant,
        header: &Header,
        by: NodeId,
        rank: (u16, u16),
    ) {
        let Some(state) = &self.committed else { return };
        if !self.is_member() {
            return;
        }
        let own = self.weight(now);
        let leader = self.controller().unwrap_or(self.me);
        if (rank.0, rank.1, header.lineage) > (own, self.priority(leader), state.lineage) {
            self.join_winner(now, by, None);
        } else {
            self.tell_outranked(header, leader, own);
        }
    }
}
