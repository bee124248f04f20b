//! What packets do: beats, their acknowledgements, requests, grants, votes.
//!
//! Called for every state by [`super::Lease`]; ends with the last of the steps.

use super::*;

impl Lease {
    /// More packets than the bound allows are lost.
    pub(super) fn say(&self, next: State, words: impl FnOnce() -> String, steps: &mut Steps<State>) {
        if next.under_way() <= self.bounds.packets as usize {
            steps.push(words, next);
        }
    }

    pub(super) fn deliver(&self, from: &State, member: usize, steps: &mut Steps<State>) {
        if let Some(ack) = from.acks[member] {
            let controller = ack.term as usize % 4;
            if let Some(root) = self.renewed(&from.nodes[controller], ack) {
                for (again, kept) in [("", None), (" (which comes once more)", Some(ack))] {
                    let mut next = *from;
                    next.acks[member] = kept;
                    next.nodes[controller].office.root = root;
                    let words = || format!("node {controller} hears the acknowledgement of {member}{again}");
                    self.grant(&next, member, controller, ack, &words, steps);
                }
            }
        }
        if let Some(grant) = from.grants[member] {
            self.take_grant(from, member, grant, steps);
        }
        if let Some(vote) = from.votes[member] {
            let node = &from.nodes[member];
            if node.up && node.office.role == Role::Candidate && node.office.term == vote.term {
                let mut next = *from;
                next.votes[member] = None;
                self.win(&next, member, vote, steps);
            }
        }
    }

    /// L1, L2: who has the state of that term promises, and asks for a lease in the same packet.
    pub(super) fn hear_beat(&self, from: &State, number: usize, author: usize, steps: &mut Steps<State>) {
        let (node, beats) = (&from.nodes[number], &from.nodes[author]);
        let term = beats.office.term;
        let beating = beats.up && beats.wait == 0 && beats.office.role == Role::Controller;
        if !beating || node.wait > 0 || node.voted != term || node.stored.term != term {
            return;
        }
        let mut next = *from;
        next.nodes[number].promise = self.bounds.promise;
        let epoch = (node.committed.term, node.committed.version);
        next.acks[number] = Some(Ack { term, epoch, beat: 0, asked: 0 });
        self.say(next, || format!("node {number} hears the beat of {author} and acknowledges it"), steps);
    }

    /// L5: a request without a beat.
    pub(super) fn ask(&self, from: &State, number: usize, author: usize, steps: &mut Steps<State>) {
        let (node, office) = (&from.nodes[number], &from.nodes[author].office);
        let follows = node.voted == office.term && node.stored.term == office.term;
        let idle = !node.up || node.wait > 0 || from.acks[number].is_some();
        if idle || office.role != Role::Controller || !follows {
            return;
        }
        let mut next = *from;
        let epoch = (node.committed.term, node.committed.version);
        next.acks[number] = Some(Ack { term: office.term, epoch, beat: self.lease_length(), asked: 0 });
        self.say(next, || format!("node {number} asks {author} for a lease"), steps);
    }

    /// L3: what the root is after this acknowledgement; `None`: it is not for this office.
    fn renewed(&self, controller: &Node, ack: Ack) -> Option<u8> {
        let office = &controller.office;
        let mine = controller.up && office.role == Role::Controller && office.term == ack.term;
        let age = if self.with(Mistake::RootFromReceipt) { 0 } else { ack.beat };
        mine.then(|| office.root.max(self.root_length().saturating_sub(age)))
    }

    /// L4, L7.
    fn grant(
        &self,
        from: &State,
        member: usize,
        number: usize,
        ack: Ack,
        words: &dyn Fn() -> String,
        steps: &mut Steps<State>,
    ) {
        let controller = &from.nodes[number];
        let office = &controller.office;
        let rooted = office.root > 0;
        let committed = controller.committed;
        let began = committed.term == office.term;
        let current = !began || ack.epoch == (committed.term, committed.version);
        let current = current || self.with(Mistake::GrantToWhoIsBehind);
        let loses = controller.stored.holder != committed.holder && member == committed.holder as usize;
        if !rooted || !current || loses && !self.with(Mistake::GrantWhileRevoking) {
            return steps.push(words, *from);
        }
        let length = (office.root + BEYOND).min(self.lease_length());
        let asked = if self.with(Mistake::LeaseFromReceipt) { 0 } else { ack.asked };
        let left = length.saturating_sub(asked);
        if left <= self.lease_margin() {
            return steps.push(words, *from);
        }
        let mut next = *from;
        let granted = &mut next.nodes[number].office.granted[member];
        if !loses {
            *granted = (*granted).max(length + self.lease_margin());
        }
        steps.push(|| words() + ", grants a lease, which is lost", next);
        next.grants[member] = Some(Grant { term: office.term, left });
        self.say(next, || words() + ", grants a lease", steps);
    }

    /// L5: only of the controller that it follows.
    fn take_grant(&self, from: &State, to: usize, grant: Grant, steps: &mut Steps<State>) {
        let node = &from.nodes[to];
        let old = if node.lease_term == grant.term { node.lease } else { 0 };
        if !node.up || node.voted != grant.term || old >= grant.left {
            return;
        }
        let mut next = *from;
        next.grants[to] = None;
        (next.nodes[to].lease, next.nodes[to].lease_term) = (grant.left, grant.term);
        steps.push(|| format!("node {to} gets its lease"), next);
    }
}
