use super::*;
use crate::os::namespace::{cable, run, wait_for, within};
use crate::threads::mailbox::{Mailbox, Received, mailbox};
use std::thread::JoinHandle;

const CONFIG: &str = "
[cluster]
name = test
hello_interval = 200ms
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service www1]
home = a
address = 203.0.113.21/24
";
/// As a reload may bring it: one more address of each family, and an arbiter.
const MORE: &str = "
[service www2]
home = a
address = 203.0.113.22/24, 2001:db8::22/64
";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 21);
const PATIENCE: Duration = Duration::from_secs(30);

fn larger() -> String {
    CONFIG.replace("name = test", "name = test\narbiter = 203.0.113.1") + MORE
}

struct Lab {
    told: Mailbox<Told>,
    published: Arc<Published>,
    bell: Doorbell,
    thread: JoinHandle<()>,
}

fn lab() -> Lab {
    let published = Published::of(CONFIG);
    let (driver, told) = mailbox(64);
    let bell = Doorbell::new().expect("a bell");
    let me = NodeId::of(Ipv4Addr::new(192, 168, 10, 1));
    let listener = ArpListener { me, driver, published: published.clone(), bell: bell.clone() };
    let thread = std::thread::spawn(|| listener.run());
    Lab { told, published, bell, thread }
}

impl Lab {
    /// What the driver hears next; `None`: nothing until then.
    fn next(&self, until: Instant) -> Option<Input> {
        match self.told.receive_until(until) {
            Received::Message(Told::Happened(input)) => Some(*input),
            Received::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    fn reload(&self, config: &str) {
        *self.published.config.write() = Published::of(config).config();
        self.bell.ring();
    }

    /// A claim is told within the patience, however often it has to be repeated until somebody listens.
    fn hears_again(&self, other: &PacketSocket, mac: [u8; 6]) {
        let patience = clock::now() + PATIENCE;
        loop {
            // Nobody may listen yet, and the far end may not be up.
            let _ = other.send(&ArpFrame::announcement_reply(mac, ADDRESS).to_bytes());
            match self.next(clock::now() + Duration::from_millis(20)) {
                Some(Input::Claimed { mac: heard, .. }) if heard == mac => return,
                _ => assert!(clock::now() < patience, "{mac:?} is never heard"),
            }
        }
    }

    /// It says `times` times that the external link fails, and why.
    fn is_deaf(&self, times: u32) {
        let patience = clock::now() + PATIENCE;
        let mut heard = 0;
        while heard < times {
            let next = self.next(patience).expect("it never says that it hears nothing");
            let down =
                matches!(next, Input::SendFailed { role: LinkRole::External, fault: LocalFault::Down });
            heard += u32::from(down);
        }
    }

    fn end(self) {
        self.published.stopping.store(true, std::sync::atomic::Ordering::Release);
        self.bell.ring();
        self.thread.join().expect("ends");
    }
}

#[test]
fn who_hears_nothing_says_so_until_it_hears_again() {
    within(|| {
        let lab = lab();
        lab.is_deaf(4);
        cable("eth0", "far");
        let far = PacketSocket::open("far", Hears::Nothing).expect("a card");
        lab.hears_again(&far, [2, 0, 0, 0, 0, 1]);
        run("ip link set eth0 down");
        lab.is_deaf(4);
        run("ip link set eth0 up");
        wait_for("eth0", "UP");
        lab.hears_again(&far, [2, 0, 0, 0, 0, 2]);
        run("ip link del eth0");
        lab.is_deaf(4);
        cable("eth0", "far");
        let far = PacketSocket::open("far", Hears::Nothing).expect("another card");
        lab.hears_again(&far, [2, 0, 0, 0, 0, 3]);
        lab.end();
    });
}

#[test]
fn a_reload_loses_no_answer() {
    within(|| {
        cable("eth0", "far");
        let far = PacketSocket::open("far", Hears::Nothing).expect("a card");
        let lab = lab();
        lab.hears_again(&far, [2, 0, 0, 0, 1, 0]);
        let pause = lab.published.config().cluster.hello_interval / 32;
        let larger = larger();
        for round in 0..40 {
            // A second claim within the pause is told by the first.
            clock::sleep_until(clock::now() + pause * 2);
            lab.reload(if round % 2 == 0 { &larger } else { CONFIG });
            let mac = [2, 0, 0, 0, 2, round];
            far.send(&ArpFrame::announcement_reply(mac, ADDRESS).to_bytes()).expect("sent");
            loop {
                match lab.next(clock::now() + PATIENCE) {
                    Some(Input::Claimed { mac: heard, .. }) if heard == mac => break,
                    // An earlier announcement that was repeated.
                    Some(Input::Claimed { .. }) => {}
                    other => panic!("round {round}: {other:?} instead of an answer"),
                }
            }
        }
        lab.end();
    });
}

/// What waits in a socket when the configuration changes is judged by the new one.
#[test]
fn a_reload_keeps_what_waits_and_closes_nothing() {
    within(|| {
        cable("eth0", "far");
        let far = PacketSocket::open("far", Hears::Nothing).expect("a card");
        let config = |text: &str| Published::of(text).config();
        let mut watch = Watch::open("eth0", &config(CONFIG)).expect("a card");
        let mac = [2, 0, 0, 0, 0, 9];
        far.send(&ArpFrame::announcement_reply(mac, ADDRESS).to_bytes()).expect("sent");
        doorbell::wait(&[watch.arp.as_fd()], clock::now() + PATIENCE).expect("waited");
        let renamed = larger().replace("www1", "www9");
        watch.follow(&config(&renamed)).expect("followed");
        let length = watch.arp.receive(&mut [0; 256]).expect("read").expect("it still waits");
        assert!(length >= 42, "{length}");
        assert!(watch.neighbours.is_some() && watch.arbiters.is_some());
        let judged = watch.judge(ADDRESS.into(), mac);
        let renamed = ServiceId::of("www9");
        assert!(matches!(judged, Some(Input::Claimed { service, .. }) if service == renamed), "{judged:?}");
        watch.follow(&config(CONFIG)).expect("followed");
        assert!(watch.neighbours.is_some() && watch.arbiters.is_some(), "closing takes time");
        run("ip link set eth0 address 02:00:00:00:00:77");
        assert!(watch.judge(ADDRESS.into(), [2, 0, 0, 0, 0, 0x77]).is_none(), "that is this node itself");
        let other = "203.0.113.22".parse().expect("an address");
        far.send(&ArpFrame::announcement_reply(mac, other).to_bytes()).expect("sent");
        far.send(&ArpFrame::announcement_reply(mac, ADDRESS).to_bytes()).expect("sent");
        doorbell::wait(&[watch.arp.as_fd()], clock::now() + PATIENCE).expect("waited");
        let mut buffer = [0; 256];
        let length = watch.arp.receive(&mut buffer).expect("read").expect("one");
        assert_eq!(arp_claim(&buffer[..length]), Some((ADDRESS.into(), mac)), "the other is not asked for");
    });
}

#[test]
fn only_claims_are_claims() {
    let ip = Ipv4Addr::new(203, 0, 113, 21);
    let mac = [2, 0, 0, 0, 0, 1];
    let claim = Some((IpAddr::V4(ip), mac));
    assert_eq!(arp_claim(&ArpFrame::announcement_request(mac, ip).to_bytes()), claim);
    assert_eq!(arp_claim(&ArpFrame::announcement_reply(mac, ip).to_bytes()), claim);
    assert_eq!(arp_claim(&ArpFrame::probe(mac, ip).to_bytes()), None);
    let target = "2001:db8::21".parse().expect("an address");
    let to = crate::wire::ALL_NODES;
    let says = |message: &[u8]| neighbour_claim(&frame::icmpv6_multicast(mac, target, to, message));
    let claim = Some((IpAddr::V6(target), mac));
    assert_eq!(says(&crate::wire::unsolicited_advertisement(mac, target)), claim);
    assert_eq!(says(&crate::wire::duplicate_probe("2001:db8::99".parse().expect("one"))), claim);
    let nobody = std::net::Ipv6Addr::UNSPECIFIED;
    let probe = frame::icmpv6_multicast(mac, nobody, to, &crate::wire::duplicate_probe(target));
    assert_eq!(neighbour_claim(&probe), None);
}
