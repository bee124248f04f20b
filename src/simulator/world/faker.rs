//! The faker and the kernel: the wanted set of addresses made true, one system call after the other.
//!
//! The lease is looked at right before a call, and the call's effect is there within 0.3 ms; a slow one
//! *reports* late. (A call that takes effect long after its lease has ended is what the margin of L8 is
//! for, and no protocol can help beyond it.)

use super::{Event, World};
use crate::controller::Wanted;
use crate::simulator::clock::{MICRO, MILLI, Nanos};
use crate::simulator::host::Alias;
use crate::simulator::trace::Happening;
use crate::vocabulary::ServiceId;

/// What the kernel does not take is tried again when a lease comes.
const NEXT_LEASE: Nanos = 100 * MILLI;

impl World {
    pub(super) fn serve(&mut self, node: usize, wanted: Wanted) {
        let now = self.now;
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        let changed = process.faker.wanted.number != wanted.number;
        let faker = &mut process.faker;
        let before = std::mem::replace(&mut faker.wanted, wanted).services;
        let wanted = &faker.wanted.services;
        faker.coming.retain(|(service, _)| wanted.contains(service));
        let new = wanted.iter().filter(|service| !before.contains(service));
        faker.coming.extend(new.map(|&service| (service, now)));
        self.faker_alarm(node);
        self.forget_the_unwanted(node);
        // Every new set is answered, even if the kernel has it already.
        if changed && self.difference(node).is_none() {
            self.faker_reports(node);
        }
        self.faker_acts(node);
    }

    /// A wake-up at the end of the lease.
    fn faker_alarm(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(process) = host.process.as_mut() else { return };
        let local = host.clock.local(self.now);
        let wanted = &process.faker.wanted;
        let soonest = wanted.ending.iter().map(|(_, at)| *at).filter(|at| *at > local).min();
        let next = soonest.map_or(wanted.until, |at| at.min(wanted.until));
        let Some(at) = host.clock.moment(next) else { return };
        let sooner = process.faker.alarm.is_none_or(|alarm| at < alarm);
        if at <= self.now || !sooner {
            return;
        }
        process.faker.alarm = Some(at);
        let life = host.life;
        let late = self.scheduler();
        self.schedule_at(at + late, Event::FakerWakes { node, life });
    }

    pub(super) fn faker_wakes(&mut self, node: usize) {
        let now = self.now;
        if let Some(process) = self.hosts[node].process.as_mut()
            && process.faker.alarm.is_some_and(|alarm| alarm <= now)
        {
            process.faker.alarm = None;
        }
        self.faker_alarm(node);
        self.faker_acts(node);
    }

    /// The next difference between the wanted set and the kernel: removals first (L6).
    fn difference(&self, node: usize) -> Option<(ServiceId, bool)> {
        let host = &self.hosts[node];
        let faker = &host.process.as_ref()?.faker;
        let desired = faker.wanted.at(host.clock.local(self.now));
        let extra = host.aliases.iter().find(|alias| !desired.clone().any(|wanted| wanted == alias.service));
        if let Some(alias) = extra {
            return Some((alias.service, false));
        }
        if self.now < faker.retry_at.max(faker.stalled_until) {
            return None;
        }
        let doubts = |service| faker.doubted.iter().any(|&(it, until)| it == service && self.now < until);
        let waits = |service| {
            doubts(service) || faker.later.is_some_and(|(later, at)| later == service && self.now < at)
        };
        desired.clone().find(|&service| !host.has(service) && !waits(service)).map(|service| (service, true))
    }

    /// Begins the next system call, unless one is under way.
    fn faker_acts(&mut self, node: usize) {
        self.forget_the_unwanted(node);
        let Some((_, add)) = self.difference(node) else { return };
        let cost = self.random.between(10 * MICRO, if add { 300 * MICRO } else { 60 * MICRO });
        let life = self.hosts[node].life;
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        if !process.faker.busy {
            process.faker.busy = true;
            self.schedule(cost, Event::FakerDone { node, life });
        }
    }

    pub(super) fn faker_done(&mut self, node: usize) {
        if let Some(process) = self.hosts[node].process.as_mut() {
            process.faker.busy = false;
        }
        match self.difference(node) {
            Some((service, true)) => {
                let back = self.finds_tampered(node, service);
                let failed = self.random.chance(self.ills.alias_fails) || self.has_no_room(node, service);
                if failed {
                    self.faker_failed(node, service);
                } else {
                    self.judge_take(node, service);
                    self.add_alias(node, service);
                    if !back {
                        self.announce_at_once(node, service);
                    }
                }
                self.faker_reports(node);
                self.tell_tampering(node, service, back, failed);
            }
            Some((service, false)) => {
                self.drop_alias(node, service, "not wanted");
                self.faker_reports(node);
            }
            None => {}
        }
        self.faker_acts(node);
    }

    pub(super) fn faker_stalls(&mut self, node: usize, until: Nanos) {
        let life = self.hosts[node].life;
        if let Some(process) = self.hosts[node].process.as_mut() {
            let until = until.max(process.faker.stalled_until);
            process.faker.stalled_until = until;
            self.schedule_at(until, Event::FakerWakes { node, life });
        }
    }

    /// F1: no address of that service before the answers to a late probe had their time.
    pub(super) fn faker_doubts(&mut self, node: usize, service: ServiceId) {
        let life = self.hosts[node].life;
        let until = self.now + self.config.cluster.hello_interval.as_nanos() as Nanos / 8;
        if let Some(process) = self.hosts[node].process.as_mut() {
            process.faker.doubted.retain(|&(it, _)| it != service);
            process.faker.doubted.push((service, until));
            self.schedule_at(until, Event::FakerWakes { node, life });
        }
    }

    fn announce_at_once(&mut self, node: usize, service: ServiceId) {
        let Some(process) = self.hosts[node].process.as_ref() else { return };
        if process.faker.wanted.at_once.contains(&service)
            && self.announce(node, service)
            && let Some(process) = self.hosts[node].process.as_mut()
        {
            process.faker.announced.push(service);
        }
    }

    fn faker_failed(&mut self, node: usize, service: ServiceId) {
        let life = self.hosts[node].life;
        let no_room = self.has_no_room(node, service);
        let pause = if no_room { NEXT_LEASE } else { 10 * MILLI };
        let Some(process) = self.hosts[node].process.as_mut() else { return };
        let at = self.now + pause;
        if no_room {
            process.faker.later = Some((service, at));
        } else {
            process.faker.retry_at = at;
        }
        self.schedule_at(at, Event::FakerWakes { node, life });
    }

    /// What is up, told to the controller: sometimes late, never out of order.
    pub(super) fn faker_reports(&mut self, node: usize) {
        let slow = self.random.chance(self.ills.alias_slow);
        let after = if slow { self.random.below(50 * MILLI) } else { self.random.below(20 * MICRO) };
        let host = &mut self.hosts[node];
        let mut services: Vec<ServiceId> = host.aliases.iter().map(|alias| alias.service).collect();
        let life = host.life;
        let Some(process) = host.process.as_mut() else { return };
        // It has not seen yet that they are gone.
        services.extend(&process.faker.tampered);
        let at = (self.now + after).max(process.faker.last_report);
        process.faker.last_report = at;
        let answers = process.faker.wanted.number;
        let announced = std::mem::take(&mut process.faker.announced);
        self.schedule_at(at, Event::Present { node, life, answers, services, announced });
    }

    pub(super) fn faker_renews(&mut self, node: usize) {
        let lifetime = self.valid_lft();
        let ends = self.now + lifetime;
        let host = &mut self.hosts[node];
        let life = host.life;
        for alias in &mut host.aliases {
            alias.ends = ends;
        }
        self.schedule(lifetime / 8, Event::FakerRenews { node, life });
    }

    fn add_alias(&mut self, node: usize, service: ServiceId) {
        let process = self.hosts[node].process.as_mut();
        let had = process.and_then(|process| {
            let at = process.faker.had_since.iter().position(|&(had, _)| had == service)?;
            Some(process.faker.had_since.swap_remove(at).1)
        });
        let alias = Alias { service, since: had.unwrap_or(self.now), ends: self.now + self.valid_lft() };
        let aliases = &mut self.hosts[node].aliases;
        let at = aliases.partition_point(|held| held.service < service);
        aliases.insert(at, alias);
        self.trace.mix(self.now ^ u64::from(service.0) << 32 ^ node as u64);
        self.trace.tell(self.now, node, Happening::Alias(service.0 as usize - 1));
        self.judge(service);
    }

    pub(super) fn drop_alias(&mut self, node: usize, service: ServiceId, why: &'static str) {
        self.hosts[node].aliases.retain(|alias| alias.service != service);
        self.trace.mix(self.now ^ u64::from(service.0) << 33 ^ node as u64);
        self.trace.tell(self.now, node, Happening::NoAlias(service.0 as usize - 1, why));
    }

    pub(super) fn drop_aliases(&mut self, node: usize, why: &'static str) {
        while let Some(alias) = self.hosts[node].aliases.last().copied() {
            self.drop_alias(node, alias.service, why);
        }
    }

    /// The process stopped or died: the kernel drops each address when its lifetime ends.
    pub(super) fn kernel_alone(&mut self, node: usize) {
        self.hosts[node].last_silenced = self.now;
        let mut ends: Vec<Nanos> = self.hosts[node].aliases.iter().map(|alias| alias.ends).collect();
        ends.dedup();
        for end in ends {
            // Linux is late by up to a step of its timer wheel; the simulated lifetimes have two seconds.
            let late = self.random.below(100 * MILLI);
            self.schedule_at(end + late, Event::KernelDrops { node });
        }
    }

    pub(super) fn kernel_drops(&mut self, node: usize) {
        let now = self.now;
        while let Some(alias) = self.hosts[node].aliases.iter().find(|alias| alias.ends <= now).copied() {
            self.drop_alias(node, alias.service, "lifetime over");
            // The link monitor sees it go.
            self.faker_reports(node);
        }
    }
}
