//! The ground of every placement: what this node knows of all places. The controller knows it first-hand; the others
//! by what it tells them with STATUS, so that any node can say where what would go.

use super::damping::{Place, until_reuse};
use super::*;
use crate::wire::Remark;

/// What the controller told last.
#[derive(Debug, Clone)]
pub(in crate::controller) struct Told {
    pub at: Instant,
    pub remarks: Vec<Remark>,
}

impl Controller {
    /// What a placement in that state depends on.
    pub(in crate::controller) fn ground(&self, state: &State) -> Ground {
        let half_life = self.config.cluster.damping;
        let mut nodes: BTreeMap<NodeId, NodeGround> = BTreeMap::new();
        for member in &state.members {
            let obstacle = self.obstacle(state, member.id);
            let load_permille = self.measured_load(member.id);
            nodes.insert(member.id, NodeGround { obstacle, load_permille, ..NodeGround::default() });
        }
        let mut places: BTreeMap<(NodeId, ServiceId), PlaceGround> = BTreeMap::new();
        for remark in self.remarks(self.clock) {
            let penalty = remark.penalty;
            let reuse = remark.damped.then(|| until_reuse(f64::from(penalty), half_life));
            match (remark.service, nodes.get_mut(&remark.node)) {
                (_, None) => {}
                (None, Some(node)) => {
                    (node.penalty, node.reuse, node.cut_off) = (penalty, reuse, remark.unfit);
                }
                (Some(service), Some(_)) => {
                    let failed = remark.failed_ms.map(|left| Duration::from_millis(u64::from(left)));
                    let place = PlaceGround { failed, unfit: remark.unfit, penalty, reuse };
                    places.insert((remark.node, service), place);
                }
            }
        }
        let controller = self.controller().unwrap_or(self.me);
        Ground { config: Arc::clone(&self.config), state: state.clone(), controller, nodes, places }
    }

    /// What stands against places: of the controller its own notes, of the others what it told.
    pub(in crate::controller) fn remarks(&self, now: Instant) -> Vec<Remark> {
        let Some(office) = &self.office else { return self.aged_remarks(now) };
        let (notes, cluster) = (&office.notes, &self.config.cluster);
        let mut remarks: BTreeMap<Place, Remark> = BTreeMap::new();
        for (place, penalty, damped) in notes.damping.all(now, cluster.damping) {
            let remark = at_place(&mut remarks, place);
            (remark.penalty, remark.damped) = (penalty, damped);
        }
        for (&(node, service), &failed) in &notes.failures {
            let left = (failed + cluster.forget).since(now).as_millis();
            at_place(&mut remarks, (node, Some(service))).failed_ms =
                Some(u32::try_from(left).unwrap_or(u32::MAX));
        }
        let reports = office.followers.iter().filter(|(node, _)| **node != self.me);
        let told = reports.filter_map(|(&node, follower)| Some((node, &follower.report.as_ref()?.1.unfit)));
        for (node, services) in told.chain([(self.me, &self.unfit)]) {
            if self.is_cut_off(node) {
                at_place(&mut remarks, (node, None)).unfit = true;
            }
            for &service in services {
                at_place(&mut remarks, (node, Some(service))).unfit = true;
            }
        }
        remarks.into_values().collect()
    }

    /// The worst of them, for STATUS.
    pub(in crate::controller) fn told_remarks(&self, now: Instant) -> Vec<Remark> {
        if self.office.is_none() {
            return Vec::new();
        }
        let mut remarks = self.remarks(now);
        remarks.sort_by_key(|remark| {
            let bad = [remark.damped, remark.failed_ms.is_some(), remark.unfit];
            std::cmp::Reverse((bad.iter().filter(|bad| **bad).count(), remark.penalty))
        });
        remarks.truncate(crate::wire::MAX_REMARKS);
        remarks
    }

    /// What the controller told, as it is by now.
    fn aged_remarks(&self, now: Instant) -> Vec<Remark> {
        let (Some(told), half_life) = (&self.told, self.config.cluster.damping) else { return Vec::new() };
        let passed = now.since(told.at);
        let passed_ms = u32::try_from(passed.as_millis()).unwrap_or(u32::MAX);
        let mut damping = Damping::default();
        for remark in &told.remarks {
            damping.inherit(told.at, (remark.node, remark.service), remark.penalty, remark.damped);
        }
        let scores: BTreeMap<Place, (u32, bool)> =
            damping.all(now, half_life).map(|(place, penalty, damped)| (place, (penalty, damped))).collect();
        let aged = told.remarks.iter().map(|remark| {
            let (penalty, damped) = scores.get(&(remark.node, remark.service)).copied().unwrap_or((0, false));
            let failed_ms = remark.failed_ms.filter(|&left| left > passed_ms).map(|left| left - passed_ms);
            Remark { penalty, damped, failed_ms, ..*remark }
        });
        aged.filter(|remark| remark.penalty > 0 || remark.failed_ms.is_some() || remark.unfit).collect()
    }

    /// The office is over: what this node held against places it remembers as if it had been told.
    pub(in crate::controller) fn keep_remarks(&mut self, now: Instant) {
        self.told = Some(Told { at: now, remarks: self.remarks(now) });
    }

    /// The office begins: it goes on with what the last controller told.
    pub(in crate::controller) fn inherited_notes(
        &self,
        now: Instant,
    ) -> (Damping, BTreeMap<(NodeId, ServiceId), Instant>) {
        let (mut damping, mut failures) = (Damping::default(), BTreeMap::new());
        for remark in self.aged_remarks(now) {
            if remark.penalty > 0 {
                damping.inherit(now, (remark.node, remark.service), remark.penalty, remark.damped);
            }
            if let (Some(service), Some(left)) = (remark.service, remark.failed_ms) {
                let left = Duration::from_millis(u64::from(left)).min(self.config.cluster.forget);
                failures.insert((remark.node, service), now + left - self.config.cluster.forget);
            }
        }
        (damping, failures)
    }

    /// Who is no member any more in the same life, and did not say that it would go, came and went once more.
    pub(in crate::controller) fn charge_departed(
        &mut self,
        now: Instant,
        before: Option<&State>,
        state: &State,
    ) {
        let half_life = self.config.cluster.damping;
        let said_so = |member: &Member| {
            let peer = self.peers.get(&member.id).filter(|peer| peer.in_order);
            member.leaving || peer.is_some_and(|peer| peer.left >= Some(member.incarnation))
        };
        let gone = before.iter().flat_map(|state| &state.members).filter(|old| {
            state.member(old.id).is_none_or(|member| member.incarnation != old.incarnation) && !said_so(old)
        });
        let gone: Vec<NodeId> = gone.map(|member| member.id).collect();
        let Some(office) = &mut self.office else { return };
        office.notes.damping.tidy(now, half_life);
        for node in gone {
            office.notes.damping.charge(now, (node, None), half_life);
        }
    }

    /// For how long that node is no target of what can wait for that service, if it is none.
    pub(in crate::controller) fn damped_for(&self, node: NodeId, service: ServiceId) -> Option<Duration> {
        let half_life = self.config.cluster.damping;
        let notes = &self.office.as_ref()?.notes;
        let of = |place| notes.damping.reuse_in(self.clock, place, half_life);
        of((node, None)).max(of((node, Some(service))))
    }

    /// What `load` measures on that node, in thousandths.
    pub(in crate::controller) fn measured_load(&self, node: NodeId) -> Option<u32> {
        if self.config.cluster.load == LoadSource::Services {
            return None;
        }
        if node == self.me {
            return self.measured;
        }
        if let Some((_, report)) = self
            .office
            .as_ref()
            .and_then(|office| office.followers.get(&node))
            .and_then(|f| f.report.as_ref())
        {
            return report.load_permille;
        }
        let status = self.peers.get(&node)?.status.as_ref()?;
        status.measured.then_some(status.load_permille)
    }

    /// How much everybody has to do, for a placement.
    pub(in crate::controller) fn loads(&self, state: &State) -> Loads {
        let ids = state.members.iter().map(|member| member.id);
        let measured = ids.filter_map(|id| Some((id, self.measured_load(id)?)));
        Loads::of(state, &self.config).measured(&self.config, measured)
    }
}

fn at_place(remarks: &mut BTreeMap<Place, Remark>, place: Place) -> &mut Remark {
    let (node, service) = place;
    let empty = Remark { node, service, penalty: 0, damped: false, failed_ms: None, unfit: false };
    remarks.entry(place).or_insert(empty)
}
