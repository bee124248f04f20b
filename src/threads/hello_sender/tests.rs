use super::*;
use crate::os::doorbell;
use crate::os::namespace::{run, within};
use crate::threads::mailbox::{Sender as Hand, mailbox};
use crate::vocabulary::{Epoch, Incarnation, ServiceId};
use std::os::fd::AsFd;

/// The longest T that there may be: nothing that is new is old on a machine that tests. All is sent on `lo`.
const CONFIG: &str = "
[cluster]
name = test
hello_interval = 10s
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
";
const PORT: u16 = 694;
const PATIENCE: Duration = Duration::from_secs(30);
const HERE: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 2);

struct Lab {
    batches: Hand<Vec<Outgoing>>,
    published: Arc<Published>,
    there: UdpSocket,
    thread: std::thread::JoinHandle<()>,
}

fn lab() -> Lab {
    run("ip addr add 192.168.10.1/24 dev lo; ip addr add 192.168.10.2/24 dev lo");
    let published = Published::of(CONFIG);
    let (batches, mailbox_of_batches) = mailbox(BATCHES);
    let (driver, _) = mailbox(8);
    let own = SocketAddrV4::new(HERE, PORT);
    let egress = Egress {
        internal: Arc::new(UdpSocket::bind_to_send("lo", own).expect("bound")),
        internal_broadcast: Ipv4Addr::new(192, 168, 10, 255),
        external: None,
        external_device: "eth0".to_owned(),
        external_frames: None,
        port: PORT,
    };
    let me = NodeId::of(HERE);
    let sender =
        HelloSender { me, egress, mailbox: mailbox_of_batches, driver, published: published.clone() };
    let there = UdpSocket::bind("lo", SocketAddrV4::new(THERE, PORT)).expect("bound");
    let thread = std::thread::spawn(|| sender.run());
    Lab { batches, published, there, thread }
}

impl Lab {
    /// One batch of HELLO with these numbers, taken then.
    fn post(&self, nonces: &[u64], taken: Instant) {
        let stamp = Stamp { incarnation: Incarnation(1), epoch: Epoch::NONE, lineage: 0 };
        let to = Destination::Node(NodeId::of(THERE));
        let hello = |&nonce: &u64| Outgoing {
            to,
            links: Links::Internal,
            packet: Packet::Hello { nonce },
            stamp,
            taken,
        };
        self.batches.offer(nonces.iter().map(hello).collect()).expect("room");
    }

    /// The next number that arrives.
    fn hears(&self) -> u64 {
        let mut buffer = [0; 2_048];
        let ready = doorbell::wait(&[self.there.as_fd()], clock::now() + PATIENCE).expect("waited");
        assert_eq!(ready, 1, "nothing comes");
        let (length, _) = self.there.receive(&mut buffer).expect("read").expect("waits");
        match self.published.keys().open(&buffer[..length]).expect("authentic").packet {
            Packet::Hello { nonce } => nonce,
            other => panic!("{other:?}"),
        }
    }

    fn waits_for_unsent(&self, count: u64) {
        let patience = clock::now() + PATIENCE;
        while self.published.counters.unsent.load(Ordering::Relaxed) < count {
            assert!(clock::now() < patience, "{count} are never counted");
            clock::sleep_until(clock::now() + Duration::from_millis(1));
        }
        assert_eq!(self.published.counters.unsent.load(Ordering::Relaxed), count);
        assert!(self.there.receive(&mut [0; 2_048]).expect("read").is_none(), "it is sent all the same");
    }

    fn end(self) {
        drop(self.batches);
        self.thread.join().expect("ends");
    }
}

#[test]
fn what_has_waited_too_long_is_not_said_any_more() {
    within(|| {
        let lab = lab();
        lab.post(&[1, 2], clock::now() - Duration::from_secs(11));
        lab.waits_for_unsent(2);
        lab.post(&[3, 4], clock::now());
        assert_eq!((lab.hears(), lab.hears()), (3, 4));
        lab.waits_for_unsent(2);
        lab.end();
    });
}

#[test]
fn who_has_addresses_without_a_lease_is_silent_until_they_are_gone() {
    within(|| {
        let lab = lab();
        lab.published.lease.note_holding(true);
        lab.post(&[1], clock::now());
        lab.waits_for_unsent(1);
        lab.published.lease.note_holding(false);
        lab.post(&[2], clock::now());
        assert_eq!(lab.hears(), 2);
        // By a lease it speaks with them.
        lab.published.lease.want(&[ServiceId::of("www")], Instant::MAX);
        lab.published.lease.note_holding(true);
        lab.post(&[3], clock::now());
        assert_eq!(lab.hears(), 3);
        lab.waits_for_unsent(1);
        lab.end();
    });
}
