use super::*;
use crate::os::namespace::{cable, run, wait_for, within};
use crate::threads::faker;
use crate::threads::mailbox::{Mailbox, Received, mailbox};
use crate::vocabulary::ServiceId;

const CONFIG: &str = "
[cluster]
name = test
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service www]
home = a
address = 203.0.113.21/24
";
const INDEX: u32 = 2;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PATIENCE: Duration = Duration::from_secs(30);

struct Lab {
    watch: LinkWatch,
    driver: Mailbox<Told>,
    faker: Mailbox<Order>,
}

fn lab(cards: Vec<OwnCard>) -> Lab {
    let published = Published::of(CONFIG);
    let (to_driver, driver) = mailbox(64);
    let (to_faker, faker) = mailbox(64);
    let (checks, _) = mailbox(8);
    let bell = || Doorbell::new().expect("a bell");
    let watch = LinkWatch {
        monitor: LinkMonitor::open().expect("netlink"),
        cards,
        driver: to_driver,
        faker: to_faker,
        checks,
        published,
        main: bell(),
        bell: bell(),
    };
    Lab { watch, driver, faker }
}

fn both() -> Vec<OwnCard> {
    let card = |role, device: &str, index| OwnCard { role, device: device.to_owned(), index };
    vec![card(LinkRole::Internal, "eth1", INDEX + 1), card(LinkRole::External, "eth0", INDEX)]
}

fn card(device: &str, index: u32, mac: [u8; 6], up: bool) -> LinkChange {
    LinkChange::Card { device: device.to_owned(), index, mac: Some(mac), up }
}

fn gone(index: u32) -> LinkChange {
    LinkChange::AddressGone { index, address: "203.0.113.21".parse().expect("an address") }
}

impl Lab {
    fn links(&self) -> Vec<(LinkRole, bool)> {
        let mut links = Vec::new();
        while let Received::Message(Told::Happened(input)) = self.driver.take() {
            match *input {
                Input::Link { role, up } => links.push((role, up)),
                other => panic!("{other:?}"),
            }
        }
        links
    }

    fn orders(&self) -> Vec<Order> {
        let next = || match self.faker.take() {
            Received::Message(order) => Some(order),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }
}

#[test]
fn whoever_deletes_addresses_keeps_no_carrier_from_being_told() {
    let lab = lab(both());
    let mut known = Known::default();
    let now = clock::now();
    lab.watch.pass_on(&[gone(INDEX), gone(INDEX)], &mut known);
    lab.watch.order_what_is_due(&mut known, now);
    assert_eq!(lab.orders(), [Order::Compare], "at once");
    assert_eq!(known.next(), Instant::MAX, "nothing is to be done");
    lab.watch.pass_on(&[gone(INDEX + 7), gone(INDEX)], &mut known);
    lab.watch.order_what_is_due(&mut known, now);
    assert_eq!(lab.orders(), [], "not again so soon");
    lab.watch.pass_on(&[card("eth0", INDEX, MAC, false)], &mut known);
    assert_eq!(lab.links(), [(LinkRole::External, false)], "and this does not wait");
    assert_eq!(known.next(), now + COMPARE_INTERVAL);
    lab.watch.order_what_is_due(&mut known, now + COMPARE_INTERVAL);
    assert_eq!(lab.orders(), [Order::Compare]);
    lab.watch.pass_on(&[gone(INDEX + 1)], &mut known);
    assert!(!known.compare, "on another card");
}

#[test]
fn another_hardware_address_is_told_and_what_is_served_is_announced() {
    let lab = lab(both());
    let mut known = Known::default();
    let (stays, goes) = (ServiceId::of("www"), ServiceId::of("www2"));
    let now = clock::now();
    lab.watch.published.lease.replace_numbered(crate::controller::Wanted {
        services: vec![stays, goes],
        until: Instant::MAX,
        ending: vec![(goes, now + PATIENCE)],
        ..Default::default()
    });
    let told = || lab.watch.published.told.lock().mac;
    lab.watch.pass_on(&[card("eth1", INDEX + 1, [9; 6], true), card("eth0", INDEX, MAC, true)], &mut known);
    assert_eq!((told(), known.announcements.len()), (MAC, 0), "the first one is not another one");
    let other = [2, 0, 0, 0, 0, 2];
    lab.watch.pass_on(&[card("eth0", INDEX, other, true)], &mut known);
    assert_eq!(told(), other);
    known.compare = false;
    for &after in &ANNOUNCE {
        let due = known.next();
        assert!(due >= now + after);
        lab.watch.order_what_is_due(&mut known, due);
        assert_eq!(lab.orders(), [Order::Announce(stays)], "what moves away is its new holder's to announce");
    }
    assert_eq!(known.next(), Instant::MAX);
}

#[test]
fn a_card_that_is_another_one_ends_the_worker_when_it_carries() {
    let lab = lab(both());
    let mut known = Known::default();
    let doom = || lab.watch.published.doom.get().cloned();
    lab.watch.pass_on(
        &[
            card("eth0", INDEX, MAC, true),
            card("eth0", INDEX, MAC, false),
            card("eth0", INDEX, MAC, true),
            // Renamed, and back again.
            card("old0", INDEX, MAC, true),
            card("eth0", INDEX, MAC, true),
            // Nobody's, or not to be used yet.
            card("eth9", 9, MAC, true),
            card("eth0", 9, MAC, false),
        ],
        &mut known,
    );
    assert_eq!(doom(), None);
    assert_eq!(lab.links(), [true, false, true].map(|up| (LinkRole::External, up)));
    lab.watch.pass_on(&[card("eth0", 9, MAC, true), card("eth1", 10, MAC, true)], &mut known);
    assert_eq!(doom().as_deref(), Some("the card eth0 is another one (index 2 before, 9 now)"));
    assert_eq!(lab.links(), [], "no news of the own card");
    assert!(lab.watch.main.wait_until(clock::now()), "it is told");
}

/// As the kernel tells it.
#[test]
fn a_card_of_the_kernel_is_followed_until_it_is_another_one() {
    within(|| {
        cable("eth0", "far");
        let Lab { watch, driver, faker } =
            lab(vec![OwnCard::named(LinkRole::External, "eth0").expect("it is there")]);
        let (published, main, bell) = (watch.published.clone(), watch.main.clone(), watch.bell.clone());
        published.lease.want(&[ServiceId::of("www")], Instant::MAX);
        let thread = std::thread::spawn(|| watch.run());
        let carries = |wanted: bool| {
            let told = driver.receive_until(clock::now() + PATIENCE);
            let Received::Message(Told::Happened(input)) = told else { panic!("{told:?}") };
            assert!(matches!(*input, Input::Link { up, .. } if up == wanted), "{input:?}");
        };
        carries(true);
        run("ip link set eth0 down");
        carries(false);
        run("ip link set eth0 up");
        carries(true);
        run("ip link set eth0 address 02:00:00:00:00:77");
        let announced = |told: &Received<faker::Order>| matches!(told, Received::Message(Order::Announce(_)));
        let patience = clock::now() + PATIENCE;
        while !announced(&faker.receive_until(patience)) {
            assert!(clock::now() < patience, "nothing is announced");
        }
        assert_eq!(published.told.lock().mac, [2, 0, 0, 0, 0, 0x77]);
        run("ip link del eth0");
        carries(false);
        assert_eq!(published.doom.get(), None, "a card that is gone may come back");
        run("ip link add eth0 type veth peer name far && ip link set far up");
        assert_eq!(published.doom.get(), None, "it is of no use yet");
        run("ip link set eth0 up");
        wait_for("eth0", "UP");
        assert!(main.wait_until(clock::now() + PATIENCE), "its first thread is told");
        let doom = published.doom.get().expect("why");
        assert!(doom.starts_with("the card eth0 is another one (index "), "{doom}");
        published.stopping.store(true, std::sync::atomic::Ordering::Release);
        bell.ring();
        thread.join().expect("ends");
    });
}
