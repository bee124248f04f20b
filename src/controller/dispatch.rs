//! What a packet means: first the sender itself (its life, its epoch, its lineage), then the content.

use super::*;
use crate::wire::Header;

impl Controller {
    pub(super) fn on_packet(&mut self, now: Instant, header: &Header, packet: Packet) {
        if header.from == self.me {
            return;
        }
        if self.is_old_life(header) {
            let known = self.known_life(header.from);
            let newest = self.epoch().term;
            return self.nack(now, header.from, newest, known);
        }
        self.heard_from(now, header);
        if header.lineage == self.lineage() || self.promise.term == header.epoch.term {
            self.commit_if_proved(now, header.epoch);
        }
        if self.is_stranger(header, &packet) {
            let newest = self.epoch().term;
            return self.nack(now, header.from, newest, Some(header.incarnation));
        }
        let relayed = matches!(packet, Packet::Forward { .. });
        if self.is_foreign(header) && !relayed {
            return self.on_foreign(now, header, packet);
        }
        self.heal(now, header, &packet);
        self.on_content(now, header, packet);
        if self.peers.get(&header.from).is_some_and(|peer| peer.answers) {
            self.look_anew_at_the_living(now, header);
        }
    }

    /// The highest life of that node that this one knows.
    fn known_life(&self, node: NodeId) -> Option<Incarnation> {
        let member =
            self.committed.as_ref().and_then(|state| state.member(node)).map(|member| member.incarnation);
        member.max(self.peers.get(&node).map(|peer| peer.incarnation))
    }

    fn is_old_life(&self, header: &Header) -> bool {
        self.known_life(header.from).is_some_and(|known| header.incarnation < known)
    }

    /// It takes itself for a member of this lineage and is none any more (J3).
    fn is_stranger(&self, header: &Header, packet: &Packet) -> bool {
        if !self.is_member() || header.epoch == Epoch::NONE {
            return false;
        }
        let member = self.committed.as_ref().and_then(|state| state.member(header.from));
        if member.is_some_and(|member| member.incarnation == header.incarnation) {
            return false;
        }
        let behind = header.lineage == self.lineage() && header.epoch < self.epoch();
        // A foreign lineage asks whether it is known here (M1).
        let asks = header.lineage != self.lineage() && matches!(packet, Packet::BeatAck { .. });
        behind || asks
    }

    fn is_foreign(&self, header: &Header) -> bool {
        self.is_member()
            && header.lineage != 0
            && header.lineage != self.lineage()
            && header.epoch.term != self.promise.term
            && header.epoch.term != self.epoch().term
    }

    /// HELLO and its like carry the epoch: whoever is behind gets the state.
    fn heal(&mut self, now: Instant, header: &Header, packet: &Packet) {
        let tells = matches!(
            packet,
            Packet::Hello { .. }
                | Packet::HelloAck { .. }
                | Packet::IpCheck { .. }
                | Packet::IpCheckAck { .. }
                | Packet::IAmLeft
                | Packet::IAmRight
                | Packet::Status(_)
        );
        if !tells || header.epoch >= self.epoch() || !self.is_member() {
            return;
        }
        let member = self.committed.as_ref().and_then(|state| state.member(header.from));
        if member.is_some_and(|member| member.incarnation == header.incarnation) {
            self.offer_state(now, header.from, None);
        }
    }

    fn on_content(&mut self, now: Instant, header: &Header, packet: Packet) {
        let from = header.from;
        match packet {
            Packet::Hello { nonce } => self.tell_on(from, header.link, Packet::HelloAck { nonce }),
            Packet::HelloAck { nonce } => self.on_hello_ack(now, from, nonce),
            Packet::Beat { number, members, .. } => self.on_beat(now, header, number, members),
            Packet::BeatAck { number, nonce, report } => {
                self.on_beat_ack(now, header, number, nonce, report, None);
            }
            Packet::Grant { nonce, remaining_us } => {
                let remaining = Duration::from_micros(u64::from(remaining_us));
                self.on_grant(now, from, header.epoch, nonce, remaining);
            }
            Packet::State { committed: true, state } => self.on_committed(now, header, state),
            Packet::State { committed: false, state } => self.on_proposal(now, header, state),
            Packet::StateAck { epoch, digest } => self.on_state_ack(now, from, epoch, digest),
            Packet::Nack { term, known } => self.on_nack(now, header, term, known),
            Packet::Suspect { suspect, incarnation, candidacy, nonce } => {
                match candidacy {
                    Some(wish) => self.on_candidacy(now, header, suspect, wish, nonce),
                    None => self.on_suspect(now, header, suspect, incarnation, nonce),
                };
            }
            Packet::RollCall { suspect, nonce, heard_us, vote, newest } => {
                if let Some(vote) = vote {
                    self.on_vote(now, from, nonce, vote, newest);
                }
                self.on_witness(now, from, suspect, heard_us);
            }
            Packet::IpCheck { nonce, boot } => self.on_ip_check(now, header, nonce, boot),
            Packet::IpCheckAck { controller, .. } => self.on_ip_check_ack(now, from, controller),
            Packet::FailDown { node, incarnation } => self.on_fail_down(now, from, node, incarnation),
            // A hint (S3): the state says the same, and decides.
            Packet::FailOver { .. } => {}
            Packet::Ready { service, ok } => {
                if let Some(office) = &mut self.office {
                    office.notes.ready(service, header.epoch, from, ok);
                    self.dirty = true;
                }
            }
            Packet::TakeOver { service } | Packet::FailbackOk { service } => {
                self.on_taken(now, from, header.epoch, service);
            }
            Packet::FailBack { service, .. } => self.on_fail_back(now, from, header.epoch, service),
            Packet::IAmLeft | Packet::IAmRight => self.on_neighbour(now, from),
            Packet::Status(status) => {
                self.hear_standing(now, from, &status);
                self.hear_who_holds(now, from, &status);
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.mac = Some(status.mac).filter(|mac| *mac != [0; 6]).or(peer.mac);
                    if let Some(before) = peer.status.replace(status.clone()) {
                        self.hear_of_the_external_lan(now, &before, &status);
                    }
                }
            }
            Packet::Command { id, command } => self.on_asked(now, from, id, command),
            Packet::CommandAck { id, result } => self.on_answered(id, result),
            // Not the controller's business.
            Packet::Aside(_) => {}
            Packet::Resign { to } => self.on_resign(now, from, to),
            Packet::Leave { incarnation } => self.on_leave(now, header, incarnation),
            Packet::Forward { origin, incarnation, epoch, to, packet } => {
                self.on_forward(now, header, (origin, incarnation, epoch, to), *packet);
            }
        }
    }

    /// On the link on which the question came: so both learn which links work.
    pub(super) fn tell_on(&mut self, to: NodeId, link: LinkRole, packet: Packet) {
        let links = match link {
            LinkRole::Internal => Links::Internal,
            LinkRole::External => Links::External,
        };
        self.send(Destination::Node(to), links, packet);
    }

    /// L5: one hop, only what leases and states need. What comes so is no first-hand sign of life.
    fn on_forward(
        &mut self,
        now: Instant,
        header: &Header,
        (origin, incarnation, epoch, to): (NodeId, Incarnation, Epoch, NodeId),
        packet: Packet,
    ) {
        if to != self.me {
            if origin == header.from && self.is_member() {
                let packet = Box::new(packet);
                self.tell(to, Packet::Forward { origin, incarnation, epoch, to, packet });
            }
            return;
        }
        let inner = Header { from: origin, incarnation, epoch, ..header.clone() };
        if let Packet::Beat { members, priority, .. } = packet {
            if header.lineage != self.lineage() {
                self.on_outranked(now, header, origin, (members, priority));
            }
            return;
        }
        if self.is_old_life(&inner) || header.lineage != self.lineage() {
            return;
        }
        let relay = Some(header.from);
        match packet {
            Packet::BeatAck { number, nonce, report } => {
                self.on_beat_ack(now, &inner, number, nonce, report, relay);
            }
            Packet::Grant { nonce, remaining_us } => {
                let remaining = Duration::from_micros(u64::from(remaining_us));
                self.on_grant(now, origin, epoch, nonce, remaining);
            }
            Packet::State { committed: true, state } => self.on_committed(now, &inner, state),
            _ => {}
        }
    }
}
