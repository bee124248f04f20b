//! What nodes do of their own accord, and time: deaths, proposals, commits, elections, storing, hearing.
//!
//! Called for every state by [`super::Lease`]; ends with the last of the steps.

use super::*;

impl Lease {
    /// One tick on all clocks; the wrong one may lose or regain one.
    pub(super) fn time(&self, from: &State, steps: &mut Steps<State>) {
        let wrong = self.bounds.wrong_clock;
        steps.push(|| "a tick passes".into(), self.after(from, 1, from.behind));
        if from.behind == 0 {
            let words = || format!("a tick passes, node {wrong} does not see it");
            steps.push(words, self.after(from, 0, 1));
        } else {
            steps.push(|| format!("a tick passes, node {wrong} sees two"), self.after(from, 2, 0));
        }
    }

    fn after(&self, from: &State, wrongly: u8, behind: u8) -> State {
        let mut next = *from;
        next.behind = behind;
        let spent = |node: usize| if node == self.bounds.wrong_clock { wrongly } else { 1 };
        for (number, node) in next.nodes.iter_mut().enumerate() {
            let timers = [&mut node.wait, &mut node.promise, &mut node.lease, &mut node.office.root];
            let office = [&mut node.office.wait].into_iter().chain(&mut node.office.granted);
            timers.into_iter().chain(office).for_each(|timer| *timer = timer.saturating_sub(spent(number)));
            if node.lease <= self.lease_margin() && !self.with(Mistake::KeepWithoutLease) {
                (node.lease, node.lease_term) = (0, 0);
            }
            if node.office.role == Role::Candidate && node.office.root == 0 && !self.with(Mistake::LateWin) {
                node.office = NO_OFFICE;
            }
        }
        for number in 0..NODES {
            self.age(&mut next, number, &spent);
        }
        next
    }

    /// What can have no effect any more is gone.
    fn age(&self, next: &mut State, member: usize, spent: &impl Fn(usize) -> u8) {
        if let Some(ack) = &mut next.acks[member] {
            ack.beat = (ack.beat + spent(ack.term as usize % 4)).min(self.lease_length());
            ack.asked = (ack.asked + spent(member)).min(self.lease_length());
            let useless =
                ack.beat >= self.root_length() && ack.asked >= self.lease_length() - self.lease_margin();
            if useless && !self.with(Mistake::RootFromReceipt) {
                next.acks[member] = None;
            }
        }
        if let Some(grant) = next.grants[member].as_mut().filter(|_| !self.with(Mistake::LeaseFromReceipt)) {
            grant.left = grant.left.saturating_sub(spent(member));
            if grant.left <= self.lease_margin() {
                next.grants[member] = None;
            }
        }
    }

    pub(super) fn node_steps(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        if !node.up {
            let mut next = *from;
            let wait = if self.with(Mistake::NoWaitAfterRestart) { 0 } else { self.lease_length() + MARGIN };
            next.nodes[number] = Node { up: true, wait, office: NO_OFFICE, ..*node };
            return steps.push(|| format!("node {number} starts again"), next);
        }
        if from.crashed < self.bounds.crashes {
            let mut next = *from;
            // What it had proposed stays under way; promises, leases and the root are forgotten.
            let office = Office { root: 0, wait: 0, granted: [0; NODES], ..node.office };
            next.nodes[number] = Node { up: false, promise: 0, lease: 0, lease_term: 0, office, ..*node };
            next.crashed += 1;
            steps.push(|| format!("node {number} dies"), next);
        }
        if node.office.role == Role::Controller {
            self.controller_steps(from, number, steps);
        }
        self.stand(from, number, steps);
        for other in (0..NODES).filter(|other| *other != number) {
            self.hear_beat(from, number, other, steps);
            self.ask(from, number, other, steps);
            self.vote(from, number, other, steps);
            self.store(from, number, other, steps);
            self.learn(from, number, other, steps);
        }
    }

    /// S1, S2: what a controller does of its own accord.
    fn controller_steps(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let office = &node.office;
        if office.root > 0 && from.reassigned < self.bounds.reassignments {
            for holder in (0..NODES as u8).filter(|holder| *holder != node.stored.holder) {
                let mut next = *from;
                let this = &mut next.nodes[number];
                this.stored = Table { version: node.stored.version + 1, holder, ..node.stored };
                this.office.stored_by = 1 << number;
                next.reassigned += 1;
                steps.push(|| format!("node {number} proposes that {holder} has the service"), next);
            }
        }
        if node.stored != node.committed && self.may_commit(node) {
            let mut next = *from;
            let this = &mut next.nodes[number];
            this.committed = node.stored;
            this.office = Office { predecessors: false, proved: true, stored_by: 0, ..node.office };
            steps.push(|| format!("node {number} commits {}", said(node.stored)), next);
        }
    }

    /// S2, E4.
    fn may_commit(&self, node: &Node) -> bool {
        let office = &node.office;
        let majority = office.stored_by.count_ones() >= 2;
        let root = office.root > 0;
        let loser = node.committed.holder;
        let moved = loser != node.stored.holder;
        let leases_over = office.granted[loser as usize] == 0 || self.with(Mistake::NoWaitForLeases);
        let careless = self.with(Mistake::NoWaitWithInherited) && !office.proved;
        let waited = office.wait == 0 || self.with(Mistake::NoWaitAfterWinning) || careless;
        let inherited = office.proved || waited;
        let may_move = !moved || leases_over && (waited || office.predecessors);
        majority && root && inherited && may_move
    }
}

// Elections and the state.
impl Lease {
    /// E1, without priority and verdict.
    fn stand(&self, from: &State, number: usize, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let round = node.voted / 4 + 1;
        let bound = self.bounds.elections + 1;
        let ruled = node.office.role != Role::Member && node.office.root > 0;
        let stands = self.bounds.candidates & (1 << number) != 0;
        if !stands || round > bound || ruled || !self.may_vote(node, term(round, number)) {
            return;
        }
        let mut next = *from;
        let office = Office {
            role: Role::Candidate,
            term: term(round, number),
            root: self.root_length(),
            ..NO_OFFICE
        };
        next.nodes[number] = Node { voted: office.term, office, ..*node };
        steps.push(|| format!("node {number} asks for votes"), next);
    }

    /// E2, E5.
    fn may_vote(&self, node: &Node, term: u8) -> bool {
        let rules = node.office.role == Role::Controller && node.office.root > 0;
        let free = node.promise == 0 || self.with(Mistake::NoPromise);
        node.wait == 0 && free && term > node.voted && (!rules || self.with(Mistake::VoteWithRoot))
    }

    fn vote(&self, from: &State, number: usize, candidate: usize, steps: &mut Steps<State>) {
        let (node, asks) = (&from.nodes[number], &from.nodes[candidate]);
        let asked = asks.up && asks.office.role == Role::Candidate;
        if !asked || !self.may_vote(node, asks.office.term) {
            return;
        }
        let term = asks.office.term;
        let mut next = *from;
        let office = if self.with(Mistake::VoteWithRoot) { node.office } else { NO_OFFICE };
        next.nodes[number] = Node { voted: term, promise: self.bounds.promise, office, ..*node };
        steps.push(|| format!("node {number} votes for {candidate}, which is lost"), next);
        next.votes[candidate] = Some(Vote { term, stored: node.stored, committed: node.committed });
        self.say(next, || format!("node {number} votes for {candidate}"), steps);
    }

    /// E3: with three nodes one vote wins. It goes on with the newest state, or gives the service away at once.
    pub(super) fn win(&self, from: &State, number: usize, vote: Vote, steps: &mut Steps<State>) {
        let node = &from.nodes[number];
        let newest = node.stored.max(vote.stored);
        let committed = node.committed.max(vote.committed);
        let term = node.office.term;
        let root = if self.with(Mistake::LateWin) { self.root_length() } else { node.office.root };
        if root == 0 {
            return;
        }
        for holder in 0..NODES as u8 {
            let moved = holder != newest.holder;
            if moved && from.reassigned >= self.bounds.reassignments {
                continue;
            }
            let proved = newest == committed;
            let office = Office {
                role: Role::Controller,
                root,
                wait: BEYOND + MARGIN,
                stored_by: 1 << number,
                predecessors: proved && newest.term % 4 == newest.holder,
                proved,
                ..node.office
            };
            let stored = Table { term, version: newest.version + 1, holder };
            let mut next = *from;
            next.nodes[number] = Node { stored, committed, office, ..*node };
            next.reassigned += u8::from(moved);
            steps.push(|| format!("node {number} wins and proposes {}", said(stored)), next);
        }
    }

    /// S1: stored, then acknowledged, by who follows its author.
    fn store(&self, from: &State, number: usize, author: usize, steps: &mut Steps<State>) {
        let (node, proposes) = (&from.nodes[number], &from.nodes[author]);
        let proposal = proposes.stored;
        let pending = proposes.office.role == Role::Controller && proposal > proposes.committed;
        let follows = node.voted == proposal.term || self.may_vote(node, proposal.term);
        let knows = proposes.office.stored_by & (1 << number) != 0;
        let newer = proposal > node.stored || proposal == node.stored && !knows;
        if !pending || !follows || !newer || node.wait > 0 {
            return;
        }
        let mut next = *from;
        if node.voted != proposal.term {
            next.nodes[number].office = NO_OFFICE;
            next.nodes[number].promise = self.bounds.promise;
        }
        next.nodes[number].voted = proposal.term;
        next.nodes[number].stored = proposal;
        next.nodes[author].office.stored_by |= 1 << number;
        steps.push(|| format!("node {number} stores {}", said(proposal)), next);
    }

    /// S5: what is committed may be heard from anybody, at any time.
    fn learn(&self, from: &State, number: usize, other: usize, steps: &mut Steps<State>) {
        let (node, committed) = (&from.nodes[number], from.nodes[other].committed);
        if committed <= node.committed {
            return;
        }
        let mut next = *from;
        let voted = node.voted.max(committed.term);
        let office = if node.office.term < voted { NO_OFFICE } else { node.office };
        next.nodes[number] = Node { committed, stored: node.stored.max(committed), voted, office, ..*node };
        steps.push(|| format!("node {number} hears that {} is committed", said(committed)), next);
    }
}
