//! What the nodes' checks say of them. Soft: it makes one node better than another, and never leaves an address with
//! nobody. Who holds a service keeps it until its own policy gives it up, and a fit node is there to take it.

use super::*;
use crate::config::{CheckKind, CheckScope};

/// Reports follow a change at once; one that is lost comes again within a few p.
const ON_THE_WAY: u32 = 4;

impl Controller {
    /// The own checks' word.
    pub(in crate::controller) fn on_unfit(
        &mut self,
        now: Instant,
        services: Vec<ServiceId>,
        given_up: Vec<ServiceId>,
    ) {
        (self.unfit, self.given_up) = (services, given_up);
        self.dirty = true;
        if self.office.is_none() {
            self.ask(now);
        }
    }

    /// The gateway's silence, or its end.
    pub(in crate::controller) fn on_gateway(&mut self, now: Instant, silent: bool) {
        if self.cut_off == silent {
            return;
        }
        self.cut_off = silent;
        self.dirty = true;
        if self.office.is_none() {
            self.ask(now);
        }
    }

    /// The gateway does not answer that node: it is a bad place for everything, and gives up all that it holds. Soft,
    /// as a check is: a node that no other can replace goes on.
    pub(in crate::controller) fn is_cut_off(&self, node: NodeId) -> bool {
        if node == self.me {
            return self.cut_off;
        }
        let follower = self.office.as_ref().and_then(|office| office.followers.get(&node));
        follower.and_then(|follower| follower.report.as_ref()).is_some_and(|(_, report)| report.cut_off)
    }

    /// Its checks say that it is a bad place for that service. What it said last counts, at whatever epoch.
    pub(in crate::controller) fn is_unfit(&self, node: NodeId, service: ServiceId) -> bool {
        self.is_cut_off(node) || self.told_of(node).is_some_and(|(unfit, _)| unfit.contains(&service))
    }

    fn is_unfit_for_some(&self, node: NodeId) -> bool {
        self.is_cut_off(node) || self.told_of(node).is_some_and(|(unfit, _)| !unfit.is_empty())
    }

    fn gives_up(&self, node: NodeId, service: ServiceId) -> bool {
        self.is_cut_off(node) || self.told_of(node).is_some_and(|(_, given_up)| given_up.contains(&service))
    }

    fn told_of(&self, node: NodeId) -> Option<(&[ServiceId], &[ServiceId])> {
        if node == self.me {
            return Some((&self.unfit, &self.given_up));
        }
        let (_, report) = self.office.as_ref()?.followers.get(&node)?.report.as_ref()?;
        Some((&report.unfit, &report.given_up))
    }

    /// Where a service that its holder gave up goes: the best fit node, once the others have had the time to see
    /// the same. What fails on half of the nodes is the check's fault, or that of something behind it.
    pub(in crate::controller) fn better_place(
        &mut self,
        now: Instant,
        next: &State,
        slot: &Slot,
        holder: NodeId,
        loads: &Loads,
    ) -> Option<NodeId> {
        let service = slot.service;
        let since = self.office.as_ref()?.notes.given_up.get(&(holder, service)).copied()?;
        let cut_off = self.is_cut_off(holder);
        let due = since + self.others_window(service, cut_off);
        if next.frozen || self.merging(now) {
            return None;
        }
        if now < due {
            self.look_again(due);
            return None;
        }
        if self.failing_on(next, service).is_some() {
            return None;
        }
        let ground = self.ground(next);
        let mut candidates = ground.candidates(service, Some(holder));
        candidates.retain(|&node| !self.is_unfit(node, service));
        ground.best_of(service, &candidates, loads)
    }

    /// How much later than the holder the others may see the same failure: as many results in a row, each at its
    /// own time of the interval. Nothing where only the holder looks.
    fn others_window(&self, service: ServiceId, cut_off: bool) -> Duration {
        let config = &self.config;
        let everywhere = config.checks.iter().filter(|check| match check.scope {
            CheckScope::Node => cut_off && check.kind == CheckKind::Gateway,
            CheckScope::Service(of) => of == service && !config.runs_only_where_held(check),
        });
        let longest = everywhere.map(|check| check.interval + check.timeout).max();
        longest.map_or(Duration::ZERO, |longest| longest + self.timing.p * ON_THE_WAY)
    }

    /// On how many nodes its checks fail, if that is at least half of those that could serve it, and more than one.
    fn failing_on(&self, state: &State, service: ServiceId) -> Option<u32> {
        let unfit = state.members.iter().filter(|member| self.is_unfit(member.id, service)).count();
        if unfit < 2 {
            return None;
        }
        let able = |node: NodeId| capacity(&self.config, node) > 0.0 && !self.is_down(node);
        let nodes: Vec<NodeId> =
            state.members.iter().map(|member| member.id).filter(|&id| able(id)).collect();
        let failing = nodes.iter().filter(|&&node| self.is_unfit(node, service)).count();
        (failing >= 2 && failing * 2 >= nodes.len()).then(|| u32::try_from(failing).unwrap_or(u32::MAX))
    }

    /// What `load` measures here. It moves nothing: it counts when something has to be placed.
    pub(in crate::controller) fn on_load(&mut self, now: Instant, measured: Option<u32>) {
        if self.measured != measured {
            self.measured = measured;
            if self.office.is_none() && self.is_member() {
                self.ask(now);
            }
        }
    }

    /// Who gave up what, since when; what is suspected is told once.
    pub(in crate::controller) fn note_fitness(&mut self, now: Instant, current: &State) {
        let silent_gateway = self.note_gateway(current);
        self.note_flaps(now, current);
        // Asked for each service only if any can be meant.
        let some_fail =
            current.members.iter().filter(|member| self.is_unfit_for_some(member.id)).count() >= 2;
        for slot in &current.table {
            let service = slot.service;
            let gives_up = slot.holder.filter(|&holder| self.gives_up(holder, service));
            let failing = if some_fail { self.failing_on(current, service) } else { None };
            let Some(office) = &mut self.office else { return };
            let notes = &mut office.notes;
            notes.given_up.retain(|(node, given), _| *given != service || Some(*node) == gives_up);
            if let Some(holder) = gives_up {
                let since = notes.given_up.entry((holder, service)).or_insert(now);
                // When it is well again the others may see that as much later, too.
                if failing.is_some() {
                    *since = now;
                }
            }
            match failing {
                // Of one gateway one word is enough.
                Some(_) if silent_gateway => {}
                Some(nodes) if notes.suspected.insert(service) => {
                    self.event(Event::CheckSuspected { service, nodes });
                }
                Some(_) => {}
                None => {
                    notes.suspected.remove(&service);
                }
            }
        }
    }

    /// Is the gateway silent for so many that it is suspected itself? That is told once.
    fn note_gateway(&mut self, current: &State) -> bool {
        let members = current.members.iter().map(|member| member.id).filter(|&id| !self.is_down(id));
        let members: Vec<NodeId> = members.collect();
        let silent = members.iter().filter(|&&node| self.is_cut_off(node)).count();
        let suspected = silent >= 2 && silent * 2 >= members.len();
        let Some(office) = &mut self.office else { return suspected };
        if suspected && !std::mem::replace(&mut office.notes.gateway_suspected, suspected) {
            self.event(Event::GatewaySuspected { nodes: u32::try_from(silent).unwrap_or(u32::MAX) });
        } else {
            office.notes.gateway_suspected = suspected;
        }
        suspected
    }

    /// A check that fails, an external link that is lost: each time is charged. What fails on half of the nodes is
    /// nobody's own.
    fn note_flaps(&mut self, now: Instant, current: &State) {
        let half_life = self.config.cluster.damping;
        let members: Vec<NodeId> = current.members.iter().map(|member| member.id).collect();
        let mut unfit: BTreeSet<(NodeId, ServiceId)> = BTreeSet::new();
        for &node in &members {
            let services = self.told_of(node).map_or(&[][..], |(unfit, _)| unfit);
            unfit.extend(services.iter().map(|&service| (node, service)));
        }
        let external: BTreeMap<NodeId, bool> =
            members.iter().map(|&node| (node, self.external_of(node) && !self.is_cut_off(node))).collect();
        let working = external.values().filter(|works| **works).count();
        let Some(office) = &self.office else { return };
        let mut charged: Vec<(NodeId, Option<ServiceId>)> = Vec::new();
        for &(node, service) in unfit.difference(&office.notes.unfit) {
            if self.failing_on(current, service).is_none() {
                charged.push((node, Some(service)));
            }
        }
        for (node, _) in external.iter().filter(|(_, works)| !**works) {
            if working * 2 > members.len() && office.notes.external.get(node) == Some(&true) {
                charged.push((*node, None));
            }
        }
        let Some(office) = &mut self.office else { return };
        for place in charged {
            office.notes.damping.charge(now, place, half_life);
        }
        if let Some(soonest) = office.notes.damping.soonest_reuse(now, half_life) {
            office.notes.look_again(now + soonest);
        }
        (office.notes.unfit, office.notes.external) = (unfit, external);
    }
}
