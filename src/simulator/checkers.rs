//! The promises, judged from outside: nothing here knows how the protocol keeps them. The world tells
//! what happens; the first broken promise ends the run.

use super::clock::{MILLI, Nanos};
use super::host::Host;
use super::network::Network;
use super::plan::place;
use crate::config::{Cluster, Quorum};
use crate::controller::Destination;
use crate::vocabulary::{Epoch, ServiceId, Term};
use crate::wire::{Packet, Phase, State, digest};
use std::collections::{BTreeMap, BTreeSet};

/// How long both ends of a planned handover may have the address, in probe intervals of T/8: `until` is
/// 2 p after FAIL_BACK (H2), and the abort comes after 4 p (H4).
const HANDOVER_PROBES: u64 = 4;
/// Where half may go on alone, two holders meet when the LANs heal: until they have heard of each other
/// and released (M1). Where that is by ARP alone, a question every 5 T, some of them lost.
const MEETING: Nanos = 3_000 * MILLI;
/// A take or a handover that was under way when the LANs healed is over by then: one look of 8 probes.
const UNDER_WAY: Nanos = 100 * MILLI;
/// A stopped process cannot keep its part of a handover: its kernel does, after `valid_lft`.
const KERNEL: Nanos = 2_400 * MILLI;
/// A proposal that counts the acknowledgement of a process that has ended since is committed or given up
/// by then.
const FORGOTTEN: Nanos = 2_000 * MILLI;
/// FAIL_BACK that was said so long ago may still make somebody take: a stopped process reads it late.
const OFFERED: Nanos = 1_000 * MILLI;
/// Committed values that are remembered to compare others with.
const REMEMBERED: usize = 512;

/// What half or fewer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Minorities {
    /// They stop (`majority`).
    Stop,
    /// They serve while they alone reach an arbiter (`arbiter`): nobody else has what they have.
    Exclude,
    /// They serve: their services may be served in two parts of the LAN, which meet when it is whole again
    /// (`none`, `auto`: with an arbiter because more than half go on without).
    Meet,
}

impl Minorities {
    /// Of this configuration.
    pub fn of(cluster: &Cluster) -> Self {
        match cluster.quorum {
            Quorum::Majority => Minorities::Stop,
            Quorum::Arbiter => Minorities::Exclude,
            Quorum::Auto | Quorum::None => Minorities::Meet,
        }
    }

    /// There may be such.
    pub fn any(self) -> bool {
        self != Minorities::Stop
    }
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, in virtual nanoseconds.
    pub at: Nanos,
    /// Which (design.md, section 2).
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
}

/// A handover that its old holder offered.
#[derive(Debug, Clone, Copy)]
struct Offer {
    service: ServiceId,
    from: usize,
    to: usize,
    nonce: u64,
    at: Nanos,
}

/// Somebody wants an address from now on that a stranger has.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    /// Who.
    pub node: usize,
    /// Whose address.
    pub service: ServiceId,
    /// The faker was told then; it may be late.
    pub ordered: Nanos,
    /// Its look began then; without one, when it was ordered.
    pub looks_since: Nanos,
    /// It heard the stranger's answer last.
    pub answered: Option<Nanos>,
    /// The stranger has answered since then.
    pub stranger_since: Nanos,
    /// Frames get there and back, if chance lets them.
    pub reached: bool,
    /// Chance lets all of them, and at once.
    pub surely: bool,
}

/// What the judges remember.
#[derive(Debug)]
pub struct Checker {
    /// T/8.
    probe: Nanos,
    /// Whether half or fewer may serve.
    pub minorities: Minorities,
    /// The last time that a node could hear more than before.
    pub healed_at: Nanos,
    offers: Vec<Offer>,
    agreed: BTreeSet<(ServiceId, usize, usize)>,
    values: BTreeMap<(u64, Epoch), u64>,
    newest: Option<State>,
    /// Lineage and term → lowest and highest version committed in it.
    terms: BTreeMap<(u64, Term), (u64, u64)>,
    /// When a process ended last.
    forgot_at: Option<Nanos>,
    /// When clients reached the holder of a service last.
    pub reached: BTreeMap<ServiceId, Nanos>,
    /// Broken promises: the run ends with the first.
    pub violations: Vec<Violation>,
}

impl Checker {
    /// Another T; what was offered by a longer one before may go on.
    pub fn allow_interval(&mut self, hello_interval: Nanos) {
        self.probe = self.probe.max(hello_interval / 8);
    }

    /// Judges for a cluster with this T.
    pub fn new(hello_interval: Nanos, minorities: Minorities) -> Self {
        Checker {
            probe: hello_interval / 8,
            minorities,
            healed_at: 0,
            offers: Vec::new(),
            agreed: BTreeSet::new(),
            values: BTreeMap::new(),
            newest: None,
            terms: BTreeMap::new(),
            forgot_at: None,
            reached: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// A promise is broken.
    pub fn broken(&mut self, at: Nanos, promise: &'static str, what: String) {
        self.violations.push(Violation { at, promise, what });
    }

    /// The newest committed state that anybody told.
    pub fn newest(&self) -> Option<&State> {
        self.newest.as_ref()
    }

    /// A node sends this: offers of handovers, and committed states, of which one epoch has only one.
    pub fn sent(&mut self, at: Nanos, from: usize, to: Destination, packet: &Packet) {
        match packet {
            Packet::FailBack { service, nonce } => {
                let Destination::Node(to) = to else { return };
                self.offered(Offer { service: *service, from, to: place(to), nonce: *nonce, at });
            }
            Packet::State { committed: true, state } => self.committed(at, from, state),
            _ => {}
        }
    }

    fn offered(&mut self, offer: Offer) {
        let same = |old: &Offer| (old.service, old.from, old.to) == (offer.service, offer.from, offer.to);
        match self.offers.iter_mut().find(|old| same(old)) {
            // Repeated every 2 ms: counts from the first.
            Some(old) if old.nonce == offer.nonce => {}
            Some(old) => *old = offer,
            None => self.offers.push(offer),
        }
    }

    fn committed(&mut self, at: Nanos, from: usize, state: &State) {
        let value = digest(state);
        if !self.values.contains_key(&(state.lineage, state.epoch)) {
            self.nothing_lost(at, from, state);
        }
        let known = *self.values.entry((state.lineage, state.epoch)).or_insert(value);
        if known != value {
            let what = format!("n{} commits another value for epoch {}", from + 1, state.epoch);
            self.broken(at, "S one value an epoch", what);
        }
        if self.values.len() > REMEMBERED {
            self.values.pop_first();
        }
        for slot in &state.table {
            if let (Some(holder), Phase::Handover { to }) = (slot.holder, slot.phase) {
                self.agreed.insert((slot.service, place(holder), place(to)));
            }
        }
        if self.newest.as_ref().is_none_or(|newest| newest.epoch < state.epoch) {
            self.newest = Some(state.clone());
        }
    }

    /// A process ended, and with it the tables that it acknowledged: they are not waited for on its disk.
    pub fn forgets(&mut self, at: Nanos) {
        self.forgot_at = Some(at);
        self.terms.clear();
    }

    /// E3: a new term goes on where the one before ended. A later term has later versions throughout.
    fn nothing_lost(&mut self, at: Nanos, from: usize, state: &State) {
        let Epoch { term, version } = state.epoch;
        let memories_whole = self.forgot_at.is_none_or(|forgot| at > forgot + FORGOTTEN);
        // A minority that goes on alone has asked no majority what was committed.
        if self.minorities.any() || !memories_whole {
            return;
        }
        let lost = self.terms.iter().any(|(&(lineage, other), &(lowest, highest))| {
            lineage == state.lineage
                && ((other < term && highest >= version) || (other > term && lowest <= version))
        });
        if lost {
            let what = format!("n{} commits {} beside {:?}", from + 1, state.epoch, self.terms);
            self.broken(at, "S no commit is lost", what);
        }
        let versions = self.terms.entry((state.lineage, term)).or_insert((version, version));
        *versions = (versions.0.min(version), versions.1.max(version));
    }

    /// P1 at this instant, for one service. When two holders are allowed to be: until when.
    pub fn one_holder(
        &mut self,
        at: Nanos,
        service: ServiceId,
        hosts: &[Host],
        network: &Network,
    ) -> Option<Nanos> {
        let mut again = None;
        for (first, one) in hosts.iter().enumerate() {
            if !one.has(service) {
                continue;
            }
            for (second, other) in hosts.iter().enumerate().skip(first + 1) {
                let clients = network.clients(first);
                if !other.has(service) || clients.is_none() || clients != network.clients(second) {
                    continue;
                }
                match self.excuse(service, first, second, hosts) {
                    Some(until) if at < until => again = Some(until),
                    _ => {
                        let what = format!(
                            "clients reach service {} on n{} and n{} at once",
                            service.0,
                            first + 1,
                            second + 1
                        );
                        self.broken(at, "P1 one holder", what);
                        return None;
                    }
                }
            }
        }
        again
    }

    /// P2 while more than half of the nodes are well: clients reach a holder of it, or did so within `nobody`. How long ago.
    pub fn some_holder(
        &mut self,
        (at, nobody): (Nanos, Nanos),
        service: ServiceId,
        hosts: &[Host],
        network: &Network,
    ) -> Nanos {
        let reached = |(node, host): (usize, &Host)| host.has(service) && network.clients(node) == Some(0);
        if hosts.iter().enumerate().any(reached) {
            self.reached.insert(service, at);
        }
        // None is missed that was never there.
        let ago = at - *self.reached.get(&service).unwrap_or(&at);
        if ago > nobody {
            let what = format!("for {} ms clients reach nobody who has service {}", ago / MILLI, service.0);
            self.broken(at, "P2 some holder", what);
        }
        ago
    }

    /// F2, `on_conflict = wait`: what a stranger has is left to it. Not judged where its answer may not have come: the LAN
    /// changed since, or loses and delays what it carries. And not where the holder handed it over: nobody looks then (H3).
    pub fn taken(&mut self, at: Nanos, take: &Take) {
        let handed_over = self.offers.iter().any(|offer| {
            (offer.service, offer.to) == (take.service, take.node) && take.ordered < offer.at + OFFERED
        });
        let heard = take.answered.is_some_and(|answered| answered >= self.healed_at);
        let must_have = take.surely && self.healed_at <= take.looks_since;
        let there = take.stranger_since <= take.looks_since && take.reached;
        if there && (heard || must_have) && !handed_over {
            let (node, service) = (take.node + 1, take.service.0);
            let what = format!("n{node} takes service {service}, for which a stranger answers");
            self.broken(at, "F2 a stranger's address is left alone", what);
        }
    }

    /// Until when the giver of this offer and `other` may both have it, if at all.
    fn overlap(&self, offer: &Offer, other: usize, giver: &Host) -> Option<Nanos> {
        let until = offer.at + HANDOVER_PROBES * self.probe;
        // Stopped or dead since it was offered: its kernel has the address as long as it likes, whoever of
        // the others has it meanwhile.
        let silenced = !giver.runs() || giver.last_silenced > offer.at;
        if silenced {
            return Some(until.max(giver.last_silenced + KERNEL));
        }
        (offer.to == other).then_some(until)
    }

    /// Until when these two may both have it, if at all.
    fn excuse(&self, service: ServiceId, one: usize, other: usize, hosts: &[Host]) -> Option<Nanos> {
        let handover = [(one, other), (other, one)].into_iter().filter_map(|(from, to)| {
            let given = |offer: &&Offer| {
                (offer.service, offer.from) == (service, from)
                    && self.agreed.contains(&(service, from, offer.to))
            };
            let offers = self.offers.iter().filter(given);
            offers.filter_map(|offer| self.overlap(offer, to, &hosts[from])).max()
        });
        // Nobody takes an address that he could have seen on somebody: only old holders meet, and who had
        // already decided when the LANs healed.
        let decided = self.healed_at + UNDER_WAY;
        let old = |node: usize| hosts[node].alias(service).is_some_and(|alias| alias.since <= decided);
        let meets = self.minorities == Minorities::Meet;
        let meeting = (meets && old(one) && old(other)).then_some(self.healed_at + MEETING);
        handover.chain(meeting).max()
    }
}
