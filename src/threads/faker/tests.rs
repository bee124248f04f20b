use super::*;
use crate::controller::Wanted;
use crate::os::namespace::{cable, run, within};
use crate::threads::mailbox::mailbox;
use crate::wire::ArpOperation::{self, Reply, Request};
use std::time::Duration;

mod steps;

const CONFIG: &str = "
[cluster]
name = test
valid_lft = 1s
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service www1]
home = a
address = 203.0.113.21/24, 2001:db8::21/64
route = default via 203.0.113.1
[service www2]
home = a
address = 203.0.113.22/24
";

struct Lab {
    orders: Sender<Order>,
    told: Mailbox<Told>,
    published: Arc<Published>,
    thread: std::thread::JoinHandle<()>,
}

fn lab() -> Lab {
    lab_of(CONFIG)
}

/// One in which nothing is renewed while a test looks: a renewal makes an address where it has just gone, and others' hands
/// were never seen there.
fn lab_without_renewals() -> Lab {
    lab_of(&CONFIG.replace("valid_lft = 1s", "valid_lft = 1h"))
}

fn lab_of(config: &str) -> Lab {
    let (faker, orders, told) = faker(config);
    let published = faker.published.clone();
    let thread = std::thread::spawn(|| faker.run());
    Lab { orders, told, published, thread }
}

fn faker(config: &str) -> (Faker, Sender<Order>, Mailbox<Told>) {
    cable("eth0", "far");
    let published = Published::of(config);
    let (orders, mailbox_of_orders) = super::orders(&published).expect("descriptors");
    let (driver, told) = mailbox(64);
    let card = Card::open("eth0").expect("descriptors");
    let device = "eth0".to_owned();
    let me = NodeId::of(Ipv4Addr::new(192, 168, 10, 1));
    (Faker { me, card, device, mailbox: mailbox_of_orders, driver, published }, orders, told)
}

fn service(name: &str) -> ServiceId {
    ServiceId::of(name)
}

/// In the order of their identities, as the controller has them.
fn both() -> Vec<ServiceId> {
    let mut both = vec![service("www1"), service("www2")];
    both.sort();
    both
}

impl Lab {
    fn serve(&self, services: &[ServiceId], lease: Duration) {
        self.serve_and_announce(services, lease, &[]);
    }

    fn serve_and_announce(&self, services: &[ServiceId], lease: Duration, at_once: &[ServiceId]) {
        let (services, at_once) = (services.to_vec(), at_once.to_vec());
        let wanted = Wanted { services, until: clock::now() + lease, at_once, ..Wanted::default() };
        if self.published.lease.replace_numbered(wanted) {
            self.orders.offer(Order::Compare).expect("room");
        }
    }

    /// What the faker says next, within 30 s.
    fn present(&self) -> Vec<ServiceId> {
        self.report().0
    }

    /// What is up, and what of it was announced.
    fn report(&self) -> (Vec<ServiceId>, Vec<ServiceId>) {
        match self.told.receive_until(clock::now() + Duration::from_secs(30)) {
            Received::Message(Told::Happened(input)) => match *input {
                Input::Present { up, announced, .. } => (up, announced),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn end(self) {
        drop(self.orders);
        self.thread.join().expect("ends");
    }
}

fn addresses() -> String {
    run("ip -o addr show dev eth0 scope global")
}

/// As long after it was asked for as it takes.
fn probe(name: &str) -> Order {
    Order::Probe { service: service(name), asked: clock::now(), leeway: Duration::MAX }
}

const LONG: Duration = Duration::from_secs(100);

#[test]
fn the_wanted_set_is_what_is_there() {
    within(|| {
        let lab = lab();
        run("ip addr add 203.0.113.11/24 dev eth0");
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), both());
        let text = addresses();
        assert!(text.contains("203.0.113.21/24") && text.contains("203.0.113.22/24"), "{text}");
        assert!(text.contains("2001:db8::21/64") && text.contains("203.0.113.11/24"), "{text}");
        assert!(run("ip route").contains("default via 203.0.113.1"));
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        let text = addresses();
        assert!(!text.contains("203.0.113.21/24") && !text.contains("2001:db8::21"), "{text}");
        assert!(!run("ip route").contains("default"));
        lab.end();
        let text = addresses();
        assert!(!text.contains("203.0.113.22") && text.contains("203.0.113.11/24"), "{text}");
    });
}

#[test]
fn what_is_withheld_stays_down_and_the_rest_of_its_service_is_up() {
    within(|| {
        let lab = lab();
        let fresh: IpAddr = "2001:db8::21".parse().expect("an address");
        let serve = |withheld: &[IpAddr]| {
            let (services, withheld) = (vec![service("www1")], withheld.to_vec());
            let wanted = Wanted { services, until: clock::now() + LONG, withheld, ..Wanted::default() };
            assert!(lab.published.lease.replace_numbered(wanted), "the faker is woken");
            lab.orders.offer(Order::Compare).expect("room");
        };
        serve(&[fresh]);
        assert_eq!(lab.present(), [service("www1")]);
        let text = addresses();
        assert!(text.contains("203.0.113.21/24") && !text.contains("2001:db8::21"), "{text}");
        serve(&[]);
        assert_eq!(lab.present(), [service("www1")]);
        assert!(addresses().contains("2001:db8::21/64"), "{}", addresses());
        lab.end();
    });
}

#[test]
fn aliases_go_with_the_lease_and_come_back_with_it() {
    within(|| {
        let lab = lab();
        lab.serve(&[service("www2")], Duration::from_millis(200));
        assert_eq!(lab.present(), [service("www2")]);
        lab.serve(&[service("www2")], Duration::from_millis(200));
        let end = lab.published.lease.until();
        assert_eq!(lab.present(), []);
        assert!(clock::now() >= end && clock::now().since(end) < Duration::from_millis(100));
        assert!(addresses().is_empty());
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        lab.end();
    });
}

#[test]
fn the_lifetime_is_renewed_while_the_lease_holds() {
    within(|| {
        let lab = lab();
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        for _ in 0..25 {
            clock::sleep_until(clock::now() + Duration::from_millis(100));
            assert!(addresses().contains("203.0.113.22/24"), "{}", addresses());
        }
        lab.end();
    });
}

#[test]
fn what_others_take_away_comes_back() {
    within(|| {
        let lab = lab_without_renewals();
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        run("ip addr del 203.0.113.22/24 dev eth0");
        lab.orders.offer(Order::Compare).expect("room");
        assert_eq!(lab.present(), [service("www2")]);
        assert!(addresses().contains("203.0.113.22/24"));
        lab.end();
    });
}

impl Lab {
    /// What is said of others' hands next, within 30 s; reports of what is up are passed over.
    fn tampering(&self) -> (ServiceId, Tampering) {
        loop {
            match self.told.receive_until(clock::now() + Duration::from_secs(30)) {
                Received::Message(Told::Happened(input)) => match *input {
                    Input::Tampered { service, how } => return (service, how),
                    Input::Present { .. } => {}
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn hands_of_others_are_told_and_what_they_did_is_undone() {
    within(|| {
        let lab = lab_without_renewals();
        run("ip addr add 203.0.113.11/24 dev eth0");
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), both());
        let whole = || {
            let text = addresses();
            let there = ["203.0.113.21/24", "203.0.113.22/24", "2001:db8::21/64"];
            assert!(there.iter().all(|address| text.contains(address)), "{text}");
            assert!(!text.contains("eth0:mine") && !text.contains("/25"), "{text}");
        };
        for (what, name, how) in [
            ("ip addr del 203.0.113.22/24 dev eth0", "www2", Tampering::Removed),
            ("ip addr del 2001:db8::21/64 dev eth0", "www1", Tampering::Removed),
            (
                "ip addr del 203.0.113.22/24 dev eth0; ip addr add 203.0.113.22/24 dev eth0 label eth0:mine",
                "www2",
                Tampering::Changed,
            ),
            (
                "ip addr del 203.0.113.21/24 dev eth0; ip addr add 203.0.113.21/25 dev eth0",
                "www1",
                Tampering::Changed,
            ),
        ] {
            run(what);
            lab.orders.offer(Order::Compare).expect("room");
            assert_eq!(lab.tampering(), (service(name), how), "{what}");
            whole();
        }
        run("ip addr flush dev eth0");
        lab.orders.offer(Order::Compare).expect("room");
        let told = [lab.tampering(), lab.tampering()];
        assert!(told.iter().all(|(_, how)| *how == Tampering::Removed), "{told:?}");
        whole();
        lab.end();
    });
}

/// The kernel does not tell a renewal from a new address.
#[test]
fn hands_that_a_renewal_undid_are_told_as_well() {
    within(|| {
        let lab = lab();
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), both());
        for (what, name) in
            [("203.0.113.22/24", "www2"), ("2001:db8::21/64", "www1"), ("203.0.113.21/24", "www1")]
        {
            run(&format!("ip addr del {what} dev eth0"));
            let long = clock::now() + Duration::from_secs(30);
            while !addresses().contains(what) {
                assert!(clock::now() < long, "nothing is renewed");
                clock::sleep_until(clock::now() + Duration::from_millis(10));
            }
            lab.orders.offer(Order::Compare).expect("room");
            assert_eq!(lab.tampering(), (service(name), Tampering::Removed), "{what}");
        }
        lab.end();
    });
}

#[test]
fn what_this_node_itself_takes_away_is_no_tampering() {
    within(|| {
        let lab = lab();
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), both());
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), both());
        lab.orders.offer(Order::Compare).expect("room");
        let Lab { orders, told, thread, .. } = lab;
        drop(orders);
        thread.join().expect("ends");
        while let Received::Message(Told::Happened(input)) = told.take() {
            assert!(matches!(*input, Input::Present { .. }), "{input:?}");
        }
    });
}

#[test]
fn who_holds_says_so_until_the_lease_has_taken_it_all() {
    within(|| {
        let lab = lab();
        assert!(lab.published.lease.may_speak(clock::now()));
        lab.serve(&[service("www2")], Duration::from_millis(200));
        assert_eq!(lab.present(), [service("www2")]);
        let end = lab.published.lease.until();
        assert!(!lab.published.lease.may_speak(end), "it is up, and at its end nothing may be said");
        assert_eq!(lab.present(), []);
        assert!(addresses().is_empty());
        assert!(lab.published.lease.may_speak(end), "it has gone");
        lab.end();
    });
}

#[test]
fn what_the_kernel_refuses_is_told_again_and_again() {
    within(|| {
        let lab = lab();
        run("ip addr add 203.0.113.22/24 dev eth0");
        lab.serve(&[service("www2")], LONG);
        for _ in 0..3 {
            assert_eq!(lab.tampering(), (service("www2"), Tampering::Refused));
        }
        assert!(addresses().contains("203.0.113.22/24 "), "the machine's own stays");
        lab.end();
    });
}

#[test]
fn an_address_of_the_machine_is_reported_as_absent() {
    within(|| {
        let lab = lab();
        run("ip addr add 203.0.113.22/24 dev eth0");
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), [service("www1")]);
        lab.end();
        assert!(addresses().contains("203.0.113.22/24"));
    });
}

#[test]
fn announcements_are_heard_only_of_what_is_up() {
    within(|| {
        let lab = lab();
        let ours = [Ipv4Addr::new(203, 0, 113, 21), Ipv4Addr::new(203, 0, 113, 22)];
        let far = PacketSocket::open("far", Hears::Arp(&ours)).expect("opened");
        lab.orders.offer(Order::Announce(service("www2"))).expect("room");
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        lab.orders.offer(probe("www1")).expect("room");
        lab.orders.offer(Order::Announce(service("www1"))).expect("room");
        lab.orders.offer(Order::Announce(service("www2"))).expect("room");
        lab.end();
        assert_eq!(announcements(&far, (Reply, ours[1])), [(Request, ours[1]), (Reply, ours[1])]);
    });
}

/// What has arrived, once the last one that is expected is there: a busy kernel delivers after `send` has
/// returned, but in order.
fn announcements(far: &PacketSocket, last: (ArpOperation, Ipv4Addr)) -> Vec<(ArpOperation, Ipv4Addr)> {
    let mut buffer = [0; 100];
    let mut heard = Vec::new();
    let patience = clock::now() + Duration::from_secs(10);
    while heard.last() != Some(&last) && clock::now() < patience {
        match far.receive(&mut buffer).expect("reads") {
            Some(length) => {
                let frame = ArpFrame::parse(&buffer[..length]).expect("ARP");
                heard.push((frame.operation, frame.sender_ip));
            }
            None => clock::sleep_until(clock::now() + Duration::from_millis(1)),
        }
    }
    heard
}

#[test]
fn what_comes_up_with_its_server_running_is_announced_before_it_is_reported() {
    within(|| {
        let lab = lab();
        let ours = [Ipv4Addr::new(203, 0, 113, 21), Ipv4Addr::new(203, 0, 113, 22)];
        let far = PacketSocket::open("far", Hears::Arp(&ours)).expect("opened");
        lab.serve_and_announce(&both(), LONG, &[service("www2")]);
        assert_eq!(lab.report(), (both(), vec![service("www2")]));
        let expected = [(Request, ours[1]), (Reply, ours[1])];
        assert_eq!(announcements(&far, expected[1]), expected, "and not the other");
        lab.serve_and_announce(&[service("www2")], LONG, &[service("www2")]);
        assert_eq!(lab.report(), (vec![service("www2")], vec![]), "it was up already");
        lab.orders.offer(Order::Announce(service("www2"))).expect("room");
        assert_eq!(announcements(&far, expected[1]), expected, "only what was ordered now");
        lab.end();
    });
}

/// Reloads and moves without end: the addresses that they do not concern are renewed all the same.
#[test]
fn orders_without_end_keep_no_address_from_being_renewed() {
    within(|| {
        let lab = lab();
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        // Three lifetimes long. Whoever looks late sees less, and nothing that is not so.
        let end = clock::now() + Duration::from_secs(3);
        while clock::now() < end {
            lab.orders.offer(Order::Compare).expect("room");
            clock::sleep_until(clock::now() + Duration::from_millis(10));
        }
        let told = lab.told.receive_until(clock::now());
        assert!(matches!(told, Received::Nothing), "it was gone, and was put back");
        assert!(addresses().contains("203.0.113.22/24"));
        lab.end();
    });
}

#[test]
fn a_renewal_that_would_shorten_a_lifetime_waits() {
    let ms = Duration::from_millis;
    let renewed = Instant::ZERO + ms(5000);
    let (now, life) = (renewed + ms(300), ms(2000));
    assert_eq!(postponed(now, ms(0), renewed, life), None, "it would be ended on time");
    assert_eq!(postponed(now, ms(250), renewed, life), Some(now + ms(250)));
    assert_eq!(
        postponed(renewed + ms(800), ms(250), renewed, life),
        None,
        "by then half of what runs would be over"
    );
    assert_eq!(postponed(now, ms(250), Instant::ZERO, life), None, "nothing runs that lasts");
}

/// H2, without anybody's order.
#[test]
fn a_service_that_is_handed_over_goes_at_its_own_end() {
    within(|| {
        let lab = lab_without_renewals();
        lab.serve(&both(), LONG);
        assert_eq!(lab.present(), both());
        let at = clock::now() + Duration::from_millis(400);
        let (services, ending) = (both(), vec![(service("www1"), at)]);
        let wanted = Wanted { services, until: clock::now() + LONG, ending, ..Wanted::default() };
        assert!(lab.published.lease.replace_numbered(wanted));
        lab.orders.offer(Order::Compare).expect("room");
        assert_eq!(lab.present(), [service("www2")]);
        assert!(clock::now() >= at, "not before it");
        let text = addresses();
        assert!(text.contains("203.0.113.22/24") && !text.contains("203.0.113.21"), "{text}");
        assert!(!text.contains("2001:db8::21"), "{text}");
        lab.end();
    });
}

const MANY: u8 = 64;

fn many() -> (String, Vec<ServiceId>) {
    let head = CONFIG.split("[service").next().expect("a cluster and a node");
    // Renewed each half second.
    let head = head.replace("valid_lft = 1s", "valid_lft = 4s");
    let section = |number| format!("[service s{number}]\nhome = a\naddress = 203.0.113.{number}/24\n");
    let mut services: Vec<ServiceId> = (1..=MANY).map(|number| service(&format!("s{number}"))).collect();
    services.sort();
    (head + &(1..=MANY).map(section).collect::<String>(), services)
}

#[test]
fn many_addresses_go_with_the_lease_and_none_comes_after_it() {
    within(|| {
        run("echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries");
        run("echo 0 > /proc/sys/net/ipv4/conf/default/promote_secondaries");
        let (config, services) = many();
        let lab = lab_of(&config);
        lab.serve(&services, LONG);
        assert_eq!(lab.present(), services);
        // Everything at its end; then one that ends while they are made, as far as they are.
        for lease in [300, 30, 10] {
            lab.serve(&services, Duration::from_millis(lease));
            let end = lab.published.lease.until();
            // Whoever was stopped between his look at the lease and the kernel's call has gone on by then.
            clock::sleep_until(end + Duration::from_millis(200));
            while !addresses().is_empty() {
                assert!(clock::now() < end + Duration::from_secs(10), "{}", addresses());
            }
            for _ in 0..20 {
                assert_eq!(addresses(), "", "{lease}");
                clock::sleep_until(clock::now() + Duration::from_millis(10));
            }
            while let Received::Message(_) = lab.told.take() {}
        }
        lab.end();
    });
}

#[test]
fn the_faker_measures_itself() {
    let at = |millis: u64| Instant::ZERO + Duration::from_millis(millis);
    let ms = Duration::from_millis;
    assert_eq!(late(at(10), &[at(20), at(40)], at(15)), ms(0), "woken by an order");
    assert_eq!(late(at(10), &[at(40), at(20)], at(23)), ms(3));
    assert_eq!(late(at(10), &[at(20), at(5)], at(23)), ms(3), "what was over before");
    assert_eq!(late(at(10), &[Instant::MAX, Instant::MAX], at(5_000)), ms(0));
    within(|| {
        let lab = lab();
        lab.serve(&[service("www2")], LONG);
        assert_eq!(lab.present(), [service("www2")]);
        lab.published.faker_lateness.take();
        let long = clock::now() + Duration::from_secs(30);
        // Nobody wakes in no time, and no renewal takes none.
        while lab.published.faker_lateness.take().is_zero() {
            assert!(clock::now() < long, "nothing is measured");
            clock::sleep_until(clock::now() + Duration::from_millis(10));
        }
        lab.end();
    });
}
