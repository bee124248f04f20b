//! E: who becomes controller when there is none.

use super::*;
use crate::wire::{Header, Member, Phase, Slot, Vote};

/// This node asks to become controller. Its term counts for nobody, itself included, before it has won:
/// a node that is cut off from the controller alone disturbs nothing.
#[derive(Debug, Clone)]
pub(super) struct Candidacy {
    pub term: Term,
    /// The controller that is down; `None` where it left or resigned, or there was none.
    predecessor: Option<NodeId>,
    /// When it began to ask.
    began: Instant,
    next_ask: Instant,
    /// Nonces of requests that may still be answered, with the times of their sending.
    asks: VecDeque<(u64, Instant)>,
    /// Voters, with the sending time of the newest request that they answered.
    votes: BTreeMap<NodeId, Instant>,
    /// The newest state that a voter has stored (E3).
    newest: Option<(bool, State)>,
    /// Some voter's promise to the controller before was given back.
    released: bool,
}

/// Somebody asked for this node's vote while a promise bound it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ballot {
    term: Term,
    candidate: NodeId,
    epoch: Epoch,
    suspect: NodeId,
    nonce: u64,
    asked: Instant,
    /// How long the candidate wants the promise: its times may be others than the voter's.
    promise: Duration,
}

/// What a term that was won and could not begin leaves to the next one of the same controller (E4).
#[derive(Debug, Clone, Copy)]
pub(super) struct Resumed {
    /// The end of its root: nobody else is elected before.
    pub until: Instant,
    pub not_before: Instant,
    pub predecessor: Option<NodeId>,
}

/// No T is so long that a promise would be longer.
const LONGEST_PROMISE: Duration = Duration::from_secs(20);
/// A term whose first state no majority stores within so many promises is given up: those who refuse it
/// may have stored something newer, and a later term is newer than that.
const ENDURANCE: u32 = 8;
/// For so many promises a candidate asks that hears no majority. A vote comes after one promise, and lost
/// packets are asked for again every p/2: more is hopeless.
const PERSISTENCE: u32 = 3;
/// Requests remembered: one every p/2, each useful for less than Lp < 14 p.
const ASKS: usize = 32;

impl Controller {
    pub(super) fn succession_timeout(&self) -> Instant {
        let mut next = self.candidacy.as_ref().map_or(Instant::MAX, |candidacy| candidacy.next_ask);
        if self.ballot.is_some() {
            next = next.min(self.promise.until.max(self.may_vote_at));
        }
        if self.office.is_none() && self.candidacy.is_none() {
            if self.rests_until > self.clock {
                next = next.min(self.rests_until);
            }
            let at = if self.is_member() { self.candidate_at() } else { self.found_at() };
            if at > self.clock {
                next = next.min(at);
            }
        }
        next
    }

    /// When the promise lapses that alone stands between this node and a candidacy; or when it is to stop
    /// waiting for a controller that is alive but silent.
    fn candidate_at(&self) -> Instant {
        if !self.is_member() {
            return Instant::MAX;
        }
        let Some(following) = &self.following else { return Instant::MAX };
        let lapsed = self.promise.until.max(self.may_vote_at).max(self.rests_until);
        if self.is_vacant() {
            lapsed
        } else {
            let above = self.members_above();
            lapsed.max(self.leaderless_at(following.beat_at, above)).max(self.turn_at(above))
        }
    }

    /// The controller is down (own verdict), has left, or resigned in favour of this node, or of one that is down or has left.
    fn is_vacant(&self) -> bool {
        let Some(following) = &self.following else { return false };
        let lost = |node: NodeId| {
            self.gone_for_good(node)
                || self.suspicions.get(&node).is_some_and(|suspicion| suspicion.verdict.is_some())
        };
        lost(following.term.author) || following.heir.is_some_and(|heir| heir == self.me || lost(heir))
    }

    fn gone_for_good(&self, node: NodeId) -> bool {
        let member = self.committed.as_ref().and_then(|state| state.member(node));
        member.is_none_or(|member| self.is_over(node, member.incarnation))
    }

    /// A controller may be alive and yet lead nobody. After three promises, in the order of priority.
    fn leaderless_at(&self, beat_at: Instant, above: u32) -> Instant {
        beat_at + self.timing.promise * (3 + above.min(64))
    }

    /// When it may stand after a vote that led to nothing: the promises that were given then lapse everywhere
    /// at one moment, and who stands at the same moment as another takes the votes from it.
    fn turn_at(&self, above: u32) -> Instant {
        self.promise.until.max(self.may_vote_at) + self.timing.p * above.min(64)
    }

    fn members_above(&self) -> u32 {
        let Some(state) = &self.committed else { return 0 };
        let mine = self.priority(self.me);
        // Both in the order of identity: a search for each was a part of all work where there are dozens.
        let mut members = state.members.iter().map(|member| member.id).peekable();
        let mut is_member = |id: NodeId| {
            while members.next_if(|&member| member < id).is_some() {}
            members.peek() == Some(&id)
        };
        let above = self.config.nodes.iter().filter(|node| is_member(node.id) && node.priority > mine);
        u32::try_from(above.count()).unwrap_or(u32::MAX / 8)
    }

    pub(super) fn succession_tick(&mut self, now: Instant) {
        if let Some(ballot) = self.ballot
            && now >= self.promise.until.max(self.may_vote_at)
        {
            self.ballot = None;
            if now.since(ballot.asked) <= self.timing.p * 2 {
                self.vote(now, ballot);
            }
        }
        if self.candidacy.as_ref().is_some_and(|candidacy| now >= candidacy.next_ask) {
            self.ask_for_votes(now);
        }
    }

    /// E1, E3: begin, win or give up a candidacy.
    pub(super) fn settle_succession(&mut self, now: Instant) {
        self.renew_in_time(now);
        match (&self.office, &self.candidacy) {
            (None, None) => {
                if let Some(predecessor) = self.may_stand(now) {
                    self.stand(now, predecessor);
                }
            }
            (None, Some(_)) => {
                if self.may_stand(now).is_none() {
                    self.candidacy = None;
                } else if self.has_won(now) {
                    self.win(now);
                } else {
                    self.rest_if_in_vain(now);
                }
            }
            (Some(office), _) => {
                // Won, but the first state never reached a majority in time: begin again later.
                let begun = office.term == self.epoch().term;
                let rootless = now >= office.root_end && now >= office.won_at + self.timing.promise;
                let tired = now >= office.not_before + self.timing.promise * ENDURANCE;
                if !begun && (rootless || tired) {
                    self.leave_office(now, now);
                    self.candidacy = None;
                }
            }
        }
    }

    /// E1: who is heard and hears no majority would ask for ever, and each vote binds its giver anew: nobody
    /// else could stand. So it falls silent until the promises have lapsed and the others have had their turn,
    /// of which as many may be deaf as are no majority.
    fn rest_if_in_vain(&mut self, now: Instant) {
        let promise = self.timing.promise;
        let began = self.candidacy.as_ref().map_or(now, |candidacy| candidacy.began);
        if now >= began + promise * PERSISTENCE && !self.hears_a_majority(now) {
            let others = u32::try_from(self.basis().len() / 2).unwrap_or(1).min(32);
            self.candidacy = None;
            self.rests_until = now + promise * (PERSISTENCE * others + 2);
        }
    }

    fn rests(&self, now: Instant) -> bool {
        now < self.rests_until && !self.hears_a_majority(now)
    }

    /// First-hand, within two promises.
    fn hears_a_majority(&self, now: Instant) -> bool {
        let lately = self.timing.promise * 2;
        self.enough(&self.basis(), |node| node == self.me || self.heard(node) + lately > now)
    }

    /// E1. `Some(predecessor)` if this node should ask for votes.
    fn may_stand(&self, now: Instant) -> Option<Option<NodeId>> {
        if now < self.may_vote_at || now < self.promise.until || self.gone || self.rests(now) {
            return None;
        }
        if !self.is_member() {
            return self.may_found(now).then_some(None);
        }
        let following = self.following.as_ref()?;
        let controller = following.term.author;
        if following.heir == Some(self.me) {
            return Some(None);
        }
        let above = self.members_above();
        if now < self.leaderless_at(following.beat_at, above).max(self.turn_at(above)) {
            if !self.is_vacant() {
                return None;
            }
            let rank = |node| (self.priority(node), node);
            let me = rank(self.me);
            let outranked = self.members().any(|node| {
                node != controller && rank(node) > me && self.is_calm(node) && !self.is_leaving(node)
            });
            let alone =
                !self.members().any(|node| node != self.me && node != controller && self.is_calm(node));
            if outranked || (self.leaving.is_some() && !alone) {
                return None;
            }
        }
        let verdict = self.suspicions.get(&controller).is_some_and(|suspicion| suspicion.verdict.is_some());
        Some(verdict.then_some(controller))
    }

    fn is_leaving(&self, node: NodeId) -> bool {
        self.committed.as_ref().and_then(|state| state.member(node)).is_some_and(|member| member.leaving)
    }

    fn stand(&mut self, now: Instant, predecessor: Option<NodeId>) {
        let states = [&self.committed, &self.proposed, &self.remembered];
        let seen = states.into_iter().flatten().map(|state| state.epoch.term.round).max().unwrap_or(0);
        let round = seen.max(self.voted.round).max(self.promise.term.round).max(self.boot.round_seen) + 1;
        self.candidacy = Some(Candidacy {
            term: Term { round, author: self.me, life: self.incarnation },
            predecessor,
            began: now,
            next_ask: now,
            asks: VecDeque::new(),
            votes: BTreeMap::new(),
            newest: None,
            released: false,
        });
        self.ask_for_votes(now);
        if self.has_won(now) {
            self.win(now);
        }
    }

    fn ask_for_votes(&mut self, now: Instant) {
        let nonce = self.nonce();
        let half = self.timing.p / 2;
        let suspect = self.following.as_ref().map_or(NodeId(0), |following| following.term.author);
        let incarnation = self
            .committed
            .as_ref()
            .and_then(|state| state.member(suspect))
            .map_or(Incarnation(0), |member| member.incarnation);
        let slow = self.timing.promise;
        let Some(candidacy) = &mut self.candidacy else { return };
        // After a promise without success there is no hurry.
        let first = candidacy.asks.front().map_or(now, |(_, sent)| *sent);
        candidacy.next_ask = now + if now.since(first) > slow { half * 4 } else { half };
        if candidacy.asks.len() >= ASKS {
            candidacy.asks.pop_front();
        }
        candidacy.asks.push_back((nonce, now));
        let promise_us = u32::try_from(self.longest.promise.as_micros()).unwrap_or(u32::MAX);
        let wish = Some((candidacy.term, promise_us));
        let packet = Packet::Suspect { suspect, incarnation, candidacy: wish, nonce };
        self.tell_all(packet);
    }

    /// E2: somebody wants this node's vote. Given at once, or as soon as the promise lapses.
    pub(super) fn on_candidacy(
        &mut self,
        now: Instant,
        header: &Header,
        suspect: NodeId,
        (term, promise_us): (Term, u32),
        nonce: u64,
    ) {
        self.boot.round_seen = self.boot.round_seen.max(term.round.saturating_sub(1));
        if term.author != header.from {
            return;
        }
        let promise = Duration::from_micros(u64::from(promise_us)).min(LONGEST_PROMISE);
        let (candidate, epoch) = (header.from, header.epoch);
        let ballot = Ballot { term, candidate, epoch, suspect, nonce, asked: now, promise };
        if self.may_vote(now, term) {
            self.vote(now, ballot);
        } else if term >= self.voted && self.office.is_none() {
            self.ballot = Some(ballot);
        } else if term < self.voted {
            // The candidate does not know of that term yet: it shall ask again with a newer one.
            let newest = self.voted;
            self.nack(now, header.from, newest, None);
        }
    }

    fn may_vote(&self, now: Instant, term: Term) -> bool {
        let waited = now >= self.may_vote_at;
        // The same controller in a newer term is no stranger to the promise.
        let same = (self.promise.term.author, self.promise.term.life) == (term.author, term.life);
        let free = now >= self.promise.until || same || self.planted(Planted::NoPromise);
        // Again for the same candidate, also in a later life of the voter: it tells what it has stored anew.
        let newer = term >= self.voted;
        let rooted = self.office.as_ref().is_some_and(|office| now < office.root_end + self.margin());
        // Of two that ask each other the greater term goes on, instead of both giving way for ever.
        let outbids = self.candidacy.as_ref().is_none_or(|candidacy| term > candidacy.term);
        waited && free && newer && outbids && term > self.epoch().term && !rooted
    }

    fn vote(&mut self, now: Instant, ballot: Ballot) {
        if !self.may_vote(now, ballot.term) {
            return;
        }
        if self.office.is_some() {
            self.leave_office(now, now);
        }
        self.candidacy = None;
        self.has_voted(ballot.term);
        let wished = if self.planted(Planted::OwnTimesAlone) { Duration::ZERO } else { ballot.promise };
        let until = (now + self.longest.promise.max(wished)).max(self.promise.until);
        self.promise = Promise { term: ballot.term, until, ..self.promise };
        let newest = match (&self.proposed, &self.committed, &self.remembered) {
            (Some(proposed), _, _) => Some((false, proposed.clone())),
            (None, Some(committed), _) => Some((true, committed.clone())),
            (None, None, remembered) => remembered.clone().map(|state| (true, state)),
        };
        let heard = self.heard(ballot.suspect);
        let age = (heard > Instant::ZERO).then(|| now.since(heard));
        let answer = Packet::RollCall {
            suspect: ballot.suspect,
            nonce: ballot.nonce,
            heard_us: age.and_then(|age| u32::try_from(age.as_micros()).ok()),
            vote: Some(Vote { term: ballot.term, released: self.promise.released }),
            newest: newest.filter(|(_, state)| state.epoch > ballot.epoch),
        };
        self.tell(ballot.candidate, answer);
    }

    /// Also for the next life. What is said by it does not wait for the disk: no takeover of an office should.
    pub(super) fn has_voted(&mut self, term: Term) {
        if term > self.voted {
            self.voted = term;
            self.store();
        }
    }

    /// A vote came.
    pub(super) fn on_vote(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        given: Vote,
        newest: Option<(bool, State)>,
    ) {
        let forgets = self.planted(Planted::VotersStatesForgotten);
        let told = !self.planted(Planted::ReleaseUntold);
        let Some(candidacy) = &mut self.candidacy else { return };
        if candidacy.term != given.term {
            return;
        }
        let Some(&(_, sent)) = candidacy.asks.iter().find(|(asked, _)| *asked == nonce) else { return };
        let vote = candidacy.votes.entry(from).or_insert(sent);
        *vote = (*vote).max(sent);
        candidacy.released |= told && given.released;
        if let Some((committed, state)) = newest
            && !forgets
            && candidacy
                .newest
                .as_ref()
                .is_none_or(|(proved, known)| (known.epoch, *proved) < (state.epoch, committed))
        {
            candidacy.newest = Some((committed, state));
        }
        if let Some(office) = &mut self.office {
            // Until the first state is committed votes take the place of beats.
            office.acknowledge(from, sent);
            self.renew_root(now);
        }
    }

    /// The newest state that this node or a voter has stored; is it known to be committed?
    pub(super) fn newest_known(&self) -> Option<(bool, &State)> {
        let committed = [&self.committed, &self.remembered].into_iter().flatten().map(|state| (true, state));
        let proposed = self.proposed.iter().map(|state| (false, state));
        let told = self.candidacy.iter().filter_map(|candidacy| candidacy.newest.as_ref());
        let told = told.map(|(committed, state)| (*committed, state));
        committed.chain(proposed).chain(told).max_by_key(|(committed, state)| (state.epoch, *committed))
    }

    /// Of whose members a majority counts beside those of the newest state: it may never have been committed, and the
    /// one before it goes on without its new members (E3).
    fn base_of_newest(&self) -> Vec<NodeId> {
        match self.newest_known() {
            Some((false, state)) if !self.planted(Planted::BaseForgotten) => state.base_ids(),
            Some((_, state)) => state.ids(),
            None => self.basis(),
        }
    }

    /// E3: majority of the newest reported state's members, of those it was proposed to, and of the own committed ones,
    /// within Lp.
    fn has_won(&self, now: Instant) -> bool {
        let Some(candidacy) = &self.candidacy else { return false };
        let root = self.root();
        let voted = |node: NodeId| {
            node == self.me || candidacy.votes.get(&node).is_some_and(|&sent| sent + root > now)
        };
        let newest = self.newest_known().map_or_else(|| self.basis(), |(_, state)| state.ids());
        // Under `arbiter` the winner would have no root without one.
        let backed = self.rule() != arbiter::Rule::Arbiter || self.may_go_alone();
        backed
            && [newest, self.base_of_newest(), self.basis()].iter().all(|members| self.enough(members, voted))
    }

    fn win(&mut self, now: Instant) {
        let Some(candidacy) = self.candidacy.clone() else { return };
        // Where promises lapsed, every lease of the old controller ends within X of that. Where they were
        // given back (LEAVE, RESIGN), to this node or to a voter, its root may have been fresh: whole leases are waited for.
        // Under `arbiter` its root may have outlasted the promises by an answer from just before a cut: whole leases again,
        // because by then this node's own root rests on an answer from after it, and only one side of the cut gets those.
        let whole = self.promises_were_void() || candidacy.released || self.rule() == arbiter::Rule::Arbiter;
        let newest = self.newest_known().filter(|_| !self.planted(Planted::OwnTimesAlone));
        let longest = newest
            .map(|(_, state)| Timing::longest_of(state))
            .into_iter()
            .chain([self.longest])
            .map(|it| it.coarse());
        let lasts =
            longest.map(|timing| if whole { timing.member } else { timing.x }).max().unwrap_or_default();
        let wait = lasts + self.margin();
        let mut office = Box::new(office::Office::new(candidacy.term, now));
        office.predecessor = candidacy.predecessor.filter(|_| !whole);
        office.not_before = now + wait;
        if let Some(resumed) = self.resumes.take().filter(|resumed| now < resumed.until) {
            (office.not_before, office.predecessor) = (resumed.not_before, resumed.predecessor);
        }
        if self.planted(Planted::NoWaitAfterWinning) {
            office.not_before = now;
        }
        office.acknowledge(self.me, now);
        for (&voter, &sent) in &candidacy.votes {
            office.acknowledge(voter, sent);
        }
        let base = self.inheritance(&candidacy);
        office.version = base.epoch.version;
        office.notes.begin(now, base, self.overlap());
        office.notes.inherit(self.inherited_notes(now));
        self.has_voted(candidacy.term);
        self.promise = Promise { term: candidacy.term, until: now + self.longest.promise, released: false };
        self.following = None;
        // From now on this node serves on its root alone: its successor takes its services over at the end
        // of that (E4), and knows nothing of a lease that an earlier controller granted.
        self.lease.cancel();
        self.hears_again();
        self.office = Some(office);
        self.renew_root(now);
        self.dirty = true;
        let epoch = Epoch { term: candidacy.term, version: 0 };
        self.event(Event::Elected { epoch });
    }

    /// The old controller released its followers before their promises lapsed.
    fn promises_were_void(&self) -> bool {
        let Some(following) = &self.following else { return false };
        let controller = following.term.author;
        following.heir.is_some()
            || controller == self.me
            || self.peers.get(&controller).is_some_and(|peer| peer.left.is_some())
    }

    /// What the new controller begins with: the newest state (holders keep what they hold), or a first one.
    fn inheritance(&mut self, candidacy: &Candidacy) -> State {
        let before = self.base_of_newest();
        let mut base = match self.newest_known() {
            Some((_, state)) => state.clone(),
            None => State {
                epoch: Epoch::NONE,
                lineage: self.nonce(),
                hello_interval: self.config.cluster.hello_interval,
                probe_divisor: 8,
                longest_interval: self.config.cluster.hello_interval,
                coarsest_divisor: 8,
                frozen: false,
                members: Vec::new(),
                base: Vec::new(),
                table: Vec::new(),
            },
        };
        let voters: Vec<NodeId> = candidacy.votes.keys().copied().chain([self.me]).collect();
        if base.members.is_empty() {
            let member = |id, incarnation| Member { id, incarnation, standby: false, leaving: false };
            base.members.push(member(self.me, self.incarnation));
            for (&id, peer) in &self.peers {
                if voters.contains(&id) || self.is_present(id) {
                    base.members.push(member(id, peer.incarnation));
                }
            }
            base.members.sort_by_key(|member| member.id);
            base.table = self
                .config
                .services
                .iter()
                .map(|service| Slot { service: service.id, holder: None, phase: Phase::Held, pinned: false })
                .collect();
        }
        for member in &mut base.members {
            let life = if member.id == self.me {
                Some(self.incarnation)
            } else {
                self.peers.get(&member.id).filter(|peer| peer.boot.is_some()).map(|peer| peer.incarnation)
            };
            if let Some(life) = life.filter(|&life| life > member.incarnation) {
                member.incarnation = life;
                member.leaving = false;
            }
        }
        if base.member(self.me).is_none() {
            let (id, incarnation) = (self.me, self.incarnation);
            base.members.push(Member { id, incarnation, standby: false, leaving: false });
            base.members.sort_by_key(|member| member.id);
        }
        base.follow(before);
        let count = base.members.iter().filter(|member| voters.contains(&member.id)).count();
        if 2 * count <= base.members.len() {
            base.lineage = self.nonce();
        }
        base
    }

    /// The controller gave its office away; its promises are void.
    pub(super) fn on_resign(&mut self, now: Instant, from: NodeId, to: NodeId) {
        if let Some(following) = &mut self.following
            && following.term.author == from
        {
            following.heir = Some(to);
            if self.promise.term == following.term {
                self.promise.release(now);
            }
        }
    }
}
