//! Channels, sockets, threads: made in the order in which they need each other, joined in the reverse.
//!
//! Before the first packet: a new incarnation on the disk (protocol.md, E5) and no leftover of an earlier
//! life on the external card (J1).

use super::Plan;
use super::keeping::{self, Keeping};
use crate::config::{Config, Prefixed};
use crate::control::protocol::Question;
use crate::control::server::{Desk, Server};
use crate::controller::{Controller, Identity, Record};
use crate::os::alias::Card;
use crate::os::doorbell::Doorbell;
use crate::os::link::LinkMonitor;
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::os::readiness::Readiness;
use crate::os::udp::UdpSocket;
use crate::os::{clock, sched};
use crate::threads::arp_listener::ArpListener;
use crate::threads::broadcast_listener;
use crate::threads::checks::{self, Checks};
use crate::threads::chronicle::{self, Chronicle, Past};
use crate::threads::driver::{self, Driver, Farewell, Told};
use crate::threads::faker::{self, Faker};
use crate::threads::hello_receiver::Ears;
use crate::threads::hello_sender::{self, Egress, HelloSender};
use crate::threads::life_signs::LifeSigns;
use crate::threads::link_monitor::{LinkWatch, OwnCard};
use crate::threads::load::Load;
use crate::threads::mailbox::{Mailbox, Sender, latest, mailbox};
use crate::threads::notify::{self, Notify};
use crate::threads::published::Published;
use crate::threads::receipts::{self, Receipts};
use crate::threads::services::{self, Services};
use crate::threads::storage::Storage;
use crate::threads::{Urgency, start};
use crate::vocabulary::{LinkRole, NodeId};
use crate::wire::Keyring;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What the last step of a policy runs, where the configuration allows it.
const REBOOT: &str = "/sbin/reboot";

/// The daemon with all its threads.
pub(super) struct Running {
    driver: Sender<Told>,
    published: Arc<Published>,
    left: Arc<AtomicBool>,
    bells: Vec<Doorbell>,
    threads: Vec<JoinHandle<()>>,
    server: Server,
    keeping: Keeping,
    notify: (Sender<notify::Order>, JoinHandle<()>),
    device: String,
}

/// What is made before the first thread.
struct Parts {
    published: Arc<Published>,
    sockets: Sockets,
    storage: Storage,
    record: Option<Record>,
    past: Past,
    monitor: LinkMonitor,
    cards: Vec<OwnCard>,
    card: Card,
    device: String,
}

struct Sockets {
    internal: Arc<UdpSocket>,
    internal_broadcast: Arc<UdpSocket>,
    broadcast_address: Ipv4Addr,
    external: Option<Arc<UdpSocket>>,
    external_broadcast: Arc<UdpSocket>,
}

impl Running {
    /// Makes everything; the daemon really runs when this returns. `farewell` is rung when the orderly
    /// leave is complete.
    pub(super) fn start(plan: &Plan, signs: LifeSigns, farewell: Doorbell) -> Result<Self, String> {
        let parts = Parts::make(plan, signs)?;
        let (published, device) = (parts.published.clone(), parts.device.clone());
        let (driver, told) = mailbox(driver::MESSAGES);
        let left = Arc::new(AtomicBool::new(false));
        let prepared = keeping::prepare(plan, &published, driver.clone(), farewell.clone())?;
        let farewell = Farewell { left: left.clone(), bell: farewell };
        let (asking, config) = (driver.clone(), published.config.clone());
        let ask = Box::new(move |request| asking.offer(Told::Asked(request)).is_ok());
        let (events, checks) = (published.events.clone(), published.checks.clone());
        let front = prepared.front.clone();
        let keeper = Box::new(move |question: &Question| front.serve(question));
        let counted = published.clone();
        let traffic = Box::new(move || counted.counters.traffic());
        let (file, state) = (plan.arguments.config.clone(), plan.arguments.state_dir.clone());
        let measured = published.clone();
        let vitals = Box::new(move || measured.vitals(&file, &state));
        let desk = Desk { ask, config, events, checks, keeper, traffic, vitals };
        // Its failure is the last that needs no thread to be ended.
        let server = Server::start(&plan.arguments.run_dir, desk).map_err(|error| error.to_string())?;
        // Before anything happens.
        let notify = start_notify(plan.me, &published).map_err(text("cannot start a thread"))?;
        let mut threads = Vec::new();
        let mut bells = Vec::new();
        parts
            .spawn(plan, &driver, told, farewell, &mut threads, &mut bells)
            .map_err(text("cannot start a thread"))?;
        let keeping = prepared.start(plan, &published).map_err(text("cannot start a thread"))?;
        Ok(Running { driver, published, left, bells, threads, server, notify, keeping, device })
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.published.config()
    }

    /// The configuration keeper.
    pub(super) fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// These keys from now on.
    pub(super) fn set_keys(&self, keys: Keyring) {
        self.published.set_keys(keys);
    }

    /// Hands something to the driver.
    pub(super) fn tell(&self, told: Told) {
        self.driver.send(told);
    }

    /// Why it cannot go on, if it cannot.
    pub(super) fn doom(&self) -> Option<String> {
        self.published.doom.get().cloned()
    }

    /// Is the orderly leave complete?
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// Ends all threads, whatever is held; no alias of ours remains.
    pub(super) fn end(self) {
        let Running { driver, published, bells, threads, server, notify, keeping, device, .. } = self;
        published.stopping.store(true, Ordering::Release);
        driver.send(Told::End);
        drop(driver);
        for bell in bells {
            bell.ring();
        }
        for thread in threads {
            // A panic has ended the process already.
            let _ = thread.join();
        }
        // After them: it may have to wait for another node's answer, and they have addresses to let go of.
        keeping.end();
        // The faker has removed its aliases; this is for what it could not remove then.
        if let Err(error) = clear_leftovers(&published.config(), &device) {
            log::error!("{error}");
        }
        // Nothing happens any more; what has, is told, within its limits.
        let (orders, notify) = notify;
        orders.send(notify::Order::End);
        let _ = notify.join();
        server.stop();
        log::info!("thrown away in this life: {}", published.counters.text());
    }
}

impl Parts {
    fn make(plan: &Plan, signs: LifeSigns) -> Result<Self, String> {
        let config = &plan.config;
        let node = config.node(plan.me).ok_or("this node is not in the configuration")?;
        let device = node.external.device.clone();
        clear_leftovers(config, &device)?;
        // Before the sockets: a card that is replaced meanwhile is seen as another one.
        let own = |role, device: &str| OwnCard::named(role, device).map_err(text(device));
        let cards = vec![own(LinkRole::Internal, &node.internal.device)?, own(LinkRole::External, &device)?];
        let sockets = Sockets::open(plan)?;
        let directory = &plan.arguments.state_dir;
        let (storage, record) = Storage::begin(directory, clock::wall_seconds())
            .map_err(text(&format!("the record in {}", directory.display())))?;
        let published = Arc::new(Published::new(config.clone(), plan.keys.clone(), signs));
        published.events.name(&node.name);
        Ok(Parts {
            past: Past::read(directory, plan.me, &published),
            published,
            sockets,
            storage,
            record,
            monitor: LinkMonitor::open().map_err(text("cannot watch the links"))?,
            cards,
            card: Card::open(&device).map_err(text(&device))?,
            device,
        })
    }

    fn spawn(
        self,
        plan: &Plan,
        driver: &Sender<Told>,
        told: Mailbox<Told>,
        farewell: Farewell,
        threads: &mut Vec<JoinHandle<()>>,
        bells: &mut Vec<Doorbell>,
    ) -> io::Result<()> {
        let Parts { published, sockets, storage, record, past, monitor, cards, card, device } = self;
        let me = plan.me;
        let mut bell = || Doorbell::new().inspect(|bell| bells.push(bell.clone()));
        let incarnation = storage.incarnation();

        let faker_orders = start_faker(me, card, &device, driver, &published, threads)?;

        let (batches, outgoing) = mailbox(hello_sender::BATCHES);
        let sender = HelloSender {
            me,
            egress: sockets.egress(&device, published.config().cluster.port),
            mailbox: outgoing,
            driver: driver.clone(),
            published: published.clone(),
        };
        threads.push(start("hello sender", Urgency::Heartbeat, move || sender.run())?);

        let (services, serving) = start_services(driver, &published)?;
        let (checks, checking) = start_checks(me, driver, &services, &published)?;
        let (chronicle, keeping) = start_chronicle(me, past, driver, &published)?;
        let (receipts, asking) = start_receipts(me, &device, driver, &faker_orders, &published)?;
        threads.extend([serving, checking, keeping, asking]);

        let (store, orders) = latest();
        let stored = driver.clone();
        threads.push(start("storage", Urgency::Ordinary, move || storage.run(&orders, &stored))?);

        let arp_bell = bell()?;
        let listener =
            ArpListener { me, driver: driver.clone(), published: published.clone(), bell: arp_bell.clone() };
        threads.push(start("arp listener", Urgency::Heartbeat, move || listener.run())?);

        let watch = LinkWatch {
            monitor,
            cards,
            driver: driver.clone(),
            faker: faker_orders.clone(),
            checks: checks.clone(),
            published: published.clone(),
            main: farewell.bell.clone(),
            bell: bell()?,
        };
        threads.push(start("link monitor", Urgency::Heartbeat, move || watch.run())?);

        let load_bell = bell()?;
        let load = Load { me, driver: driver.clone(), published: published.clone(), bell: load_bell.clone() };
        threads.push(start("load", Urgency::Ordinary, move || load.run())?);

        let seed = sched::random_u64()?;
        let identity = Identity { id: me, incarnation, record, seed };
        let driving = Driver {
            controller: Controller::new(published.config(), identity, clock::now()),
            me,
            mailbox: told,
            sender: batches,
            faker: faker_orders,
            services,
            checks,
            chronicle,
            receipts,
            storage: store,
            reload_bells: [arp_bell, load_bell],
            published: published.clone(),
            farewell,
        };
        threads.push(start("controller", Urgency::Heartbeat, move || driving.run())?);

        let ears = |sockets: Vec<_>, bell| {
            let (driver, published) = (driver.clone(), published.clone());
            let readiness = Readiness::of(&Ears::descriptors(&bell, &sockets))?;
            Ok::<_, io::Error>(Ears { me, sockets, driver, published, bell, readiness })
        };
        start_ears(ears(sockets.unicast(), bell()?)?, ears(sockets.broadcast(), bell()?)?, threads)
    }
}

/// The thread `faker`, and how it is told.
fn start_faker(
    me: NodeId,
    card: Card,
    device: &str,
    driver: &Sender<Told>,
    published: &Arc<Published>,
    threads: &mut Vec<JoinHandle<()>>,
) -> io::Result<Sender<faker::Order>> {
    let (orders, mailbox) = faker::orders(published)?;
    let (driver, published) = (driver.clone(), published.clone());
    let faker = Faker { me, card, device: device.to_owned(), mailbox, driver, published };
    threads.push(start("faker", Urgency::Lease, move || faker.run())?);
    Ok(orders)
}

/// Last: what they hear, somebody must take.
fn start_ears(unicast: Ears, broadcast: Ears, threads: &mut Vec<JoinHandle<()>>) -> io::Result<()> {
    threads.push(start("hello receiver", Urgency::Heartbeat, move || unicast.run())?);
    threads.push(start("broadcast lst.", Urgency::Heartbeat, move || broadcast_listener::run(broadcast))?);
    Ok(())
}

/// The thread `services`, and how it is told.
fn start_services(
    driver: &Sender<Told>,
    published: &Arc<Published>,
) -> io::Result<(Sender<services::Order>, JoinHandle<()>)> {
    let (orders, mailbox) = mailbox(services::ORDERS);
    let services = Services {
        mailbox,
        orders: orders.clone(),
        driver: driver.clone(),
        published: published.clone(),
        places: Arc::default(),
    };
    Ok((orders, start("services", Urgency::Ordinary, move || services.run())?))
}

/// The thread `notify`, and how it is told.
fn start_notify(
    me: NodeId,
    published: &Arc<Published>,
) -> io::Result<(Sender<notify::Order>, JoinHandle<()>)> {
    let (orders, mailbox) = mailbox(notify::ORDERS);
    let missed = Arc::default();
    published.events.tap(notify::tap(orders.clone(), Arc::clone(&missed)));
    let published = published.clone();
    let notify = Notify { me, mailbox, published, missed, patience: notify::PATIENCE };
    Ok((orders, start("notify", Urgency::Ordinary, move || notify.run())?))
}

/// The thread `chronicle`, and how it is told.
fn start_chronicle(
    me: NodeId,
    past: Past,
    driver: &Sender<Told>,
    published: &Arc<Published>,
) -> io::Result<(Sender<chronicle::Order>, JoinHandle<()>)> {
    let (orders, mailbox) = mailbox(chronicle::ORDERS);
    let bell = orders.clone();
    // Full: it is awake, and looks.
    published.events.listen(Box::new(move || drop(bell.offer(chronicle::Order::Look))));
    let chronicle = Chronicle { me, mailbox, driver: driver.clone(), published: published.clone(), past };
    Ok((orders, start("chronicle", Urgency::Ordinary, move || chronicle.run())?))
}

/// The thread `receipts`, and how it is told.
fn start_receipts(
    me: NodeId,
    device: &str,
    driver: &Sender<Told>,
    faker: &Sender<faker::Order>,
    published: &Arc<Published>,
) -> io::Result<(Sender<receipts::Order>, JoinHandle<()>)> {
    let (orders, mailbox) = mailbox(receipts::ORDERS);
    let receipts = Receipts {
        me,
        device: device.to_owned(),
        mailbox,
        driver: driver.clone(),
        faker: faker.clone(),
        published: published.clone(),
    };
    Ok((orders, start("receipts", Urgency::Ordinary, move || receipts.run())?))
}

/// The thread `checks`, and how it is told.
fn start_checks(
    me: NodeId,
    driver: &Sender<Told>,
    services: &Sender<services::Order>,
    published: &Arc<Published>,
) -> io::Result<(Sender<checks::Order>, JoinHandle<()>)> {
    let (orders, mailbox) = mailbox(checks::ORDERS);
    let asking = orders.clone();
    published.checks.serve(move |order| asking.offer(checks::Order::Asked(order)).is_ok());
    let checks = Checks {
        me,
        mailbox,
        orders: orders.clone(),
        driver: driver.clone(),
        services: services.clone(),
        published: published.clone(),
        reboot: REBOOT.to_owned(),
        places: Arc::default(),
        seed: sched::random_u64()?,
    };
    Ok((orders, start("checks", Urgency::Ordinary, move || checks.run())?))
}

impl Sockets {
    fn open(plan: &Plan) -> Result<Self, String> {
        let config = &plan.config;
        let node = config.node(plan.me).ok_or("this node is not in the configuration")?;
        let port = config.cluster.port;
        let bind = |device: &str, address: Ipv4Addr| {
            let bound = UdpSocket::bind(device, SocketAddrV4::new(address, port));
            bound.map(Arc::new).map_err(text(&format!("cannot listen on {device}, {address} port {port}")))
        };
        let inside = &node.internal;
        let broadcast_address = inside.address.map_or(Ipv4Addr::BROADCAST, broadcast_of);
        let outside = &node.external;
        let external = match outside.address {
            // Without it the card's broadcast does: the address may come later, or never.
            Some(own) => bind(&outside.device, own.address).inspect_err(|error| log::warn!("{error}")).ok(),
            None => None,
        };
        let internal_broadcast = bind(&inside.device, broadcast_address)?;
        if let Err(error) = internal_broadcast.ignore(plan.me.address()) {
            // Then they are thrown away by their sealed sender, as everything of its own is.
            log::debug!("own broadcasts will be heard: {error}");
        }
        Ok(Sockets {
            internal: bind(&inside.device, plan.me.address())?,
            internal_broadcast,
            broadcast_address,
            external,
            external_broadcast: bind(&outside.device, Ipv4Addr::BROADCAST)?,
        })
    }

    fn egress(&self, device: &str, port: u16) -> Egress {
        Egress {
            internal: self.internal.clone(),
            internal_broadcast: self.broadcast_address,
            external: self.external.clone(),
            external_device: device.to_owned(),
            external_frames: PacketSocket::open(device, Hears::Nothing).ok(),
            port,
        }
    }

    fn unicast(&self) -> Vec<Arc<UdpSocket>> {
        [self.internal.clone()].into_iter().chain(self.external.clone()).collect()
    }

    fn broadcast(&self) -> Vec<Arc<UdpSocket>> {
        vec![self.internal_broadcast.clone(), self.external_broadcast.clone()]
    }
}

/// A /31 and a /32 have none of their own.
pub(super) fn broadcast_of(own: Prefixed<Ipv4Addr>) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(u32::from(own.prefix)).unwrap_or(0);
    if own.prefix >= 31 { Ipv4Addr::BROADCAST } else { Ipv4Addr::from(u32::from(own.address) | host) }
}

fn clear_leftovers(config: &Config, device: &str) -> Result<(), String> {
    let addresses: Vec<IpAddr> = config
        .services
        .iter()
        .flat_map(|service| service.addresses.iter().map(|address| address.address))
        .collect();
    let mut card = Card::open(device).map_err(text(device))?;
    let gone = card.clear_leftovers(&addresses).map_err(text(&format!("the addresses of {device}")))?;
    for address in gone {
        log::warn!("removed {address} from {device}: an earlier life left it there");
    }
    for gateway in config.services.iter().filter_map(|service| service.route) {
        card.remove_default_route(gateway).map_err(text(&format!("the default route via {gateway}")))?;
    }
    Ok(())
}

fn text<E: Display>(what: &str) -> impl Fn(E) -> String {
    let what = what.to_owned();
    move |error| format!("{what}: {error}")
}
