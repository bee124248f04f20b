//! What befalls the cluster, and how it is healed. Called by the queue while `stormy`.

use super::{Event, Mend, World};
use crate::config::Config;
use crate::controller::Input;
use crate::simulator::clock::{MILLI, Nanos, SECOND};
use crate::simulator::network::lan;
use crate::simulator::plan::{Class, node_id, pause_before};
use crate::simulator::random::Random;
use crate::simulator::script::Cue;
use crate::vocabulary::{LinkRole, ServiceId};
use crate::wire::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Both directions more often than one.
const CUTS_OF_A_PORT: [(bool, bool); 4] = [(false, false), (false, false), (true, false), (false, true)];

impl World {
    /// A fault is drawn, and written down; where a script is played, its cues come instead.
    pub(super) fn fault(&mut self, class: Class, every: Nanos) {
        if !self.stormy || self.script.is_some() {
            return;
        }
        let (round, after) = (self.round, self.now - self.round_began);
        let before = self.random.clone();
        self.befall(class);
        let pause = pause_before(every, &mut self.random);
        self.schedule(pause, Event::Fault { class, every });
        self.drawn.push(Cue { round, after, class, before, behind: self.random.clone() });
    }

    /// A fault of the script: it is drawn with the chance of then.
    pub(super) fn cue(&mut self, number: usize) {
        let Some(script) = self.script.clone().filter(|_| self.stormy) else { return };
        let Cue { class, before, behind, .. } = &script.cues[number];
        let same = self.random == *before;
        if script.only.contains(&number) {
            let now = std::mem::replace(&mut self.random, before.clone());
            self.befall(*class);
            self.random = if same { behind.clone() } else { now };
        } else if same {
            self.random = behind.clone();
            if script.chance > 0 {
                self.random = Random::new(self.random.number() ^ script.chance);
            }
        }
    }

    fn befall(&mut self, class: Class) {
        self.statistics.faults += 1;
        match class {
            Class::Power
            | Class::Daemon
            | Class::Pause
            | Class::Port
            | Class::Link
            | Class::Cable
            | Class::Stop => {
                let node = self.some_node();
                self.befall_one(class, node);
            }
            Class::Several => self.several_die(),
            Class::Split => self.lan_splits(),
            Class::Crosswise => self.crosswise(),
            Class::Pair => self.pair_cut(),
            Class::Operator => self.somebody_types(),
            Class::Reload => self.reload(),
            Class::Retime => self.retime(),
            Class::Isolation => self.isolation(),
            Class::Move => self.move_typed(),
            Class::Amnesia => self.amnesia(),
            Class::Arbiter => self.arbiter_fails(),
            Class::Checks => self.checks_fail(),
            Class::Hands => self.hands(),
            Class::Refused => self.sends_refused(),
            Class::Stranger => self.stranger_comes(),
            Class::Few => self.one_of_few_is_ill(),
        }
    }

    pub(super) fn befall_one(&mut self, class: Class, node: usize) {
        match class {
            Class::Power => self.dies(node),
            Class::Daemon => self.daemon_dies(node),
            Class::Pause => self.process_stops(node),
            Class::Port => self.port_cut(node),
            Class::Link => self.link_cut(node),
            Class::Cable => self.cables_cut(node),
            Class::Stop => self.orderly_stop(node),
            other => unreachable!("{other:?} befalls more than one node"),
        }
    }

    /// How long a fault lasts: from a few milliseconds to several seconds, each scale alike.
    pub(super) fn lasts(&mut self) -> Nanos {
        let longest = self.random.pick(&[20, 100, 300, 1_000, 3_000, 6_000]);
        self.random.between(5, longest) * MILLI
    }

    pub(super) fn some_node(&mut self) -> usize {
        self.random.below(self.hosts.len() as u64) as usize
    }

    fn dies(&mut self, node: usize) {
        let back = self.lasts();
        self.power_cut(node);
        self.schedule(back, Event::Boot { node });
    }

    fn several_die(&mut self) {
        let mut nodes: Vec<usize> = (0..self.hosts.len()).collect();
        self.random.shuffle(&mut nodes);
        // Two most often; all of them sometimes: the cold start.
        let count =
            if self.random.chance(600) { 2 } else { self.random.between(2, nodes.len() as u64) as usize };
        for node in nodes.into_iter().take(count) {
            self.dies(node);
        }
    }

    /// Kernel, process and memory are gone in the same instant; the disk stays.
    pub fn power_cut(&mut self, node: usize) {
        self.fault_told(node, "power cut");
        self.end_process(node);
        self.drop_aliases(node, "power cut");
        self.hosts[node].powered = false;
        // A record on its way to the disk may have got there without anybody having been told.
        if self.random.chance(500)
            && let Some((record, _)) = self.unwritten.take()
        {
            self.hosts[node].disk.record = Some(record);
        }
    }

    /// The process is no more; the kernel keeps what it has.
    pub(super) fn end_process(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        host.paused = None;
        host.held.clear();
        host.life += 1;
        self.unwritten = host.process.take().and_then(|process| process.writing);
        self.checker.forgets(self.now);
        self.kernel_alone(node);
    }

    fn daemon_dies(&mut self, node: usize) {
        if self.hosts[node].process.is_none() {
            return;
        }
        if self.random.chance(500) {
            return self.worker_dies(node);
        }
        self.fault_told(node, "daemon dies, guardian and all");
        self.end_process(node);
        let back = self.lasts();
        self.schedule(back, Event::Boot { node });
    }

    fn process_stops(&mut self, node: usize) {
        if !self.hosts[node].runs() {
            return;
        }
        self.fault_told(node, "process stopped");
        self.hosts[node].paused = Some(self.now);
        self.kernel_alone(node);
        if self.random.chance(300) {
            self.worker_hangs(node);
        }
        let back = self.lasts();
        self.schedule(back, Event::Resume { node });
    }

    fn lan_splits(&mut self) {
        let parts = self.random.between(2, 3);
        let groups = self.some_groups(parts);
        let role = self.random.pick(&LinkRole::ALL);
        let roles = if self.random.chance(400) { LinkRole::ALL.to_vec() } else { vec![role] };
        let lasts = self.lasts();
        self.fault_told(0, &format!("{roles:?} split into {groups:?}"));
        for role in roles {
            self.network.split(role, &groups);
            if role == LinkRole::External && self.has_arbiter() && self.network.arbiter_on {
                // On either side, or alone: the gateway's own cable.
                self.network.arbiter = self.random.below(parts + 1) as u8;
            }
            self.schedule(lasts, Event::Mend(Mend::Whole(role)));
        }
        self.judge_all();
    }

    fn crosswise(&mut self) {
        // In three pieces members meet and their controllers do not.
        let (internal, external) = (self.some_groups(2), self.some_groups(3));
        self.fault_told(0, &format!("both split into {internal:?}"));
        for role in LinkRole::ALL {
            self.network.split(role, &internal);
        }
        let met = self.random.between(1_000, 3_000) * MILLI;
        let whole = met + self.random.between(4_000, 7_000) * MILLI;
        self.schedule(met, Event::Mend(Mend::Apart(LinkRole::External, external.into())));
        for role in LinkRole::ALL {
            self.schedule(whole, Event::Mend(Mend::Whole(role)));
        }
        self.judge_all();
    }

    fn some_groups(&mut self, parts: u64) -> Vec<u8> {
        (0..self.hosts.len()).map(|_| self.random.below(parts) as u8).collect()
    }

    fn has_arbiter(&self) -> bool {
        !self.config.cluster.arbiter.is_empty()
    }

    fn arbiter_fails(&mut self) {
        self.fault_told(0, "the arbiter is off");
        self.network.arbiter_on = false;
        let lasts = self.lasts();
        self.schedule(lasts, Event::Mend(Mend::Arbiter));
    }

    /// What they say need not make sense: whatever it is, nobody is homeless for it, and nothing is held twice.
    fn checks_fail(&mut self) {
        let node = self.some_node();
        if !self.hosts[node].runs() {
            return;
        }
        let all: Vec<ServiceId> = self.config.services.iter().map(|service| service.id).collect();
        let services: Vec<ServiceId> = all.into_iter().filter(|_| self.random.chance(400)).collect();
        let given_up: Vec<ServiceId> = services.iter().copied().filter(|_| self.random.chance(700)).collect();
        self.fault_told(node, &format!("its checks: unfit for {services:?}, gives up {given_up:?}"));
        self.feed(node, Input::Unfit { services, given_up });
        if self.random.chance(300) {
            self.fault_told(node, "the gateway does not answer it");
            self.feed(node, Input::Gateway { silent: true });
        }
        let lasts = self.lasts();
        self.schedule(lasts, Event::Mend(Mend::Checks(node)));
    }

    fn port_cut(&mut self, node: usize) {
        let role = self.random.pick(&LinkRole::ALL);
        let (out, inward) = self.random.pick(&CUTS_OF_A_PORT);
        let carrier = out || inward || self.random.chance(500);
        self.unplugged(node, role, (out, inward), carrier);
    }

    fn link_cut(&mut self, node: usize) {
        let role = self.random.pick(&LinkRole::ALL);
        let silently = role == LinkRole::Internal && self.random.chance(500);
        let directions = if silently { self.random.pick(&CUTS_OF_A_PORT) } else { (false, false) };
        self.unplugged(node, role, directions, silently);
    }

    fn unplugged(&mut self, node: usize, role: LinkRole, (out, inward): (bool, bool), carrier: bool) {
        self.fault_told(node, &format!("{role} port: out {out}, in {inward}, carrier {carrier}"));
        self.network.plug(role, node, out, inward);
        self.carrier(node, role, carrier);
        let lasts = self.lasts();
        self.cuts[node] += 1;
        self.schedule(lasts, Event::Mend(Mend::Port(role, node)));
        self.judge_all();
    }

    fn cables_cut(&mut self, node: usize) {
        let lasts = self.lasts();
        let carrier = self.random.chance(500);
        self.fault_told(node, &format!("both ports cut, carrier {carrier}"));
        for role in LinkRole::ALL {
            self.network.plug(role, node, false, false);
            self.carrier(node, role, carrier);
            self.cuts[node] += 1;
            self.schedule(lasts, Event::Mend(Mend::Port(role, node)));
        }
        self.judge_all();
    }

    fn pair_cut(&mut self) {
        let (one, other) = (self.some_node(), self.some_node());
        if one == other {
            return;
        }
        // Where half may serve alone, the look is the only guard, and it must not be blinded.
        let external = !self.checker.minorities.any() && self.random.chance(400);
        let role = if external { LinkRole::External } else { LinkRole::Internal };
        let both = self.random.chance(600);
        let both_lans = !self.checker.minorities.any() && self.random.chance(300);
        self.fault_told(
            one,
            &format!("{role} to n{} cut, both ways {both}, both LANs {both_lans}", other + 1),
        );
        let lasts = self.lasts();
        let roles = if both_lans { LinkRole::ALL.to_vec() } else { vec![role] };
        for role in roles {
            self.network.cut_pair(role, one, other, true);
            if both {
                self.network.cut_pair(role, other, one, true);
            }
            self.schedule(lasts, Event::Mend(Mend::Pair(role, one, other)));
        }
    }

    /// One node alone, or two groups; clients notice nothing.
    fn isolation(&mut self) {
        let lone = self.some_node();
        let alone = self.random.chance(500);
        let side = |world: &mut Self, node| if alone { node == lone } else { world.random.chance(500) };
        let groups: Rc<[u8]> = (0..self.hosts.len()).map(|node| u8::from(side(self, node))).collect();
        let (there, back) = self.random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        let roles = if self.random.chance(700) { &LinkRole::ALL[..] } else { &LinkRole::ALL[..1] };
        let lasts = self.lasts();
        self.fault_told(lone, &format!("{roles:?}: isolated {groups:?}, there {there}, back {back}"));
        for &role in roles {
            self.cut_groups(role, &groups, |from, to| if from < to { there } else { back });
            self.schedule(lasts, Event::Mend(Mend::Isolation(role, groups.clone())));
        }
    }

    fn amnesia(&mut self) {
        let lone = self.some_node();
        let groups: Rc<[u8]> = (0..self.hosts.len()).map(|node| u8::from(node == lone)).collect();
        self.fault_told(lone, "isolated, all others lose their power");
        // Long enough for the others to elect one of them, mostly too short to find the lone one dead.
        let back = self.random.below(300 * MILLI);
        let lasts = back + self.random.between(200, 700) * MILLI;
        for role in LinkRole::ALL {
            self.cut_groups(role, &groups, |_, _| true);
            self.schedule(lasts, Event::Mend(Mend::Isolation(role, groups.clone())));
        }
        for node in (0..self.hosts.len()).filter(|node| *node != lone) {
            self.power_cut(node);
            let jitter = self.random.below(20 * MILLI);
            self.schedule(back + jitter, Event::Boot { node });
        }
        self.stormy = false;
    }

    /// Cuts what goes from one group to another where `cut` says so, and mends it elsewhere.
    fn cut_groups(&mut self, role: LinkRole, groups: &[u8], cut: impl Fn(u8, u8) -> bool) {
        for (from, one) in groups.iter().enumerate() {
            for (to, other) in groups.iter().enumerate().filter(|(_, other)| *other != one) {
                self.network.cut_pair(role, from, to, cut(*one, *other));
            }
        }
    }

    fn carrier(&mut self, node: usize, role: LinkRole, up: bool) {
        let host = &mut self.hosts[node];
        if host.carrier[lan(role)] == up {
            return;
        }
        host.carrier[lan(role)] = up;
        let life = host.life;
        let after = self.random.below(MILLI);
        self.schedule(after, Event::Carrier { node, life, role });
    }

    pub(super) fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Whole(role) => {
                self.fault_told(0, &format!("{role} whole again"));
                let groups = vec![0; self.hosts.len()];
                self.network.split(role, &groups);
                if role == LinkRole::External {
                    self.network.arbiter = 0;
                }
                self.judge_all();
            }
            Mend::Apart(role, groups) => {
                self.fault_told(0, &format!("{role} split into {groups:?}"));
                self.network.split(role, &groups);
                self.judge_all();
            }
            Mend::Port(role, node) => {
                self.fault_told(node, &format!("{role} port good again"));
                self.cuts[node] -= 1;
                self.network.plug(role, node, true, true);
                self.carrier(node, role, true);
                self.judge_all();
            }
            Mend::Pair(role, one, other) => {
                self.fault_told(one, &format!("{role} to n{} good again", other + 1));
                self.network.cut_pair(role, one, other, false);
                self.network.cut_pair(role, other, one, false);
            }
            Mend::Checks(node) if self.hosts[node].runs() => {
                self.fault_told(node, "its checks are well");
                self.feed(node, Input::Unfit { services: Vec::new(), given_up: Vec::new() });
                self.feed(node, Input::Gateway { silent: false });
            }
            // A new life knows nothing of it; one that is stopped hears it when it goes on.
            Mend::Checks(node) if self.hosts[node].paused.is_some() => {
                self.schedule(MILLI * 50, Event::Mend(Mend::Checks(node)));
            }
            Mend::Checks(_) => {}
            Mend::Arbiter => {
                self.fault_told(0, "the arbiter is back");
                self.network.arbiter_on = true;
            }
            Mend::Sends(role, node) => self.sends_leave(role, node),
            Mend::Stranger(service) => self.stranger_goes(service),
            Mend::Isolation(role, groups) => {
                self.fault_told(0, &format!("{role} isolation over"));
                self.cut_groups(role, &groups, |_, _| false);
            }
        }
    }

    fn somebody_types(&mut self) {
        let node = self.some_node();
        let service = self.random.pick(&self.config.services.iter().map(|s| s.id).collect::<Vec<_>>());
        let other = node_id(self.some_node());
        let command = match self.random.below(8) {
            0..3 => Command::Move { service, to: other },
            3 => Command::Failback { service: self.random.chance(500).then_some(service) },
            4 => Command::Standby { node: other },
            5 => Command::Online { node: other },
            6 => Command::Freeze,
            _ => Command::Thaw,
        };
        self.command(node, command);
    }

    fn move_typed(&mut self) {
        let (node, to) = (self.some_node(), node_id(self.some_node()));
        let service = self.random.pick(&self.config.services.iter().map(|s| s.id).collect::<Vec<_>>());
        self.command(node, Command::Move { service, to });
    }

    /// An operator's request on this node.
    pub fn command(&mut self, node: usize, command: Command) {
        if self.hosts[node].runs() {
            self.fault_told(node, &format!("operator: {command:?}"));
            let id = self.random.number();
            self.feed(node, Input::Command { id, command });
        }
    }

    fn orderly_stop(&mut self, node: usize) {
        if self.hosts[node].runs() && !self.hosts[node].leaving {
            self.fault_told(node, "TERM");
            self.hosts[node].leaving = true;
            self.feed(node, Input::Stop);
        }
    }

    fn reload(&mut self) {
        let mut changed: Config = (*self.config).clone();
        let at = self.random.below(changed.services.len() as u64) as usize;
        changed.services[at].weight = self.random.pick(&[1.0, 1.0, 2.0, 0.5]);
        changed.cluster.failback_delay = Duration::from_millis(self.random.between(200, 3_000));
        self.fault_told(0, "everywhere: reload");
        self.all_reload(changed);
    }

    /// Another T.
    fn retime(&mut self) {
        let mut changed: Config = (*self.config).clone();
        let interval = Duration::from_millis(self.random.pick(&[50, 100, 200, 400]));
        changed.cluster.hello_interval = interval;
        self.checker.allow_interval(interval.as_nanos() as Nanos);
        self.fault_told(0, &format!("everywhere: hello_interval = {interval:?}"));
        self.all_reload(changed);
    }

    fn all_reload(&mut self, changed: Config) {
        self.config = Arc::new(changed);
        for node in 0..self.hosts.len() {
            if self.hosts[node].runs() {
                self.feed(node, Input::Reload(self.config.clone()));
            }
        }
    }

    /// No more faults: everything whole, everybody running. What is under way ends by itself.
    pub fn heal(&mut self) {
        self.stormy = false;
        self.ills = Default::default();
        self.fault_told(0, "all is healed");
        self.network.heal();
        self.foreign_ends();
        if self.config.cluster.hello_interval != self.first_interval {
            let mut changed: Config = (*self.config).clone();
            changed.cluster.hello_interval = self.first_interval;
            self.all_reload(changed);
        }
        for node in 0..self.hosts.len() {
            for role in LinkRole::ALL {
                self.carrier(node, role, true);
            }
            if self.hosts[node].paused.is_some() {
                self.resume(node);
            } else if self.hosts[node].process.is_none() {
                let after = self.random.below(SECOND / 2);
                self.schedule(after, Event::Boot { node });
            }
        }
        self.judge_all();
    }
}
