//! What threads leave for each other to read: the configuration, the lease, the counters.
//!
//! Written by one thread each, read by many; no lock here is held over I/O.

use super::driver::trips::Trips;
use super::life_signs::LifeSigns;
use crate::config::Config;
use crate::control::checks::Board;
use crate::control::events::EventLog;
use crate::control::status::Traffic;
use crate::control::vitals::{Trip, Vitals};
use crate::controller::{View, Wanted};
use crate::os::alarm::Alarm;
use crate::os::clock;
use crate::vocabulary::{Instant, NodeId, ServiceId};
use crate::wire::{ConfigVersion, Keyring, Reject};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One of each, for the whole process.
#[derive(Debug)]
pub struct Published {
    /// The configuration in force; written by the driver on reload.
    pub config: Arc<RwLock<Arc<Config>>>,
    /// What this node may serve; written by the driver.
    pub lease: Lease,
    /// Written by everybody.
    pub counters: Counters,
    /// How late the faker woke, or how long one of its renewals took; written by it, taken by the driver (L8).
    pub faker_lateness: Worst,
    /// Written by driver, faker and sender; read by the guardian.
    pub signs: LifeSigns,
    /// What happened; written by the driver, read by the control threads.
    pub events: Arc<EventLog>,
    /// How the checks stand; written by the thread `checks`, read by the control threads.
    pub checks: Arc<Board>,
    /// Services whose commands run or wait; written by the thread `services`.
    pub busy: Mutex<Arc<[ServiceId]>>,
    /// Services of this node that are on their way to another one; written by the driver, every second.
    pub moving: Mutex<Arc<[ServiceId]>>,
    /// The controller's picture of every second; written by the driver, read by the configuration keeper.
    pub view: Mutex<Option<Arc<View>>>,
    /// What STATUS says of the configuration's version and the keys, written by the configuration keeper, and of the external
    /// card, written by the link monitor.
    pub told: Mutex<Told>,
    /// The cluster's keys in force; written on reload, read by sender, receivers and keeper.
    pub keys: RwLock<Arc<Keyring>>,
    /// How far the own wall clock is ahead of each other node's, in µs; written by the thread `chronicle`.
    pub clocks: Arc<Mutex<BTreeMap<NodeId, i64>>>,
    /// What becomes of HELLO; written by the driver, read by the control threads.
    pub trips: Mutex<Trips>,
    /// The daemon ends: threads that a bell wakes end.
    pub stopping: AtomicBool,
    /// Why this worker cannot go on, and another one can; written by the link monitor, read by the worker's first thread.
    pub doom: OnceLock<String>,
}

/// What a node tells of its configuration, its keys and its card.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// The version that was agreed on last.
    pub version: ConfigVersion,
    /// Fingerprint of the key that seals.
    pub key: u64,
    /// Of the one accepted beside it; 0: none.
    pub next_key: u64,
    /// Of the external card; zeroes: not known.
    pub mac: [u8; 6],
}

impl Published {
    /// At the start: no lease.
    pub fn new(config: Arc<Config>, keys: Keyring, signs: LifeSigns) -> Self {
        let (key, next_key) = keys.fingerprints();
        Published {
            view: Mutex::default(),
            told: Mutex::new(Told { key, next_key, ..Told::default() }),
            keys: RwLock::new(Arc::new(keys)),
            config: Arc::new(RwLock::new(config)),
            lease: Lease::default(),
            counters: Counters::default(),
            faker_lateness: Worst::default(),
            signs,
            events: Arc::default(),
            checks: Arc::default(),
            busy: Mutex::default(),
            moving: Mutex::default(),
            clocks: Arc::default(),
            trips: Mutex::default(),
            stopping: AtomicBool::new(false),
            doom: OnceLock::new(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    /// The keys in force.
    pub fn keys(&self) -> Arc<Keyring> {
        self.keys.read().clone()
    }

    /// These keys from now on.
    pub fn set_keys(&self, keys: Keyring) {
        let (key, next_key) = keys.fingerprints();
        *self.keys.write() = Arc::new(keys);
        let mut told = self.told.lock();
        (told.key, told.next_key) = (key, next_key);
    }

    /// What the daemon measures about itself.
    pub fn vitals(&self, config_file: &Path, state_dir: &Path) -> Vitals {
        let config = self.config();
        let name = |id: NodeId| config.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
        let millis = |took: Duration| took.as_micros() as f64 / 1000.0;
        let summaries = self.trips.lock().summaries(clock::now(), config.cluster.hello_interval);
        let trips = summaries.map(|summary| Trip {
            role: summary.role.to_string(),
            to: summary.to.map(name),
            sent: summary.sent,
            answered: summary.answered,
            round_trip_ms: summary.round_trip.map(millis),
        });
        let clocks = self.clocks.lock().clone();
        Vitals {
            config_file: config_file.to_owned(),
            state_dir: state_dir.to_owned(),
            pid: std::process::id(),
            trips: trips.into(),
            clocks_ms: clocks
                .into_iter()
                .map(|(id, offset_us)| (name(id), offset_us as f64 / 1000.0))
                .collect(),
            thrown_away: self.counters.text(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Is the daemon ending?
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// What this node may serve, and how long. The end is apart from the rest: the faker reads it without a
/// lock when the time has come (L6). An extension does not wake it: it moves the alarm by which it sleeps. An alarm that is
/// not moved in time, or was set by an end that has changed meanwhile, only wakes it early; what shortens a lease wakes it by an
/// order.
#[derive(Debug, Default)]
pub struct Lease {
    until_nanos: AtomicU64,
    /// Goes off at the end, while aliases are up.
    alarm: OnceLock<Alarm>,
    /// With `Wanted::number`.
    services: Mutex<(u64, Arc<[ServiceId]>)>,
    /// Those that go sooner, each at its own instant (H2).
    ending: Mutex<Arc<[(ServiceId, Instant)]>>,
    /// Until when those that are being handed over, or just were, may be up at most: they go sooner as soon as the new
    /// holder is heard.
    limits: Mutex<BTreeMap<ServiceId, Instant>>,
    /// How often there was something to wake the faker for.
    revision: AtomicU64,
    /// Those that are announced as soon as they are up.
    at_once: Mutex<Arc<[ServiceId]>>,
    /// Addresses that stay down yet.
    withheld: Mutex<Arc<[IpAddr]>>,
    /// The same services, each with the number of its stay: one that went and came back has another.
    stays: Mutex<Arc<[(ServiceId, u64)]>>,
    next_stay: AtomicU64,
    /// The faker saw the end of the lease: the next extension must wake it.
    lapsed: AtomicBool,
    /// Aliases of ours are up, or may be: written by the faker.
    holding: AtomicBool,
}

/// True if it was another one.
fn put<T: Clone + PartialEq>(place: &Mutex<Arc<[T]>>, new: &[T]) -> bool {
    let mut known = place.lock();
    let changed = **known != *new;
    if changed {
        *known = new.into();
    }
    changed
}

impl Lease {
    /// When everything goes.
    pub fn until(&self) -> Instant {
        Instant::from_nanos(self.until_nanos.load(Ordering::SeqCst))
    }

    /// Which services' addresses shall be up, as far as the lease goes.
    pub fn services(&self) -> Arc<[ServiceId]> {
        self.wanted().1
    }

    /// The same with the number of this set.
    pub fn wanted(&self) -> (u64, Arc<[ServiceId]>) {
        self.services.lock().clone()
    }

    /// The same, each with a number that no other stay here has: for who looks too seldom to see it go and come.
    pub fn stays(&self) -> Arc<[(ServiceId, u64)]> {
        self.stays.lock().clone()
    }

    /// Which of them go before the lease ends, and when.
    pub fn ending(&self) -> Arc<[(ServiceId, Instant)]> {
        self.ending.lock().clone()
    }

    /// Until when this service may be up at most, if it is being handed over or was when it went.
    pub fn may_stay(&self, service: ServiceId) -> Option<Instant> {
        self.limits.lock().get(&service).copied()
    }

    /// Another one with everything for which the faker has to be woken: it knows by this that there is something to do, even
    /// if the order for it was dropped.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Which of them are announced the moment they are up: their server runs already.
    pub fn at_once(&self) -> Arc<[ServiceId]> {
        self.at_once.lock().clone()
    }

    /// Which of their addresses stay down yet.
    pub fn withheld(&self) -> Arc<[IpAddr]> {
        self.withheld.lock().clone()
    }

    /// The driver's new order; true if the faker has to be woken for it.
    pub fn replace(&self, wanted: &Wanted) -> bool {
        let Wanted { number, services, until, ending, at_once, withheld } = wanted;
        // Before the set: who finds a service there finds this as well. It is no reason to wake.
        *self.at_once.lock() = at_once.as_slice().into();
        // That nothing is to be served does not end the lease: what goes may be taken leave of (H3).
        let until = if services.is_empty() { self.until() } else { *until };
        let shorter = until < self.until();
        if shorter {
            self.until_nanos.store(until.as_nanos(), Ordering::SeqCst);
        }
        let mut known = self.services.lock();
        let changed = known.0 != *number;
        if changed {
            *known = (*number, services.as_slice().into());
            let mut stays = self.stays.lock();
            let number = |&id: &ServiceId| {
                let known = stays.iter().find(|(service, _)| *service == id).map(|(_, number)| *number);
                (id, known.unwrap_or_else(|| self.next_stay.fetch_add(1, Ordering::Relaxed)))
            };
            let next: Arc<[(ServiceId, u64)]> = services.iter().map(number).collect();
            *stays = next;
        }
        drop(known);
        let changed = put(&self.withheld, withheld) || changed;
        // Before the set of those that end: who sees that something has ended finds this.
        self.limit(services, ending);
        let changed = put(&self.ending, ending) || changed;
        let before = self.until_nanos.swap(until.as_nanos(), Ordering::SeqCst);
        if before < until.as_nanos()
            && self.holding.load(Ordering::SeqCst)
            && let Some(alarm) = self.alarm.get()
        {
            // Not moved: it goes off early.
            let _ = alarm.set(until);
        }
        let lapsed = self.lapsed.swap(false, Ordering::SeqCst);
        let wake = shorter || changed || lapsed;
        if wake {
            // Last: who sees it sees the rest.
            self.revision.fetch_add(1, Ordering::SeqCst);
        }
        wake
    }

    fn limit(&self, services: &[ServiceId], ending: &[(ServiceId, Instant)]) {
        let mut limits = self.limits.lock();
        // What is served again without an end was not handed over after all.
        let ends = |id: &ServiceId| ending.iter().any(|(service, _)| service == id);
        limits.retain(|id, _| ends(id) || !services.contains(id));
        for &(id, at) in ending {
            let limit = limits.entry(id).or_insert(at);
            *limit = at.max(*limit);
        }
    }

    /// These, until then.
    #[cfg(test)]
    pub fn want(&self, services: &[ServiceId], until: Instant) -> bool {
        self.replace_numbered(Wanted { services: services.to_vec(), until, ..Wanted::default() })
    }

    /// Numbered by what differs.
    #[cfg(test)]
    pub fn replace_numbered(&self, wanted: Wanted) -> bool {
        let (number, known) = self.wanted();
        let number = number + u64::from(*known != *wanted.services);
        self.replace(&Wanted { number, ..wanted })
    }

    /// The faker sleeps by this alarm.
    pub fn goes_by(&self, alarm: Alarm) {
        // The first one stays: there is one faker.
        let _ = self.alarm.set(alarm);
    }

    /// The faker is about to sleep; if it has aliases, the alarm goes off at the end of the lease, extensions
    /// included. What else it must not sleep beyond: the end itself, where there is no alarm.
    pub fn set_alarm(&self, holds: bool) -> Instant {
        let end = if holds { self.until() } else { Instant::MAX };
        let set = self.alarm.get().is_some_and(|alarm| alarm.set(end).is_ok());
        if set { Instant::MAX } else { end }
    }

    /// The faker's word: are aliases of ours up, or about to be?
    pub fn note_holding(&self, holding: bool) {
        self.holding.store(holding, Ordering::SeqCst);
    }

    /// The sender's question: a node that still has addresses without a lease says nothing before they are
    /// gone. So a process that was stopped, thawed, releases before it sends anything.
    pub fn may_speak(&self, now: Instant) -> bool {
        now < self.until() || !self.holding.load(Ordering::SeqCst)
    }

    /// The faker's question: is the lease over? If so, the next extension wakes it.
    pub fn is_over(&self, now: Instant) -> bool {
        if now < self.until() {
            return false;
        }
        self.lapsed.store(true, Ordering::SeqCst);
        // An extension between the two reads did not see the mark; it is seen here.
        now >= self.until()
    }
}

/// The longest of some times since somebody took it.
#[derive(Debug, Default)]
pub struct Worst(AtomicU64);

impl Worst {
    /// One more.
    pub fn note(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    /// The longest since the last call.
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Ordering::Relaxed))
    }
}

/// What was thrown away, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    rejected: [AtomicU64; Reject::ALL.len()],
    /// Datagrams that found the driver's mailbox full.
    pub unheard: AtomicU64,
    /// Datagrams and frames that found a full mailbox on their way out, or waited there too long.
    pub unsent: AtomicU64,
    /// Sends that failed for a local reason.
    pub failed: AtomicU64,
    /// Announcements of an address that went out.
    pub announced: AtomicU64,
}

impl Counters {
    /// One more datagram rejected for this reason.
    pub fn reject(&self, reject: Reject) {
        self.rejected[reject.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were rejected for this reason.
    pub fn rejected_for(&self, reject: Reject) -> u64 {
        self.rejected[reject.index()].load(Ordering::Relaxed)
    }

    /// Rejected for whatever reason.
    pub fn rejected(&self) -> u64 {
        self.rejected.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// All of them, for `diehard status --json`.
    pub fn traffic(&self) -> Traffic {
        let rejected =
            Reject::ALL.iter().map(|&reject| (reject.name().to_owned(), self.rejected_for(reject)));
        Traffic {
            rejected: rejected.collect(),
            announcements: self.announced.load(Ordering::Relaxed),
            unheard: self.unheard.load(Ordering::Relaxed),
            unsent: self.unsent.load(Ordering::Relaxed),
            send_failures: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Those that are not zero, for the log: `seal 12, replayed 1, unsent 3`.
    pub fn text(&self) -> String {
        let rejected = Reject::ALL.iter().map(|&reject| (reject.name(), self.rejected_for(reject)));
        let own = [("unheard", &self.unheard), ("unsent", &self.unsent), ("failed", &self.failed)];
        let own = own.into_iter().map(|(name, counter)| (name, counter.load(Ordering::Relaxed)));
        let counted = rejected.chain(own).filter(|(_, count)| *count > 0);
        let words: Vec<String> = counted.map(|(name, count)| format!("{name} {count}")).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    }
}

#[cfg(test)]
impl Published {
    /// For a test that plays the rest of the daemon: this configuration, and some key.
    pub fn of(configuration: &str) -> Arc<Self> {
        let parsed = crate::config::parse("test", configuration.as_bytes()).expect("a right configuration");
        let keys = Keyring::of(crate::wire::Key::new(&[7; 32], "test").expect("long enough"));
        Arc::new(Published::new(Arc::new(parsed.config), keys, LifeSigns::new().expect("a page")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_addresses_without_a_lease_says_nothing() {
        let at = Instant::from_nanos;
        let lease = Lease::default();
        assert!(lease.may_speak(at(5)), "no lease, no address");
        lease.want(&[ServiceId::of("one")], at(100));
        lease.note_holding(true);
        assert!(lease.may_speak(at(99)));
        assert!(!lease.may_speak(at(100)), "it has to let go first");
        lease.note_holding(false);
        assert!(lease.may_speak(at(101)));
    }

    #[test]
    fn the_longest_counts_until_it_is_taken() {
        let worst = Worst::default();
        let ms = Duration::from_millis;
        assert_eq!(worst.take(), ms(0));
        [2, 7, 3].into_iter().for_each(|millis| worst.note(ms(millis)));
        assert_eq!(worst.take(), ms(7));
        worst.note(ms(1));
        assert_eq!((worst.take(), worst.take()), (ms(1), ms(0)));
        worst.note(Duration::MAX);
        assert!(worst.take() > ms(1_000_000));
    }

    #[test]
    fn the_first_word_of_a_handover_is_its_limit() {
        let at = Instant::from_nanos;
        let lease = Lease::default();
        let (one, two) = (ServiceId::of("one"), ServiceId::of("two"));
        let serve = |services: &[ServiceId], ending: &[(ServiceId, Instant)]| {
            let (services, ending) = (services.to_vec(), ending.to_vec());
            lease.replace_numbered(Wanted { services, until: at(900), ending, ..Wanted::default() })
        };
        serve(&[one, two], &[]);
        assert_eq!(lease.may_stay(one), None);
        serve(&[one, two], &[(one, at(100))]);
        serve(&[one, two], &[(one, at(20))]);
        assert_eq!(
            (lease.may_stay(one), lease.may_stay(two)),
            (Some(at(100)), None),
            "the new holder was heard"
        );
        serve(&[two], &[]);
        assert_eq!(lease.may_stay(one), Some(at(100)), "it has gone by that");
        serve(&[one, two], &[]);
        assert_eq!(lease.may_stay(one), None, "it has come back");
        serve(&[two], &[]);
        assert_eq!(lease.may_stay(one), None, "and went otherwise");
    }

    #[test]
    fn whatever_the_faker_is_woken_for_has_a_revision() {
        let at = Instant::from_nanos;
        let lease = Lease::default();
        let one = ServiceId::of("one");
        let wanted = Wanted { number: 1, services: vec![one], until: at(100), ..Wanted::default() };
        assert!(lease.replace(&wanted));
        let first = lease.revision();
        assert!(!lease.replace(&Wanted { until: at(200), ..wanted.clone() }));
        assert_eq!(lease.revision(), first, "an extension");
        assert!(lease.replace(&Wanted { until: at(200), ending: vec![(one, at(50))], ..wanted.clone() }));
        let second = lease.revision();
        assert!(second > first, "an end, of the same set");
        assert!(lease.is_over(at(200)));
        assert!(lease.replace(&Wanted { until: at(300), ending: vec![(one, at(50))], ..wanted }));
        assert!(lease.revision() > second, "it had lapsed");
    }

    #[test]
    fn a_service_that_went_and_came_back_has_another_stay() {
        let lease = Lease::default();
        let (one, two) = (ServiceId::of("one"), ServiceId::of("two"));
        let stay = |id| lease.stays().iter().find(|(service, _)| *service == id).map(|(_, number)| *number);
        lease.want(&[one], Instant::MAX);
        let first = stay(one);
        lease.want(&[one, two], Instant::MAX);
        assert!(first.is_some() && stay(one) == first && stay(two) != first);
        lease.want(&[two], Instant::MAX);
        assert_eq!(stay(one), None);
        lease.want(&[one, two], Instant::MAX);
        assert!(stay(one).is_some() && stay(one) != first && stay(one) != stay(two));
    }

    #[test]
    fn the_faker_is_woken_only_for_what_it_could_not_know() {
        let at = Instant::from_nanos;
        let lease = Lease::default();
        let (one, two) = (ServiceId::of("one"), ServiceId::of("two"));
        assert!(lease.is_over(at(1)));
        assert!(lease.want(&[one], at(100)), "the first");
        assert!(!lease.want(&[one], at(200)), "an extension");
        assert!(lease.want(&[one, two], at(200)), "another set");
        assert!(lease.want(&[one, two], at(150)), "shorter");
        assert!(!lease.is_over(at(149)));
        assert!(!lease.want(&[one, two], at(300)));
        assert!(lease.is_over(at(300)));
        assert!(lease.want(&[one, two], at(400)), "lapsed");
        let (number, services) = lease.wanted();
        let sooner = Wanted {
            number,
            services: services.to_vec(),
            until: at(400),
            ending: vec![(two, at(350))],
            ..Wanted::default()
        };
        assert!(lease.replace(&sooner), "one of them sooner");
        assert_eq!(&*lease.services(), [one, two]);
        assert_eq!(&*lease.ending(), [(two, at(350))]);
        assert!(lease.want(&[], Instant::ZERO), "another set");
        assert!(
            lease.replace(&Wanted { number: number + 2, ..Wanted::default() }),
            "there was one between them"
        );
        assert!(!lease.is_over(at(399)), "and the lease goes on");
    }
}
