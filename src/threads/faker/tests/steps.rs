//! Step by step, without its thread: what happens between two steps is the test's.

use super::*;
use std::io::Read;
use std::net::{TcpListener, TcpStream};

struct Steps {
    work: Work,
    orders: Sender<Order>,
    told: Mailbox<Told>,
    published: Arc<Published>,
}

/// Nothing is renewed meanwhile, and what has to go within a quarter of `hello_interval` has time.
fn steps() -> Steps {
    let config = CONFIG.replace("valid_lft = 1s", "valid_lft = 1h\nhello_interval = 10s");
    let third = "[service www3]\nhome = a\naddress = 203.0.113.23/24\n";
    let (faker, orders, told) = faker(&(config + third));
    let published = faker.published.clone();
    Steps { work: Work::new(faker), orders, told, published }
}

impl Steps {
    /// The driver's word, the order for which is dropped.
    fn want(&self, services: &[&str], lease: Duration, ending: &[(&str, Instant)]) {
        let services = services.iter().map(|name| service(name)).collect();
        let ending = ending.iter().map(|&(name, at)| (service(name), at)).collect();
        let until = clock::now() + lease;
        self.published.lease.replace_numbered(Wanted { services, until, ending, ..Wanted::default() });
    }

    fn turn_for(&mut self, order: Order) {
        self.orders.offer(order).expect("room");
        assert!(self.work.turn());
    }

    /// What it has said that is up; `None`: nothing.
    fn said(&self) -> Option<Vec<ServiceId>> {
        match self.told.take() {
            Received::Message(Told::Happened(input)) => match *input {
                Input::Present { up, .. } => Some(up),
                other => panic!("{other:?}"),
            },
            _ => None,
        }
    }
}

/// After a stall the probes leave, and the order to take what they are for waits right behind them.
#[test]
fn what_was_asked_too_late_waits_for_its_answers() {
    within(|| {
        let mut steps = steps();
        let order =
            |asked: Instant, leeway: Duration| Order::Probe { service: service("www2"), asked, leeway };
        steps.want(&["www3"], LONG, &[]);
        steps.turn_for(order(clock::now(), LONG));
        assert_eq!(steps.said(), Some(vec![service("www3")]), "in time: nothing else is said");
        let asked = clock::now();
        clock::sleep_until(asked + Duration::from_millis(20));
        steps.want(&["www2", "www3"], LONG, &[]);
        steps.turn_for(order(asked, Duration::from_millis(10)));
        assert_eq!(steps.said(), Some(vec![service("www3")]), "it is answered, and not up");
        steps.turn_for(Order::Compare);
        assert!(!addresses().contains("203.0.113.22/24"));
        let until = *steps.work.doubted.values().next().expect("one");
        assert!(steps.work.next_wake() <= until, "nobody has to remind it");
        // `hello_interval` is ten seconds here; they are over.
        steps.work.doubted.values_mut().for_each(|until| *until = clock::now());
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said(), Some(vec![service("www2"), service("www3")]));
    });
}

/// Others' hands took it away: it was looked at long ago, and is put back whatever is asked now.
#[test]
fn what_is_put_back_waits_for_nobody() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], LONG, &[]);
        steps.turn_for(Order::Compare);
        steps.work.doubted.insert(service("www2"), clock::now() + LONG);
        run("ip addr del 203.0.113.22/24 dev eth0");
        steps.turn_for(Order::Compare);
        assert!(addresses().contains("203.0.113.22/24"));
    });
}

#[test]
fn what_cannot_be_read_is_neither_gone_nor_answered() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        steps.work.faker.card.deafen(true);
        steps.want(&["www2", "www3"], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!((steps.said(), steps.work.up.len()), (None, 1));
        assert!(steps.work.next_wake() <= clock::now() + RETRY, "it is tried again");
        assert!(!steps.published.lease.may_speak(Instant::MAX), "something may be up");
        assert!(steps.work.turn() && steps.said().is_none(), "without an order, and in vain");
        steps.work.faker.card.deafen(false);
        assert!(steps.work.turn());
        assert_eq!(steps.said().map(|up| up.len()), Some(2));
        assert_eq!(steps.work.retry, Instant::MAX);
    });
}

/// The end of the lease is told by ioctl all the same, and reported only when it is seen.
#[test]
fn what_has_to_go_goes_unseen_and_is_not_reported() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        steps.work.faker.card.deafen(true);
        steps.want(&["www2"], Duration::ZERO, &[]);
        let woke = clock::now();
        assert!(steps.work.turn());
        assert_eq!((steps.said(), steps.work.up.len()), (None, 1));
        assert_eq!(addresses(), "");
        assert!(!steps.published.lease.may_speak(clock::now()), "nobody knows");
        let next = steps.work.next_wake();
        assert!(woke < next && next <= clock::now() + RETRY, "again, and not all the time");
        steps.work.faker.card.deafen(false);
        assert!(steps.work.turn());
        assert_eq!(steps.said(), Some(vec![]));
        assert!(steps.published.lease.may_speak(clock::now()));
    });
}

#[test]
fn a_card_that_is_gone_has_nothing() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        run("ip link del eth0");
        steps.want(&["www2"], Duration::ZERO, &[]);
        assert!(steps.work.turn());
        assert_eq!(steps.said(), Some(vec![]));
        assert!(steps.published.lease.may_speak(clock::now()));
    });
}

/// A thread that was stopped after it saw what is wanted, and goes on when the lease is over.
#[test]
fn nothing_is_made_without_a_lease_however_late() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], Duration::ZERO, &[]);
        let address = "203.0.113.22".parse().expect("an address");
        assert_eq!(steps.work.make(address, 24, LONG, false), None);
        assert_eq!(steps.work.make(address, 24, LONG, true), None);
        assert_eq!(addresses(), "");
        steps.want(&["www2"], LONG, &[]);
        assert_eq!(steps.work.make(address, 24, LONG, false), None, "no trouble");
        assert!(addresses().contains("203.0.113.22/24"));
        assert_eq!(steps.work.up.len(), 1, "it is known without being read");
    });
}

/// For the guardian: many renewals may each wait for the kernel's lock.
#[test]
fn a_renewal_is_a_sign_of_life() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], LONG, &[]);
        steps.turn_for(Order::Compare);
        let before = clock::now();
        steps.work.renew(before);
        assert_eq!(steps.work.renewed, before, "nothing had to be compared");
        assert!(steps.published.signs.due(Watched::Faker) > Some(before));
    });
}

#[test]
fn an_order_that_was_dropped_is_made_up_for() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2"], LONG, &[]);
        steps.turn_for(probe("www1"));
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        // As many as before.
        steps.want(&["www3"], LONG, &[]);
        steps.turn_for(probe("www1"));
        assert_eq!(steps.said(), Some(vec![service("www3")]));
        // Only what is wanted is renewed: for anything else it is looked at the card.
        steps.want(&["www2"], LONG, &[]);
        steps.work.renew(clock::now());
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        let text = addresses();
        assert!(text.contains("203.0.113.22/24") && !text.contains("203.0.113.23"), "{text}");
    });
}

#[test]
fn orders_that_wait_put_no_end_off() {
    within(|| {
        let mut steps = steps();
        steps.want(&["www2", "www3"], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said().map(|up| up.len()), Some(2));
        let soon = clock::now() + Duration::from_millis(50);
        steps.want(&["www2", "www3"], LONG, &[("www3", soon)]);
        steps.turn_for(Order::Compare);
        for _ in 0..100 {
            steps.orders.offer(probe("www1")).expect("room");
        }
        clock::sleep_until(soon);
        // The first of the hundred, if it was not gone before they came.
        assert!(steps.work.turn());
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        assert!(!addresses().contains("203.0.113.23"));
    });
}

/// Connected to an address of this very machine, by itself.
fn connected(to: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(to).expect("bound");
    let client = TcpStream::connect(to).expect("somebody listens");
    (client, listener.accept().expect("accepted").0)
}

fn was_reset((client, _server): &mut (TcpStream, TcpStream), patience: Duration) -> bool {
    client.set_read_timeout(Some(patience)).expect("set");
    let error = client.read(&mut [0; 8]).expect_err("nothing was sent");
    error.kind() != io::ErrorKind::WouldBlock
}

#[test]
fn only_what_was_handed_over_ends_its_connections() {
    within(|| {
        let mut steps = steps();
        // From here the clients connect: no end of theirs is an address of a service.
        run("ip addr add 203.0.113.11/24 dev eth0");
        steps.want(&["www1", "www2", "www3"], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said().map(|up| up.len()), Some(3));
        let [mut moves, mut released, mut over] =
            ["203.0.113.21:80", "203.0.113.22:80", "203.0.113.23:80"].map(connected);
        // Until then at most; then the new holder is heard.
        let at = clock::now() + LONG;
        steps.want(&["www1", "www2", "www3"], LONG, &[("www1", at)]);
        steps.turn_for(Order::Compare);
        let now = clock::now();
        steps.want(&["www1", "www2", "www3"], LONG, &[("www1", now), ("www3", now)]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said(), Some(vec![service("www2")]));
        steps.want(&[], LONG, &[]);
        steps.turn_for(Order::Compare);
        assert_eq!(steps.said(), Some(vec![]));
        let text = addresses();
        assert!(text.lines().count() == 1 && text.contains("203.0.113.11/24"), "{text}");
        assert!(was_reset(&mut moves, Duration::from_secs(30)));
        let a_while = Duration::from_millis(300);
        assert!(!was_reset(&mut released, a_while), "it was not handed over");
        assert!(!was_reset(&mut over, a_while), "its time was over");
    });
}
