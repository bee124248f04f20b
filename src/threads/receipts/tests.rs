#![allow(clippy::disallowed_methods, reason = "threads live in real time")]

use super::*;
use crate::os::namespace::{cable, run, with_neighbour, within};
use crate::threads::mailbox::mailbox;

const TEXT: &str = "
[cluster]
name = test
[node a]
priority = 3
internal = eth1 192.168.10.1/24
external = eth0
[node b]
priority = 2
internal = eth1 192.168.10.2/24
external = eth0 203.0.113.2/24
[node c]
priority = 1
internal = eth1 192.168.10.3/24
external = eth0
[service www]
home = a
address = 203.0.113.21/24
";

struct Bench {
    published: Arc<Published>,
    orders: Sender<Order>,
    said: Mailbox<Told>,
    announced: Mailbox<faker::Order>,
    thread: std::thread::JoinHandle<()>,
}

fn service() -> ServiceId {
    ServiceId::of("www")
}

fn node(name: &str) -> NodeId {
    crate::config::parse("test", TEXT.as_bytes()).expect("right").config.node_named(name).expect("there").id
}

/// `name`'s thread in the calling thread's network, which serves www.
fn start(name: &str) -> Bench {
    let published = Published::of(TEXT);
    published.events.name(name);
    published.lease.want(&[service()], Instant::MAX);
    let (orders, inbox) = mailbox(ORDERS);
    let (driver, said) = mailbox(64);
    let (faker, announced) = mailbox(64);
    let device = "eth0".to_owned();
    let receipts =
        Receipts { me: node(name), device, mailbox: inbox, driver, faker, published: published.clone() };
    Bench { published, orders, said, announced, thread: std::thread::spawn(move || receipts.run()) }
}

impl Bench {
    /// The next thing said to a node.
    fn says(&self) -> (NodeId, Aside) {
        match self.said.receive_until(clock::now() + Duration::from_secs(60)) {
            Received::Message(Told::Say(Destination::Node(to), _, Packet::Aside(aside))) => (to, aside),
            other => panic!("{other:?}"),
        }
    }

    fn announces(&self) {
        let received = self.announced.receive_until(clock::now() + Duration::from_secs(60));
        assert!(matches!(received, Received::Message(faker::Order::Announce(it)) if it == service()));
    }

    fn event(&self, name: &str) -> serde_json::Map<String, serde_json::Value> {
        let limit = clock::now() + Duration::from_secs(60);
        loop {
            let batch = self.published.events.after(0, usize::MAX);
            if let Some(entry) = batch.events.into_iter().rfind(|entry| entry.fields["event"] == name) {
                return entry.fields;
            }
            assert!(clock::now() < limit, "no event {name}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) {
        self.orders.send(Order::End);
        self.thread.join().expect("no panic");
    }
}

fn taken(witnesses: &[&str]) -> Order {
    let witnesses = witnesses.iter().map(|name| node(name)).collect();
    let steps = Steps { detect: Some(Duration::from_millis(130)), ..Steps::default() };
    Order::Taken { service: service(), steps, witnesses, at: clock::now() }
}

fn sees(nonce: u64, answers: Option<[u8; 6]>, cached: Option<[u8; 6]>) -> Aside {
    let address = Ipv4Addr::new(203, 0, 113, 21);
    Aside::Sees { service: service(), nonce, sightings: vec![Sighting { address, answers, cached }] }
}

#[test]
fn whoever_sees_another_machine_makes_it_announce_and_ask_again() {
    within(|| {
        cable("eth0", "eth9");
        let mine = PacketSocket::open("eth0", Hears::Nothing).expect("a card").mac();
        let bench = start("a");
        bench.orders.send(taken(&["b", "c"]));
        let nonce_of = |aside: &Aside| match aside {
            Aside::WhoHas { nonce, .. } => *nonce,
            other => panic!("{other:?}"),
        };
        let (first, second) = (bench.says(), bench.says());
        assert_eq!([first.0, second.0], [node("b"), node("c")]);
        let nonce = nonce_of(&first.1);
        let stale = [2, 0, 0, 0, 0, 9];
        bench.orders.send(Order::Heard(node("b"), sees(nonce + 7, Some(stale), None)));
        bench.orders.send(Order::Heard(node("b"), sees(nonce, Some(mine), None)));
        bench.orders.send(Order::Heard(node("c"), sees(nonce, Some(mine), Some(stale))));
        bench.announces();
        let doubted = bench.event("doubted");
        assert_eq!(
            (&doubted["by"][0]["node"], &doubted["by"][0]["cached"]),
            (&"c".into(), &"02:00:00:00:00:09".into())
        );
        // It is asked again, and only it: the other one has agreed.
        let again = bench.says();
        assert_eq!((again.0, nonce_of(&again.1)), (node("c"), nonce));
        bench.orders.send(Order::Heard(node("c"), sees(nonce, Some(mine), Some(mine))));
        let confirmed = bench.event("confirmed");
        assert_eq!(confirmed["seen_by"], serde_json::json!(["b", "c"]));
        assert_eq!(confirmed["detect_ms"], 130.0);
        assert!(confirmed["confirm_ms"].as_f64().expect("a number") > 0.0);
        bench.end();
    });
}

#[test]
fn who_is_alone_says_so_and_what_goes_elsewhere_is_not_asked_about() {
    within(|| {
        cable("eth0", "eth9");
        let bench = start("a");
        bench.orders.send(taken(&[]));
        assert_eq!(bench.event("confirmed")["confirm_ms"], serde_json::Value::Null);
        bench.orders.send(taken(&["b"]));
        bench.says();
        bench.published.lease.want(&[], Instant::MAX);
        let mut quiet = bench.said.receive_until(clock::now() + Duration::from_millis(400));
        if matches!(quiet, Received::Message(_)) {
            // One more question may have been under way.
            quiet = bench.said.receive_until(clock::now() + Duration::from_millis(700));
        }
        assert!(matches!(quiet, Received::Nothing), "{quiet:?}");
        bench.end();
    });
}

#[test]
fn a_witness_tells_who_answers_and_whom_its_own_cache_still_has() {
    within(|| {
        let (ready, neighbour_ready) = std::sync::mpsc::channel();
        let (done, neighbour_done) = std::sync::mpsc::channel::<()>();
        let neighbour = with_neighbour(move || {
            run("ip addr add 203.0.113.21/24 dev eth0");
            let mac = PacketSocket::open("eth0", Hears::Nothing).expect("a card").mac();
            ready.send(mac).expect("heard");
            neighbour_done.recv().expect_err("the other end hung up");
        });
        let holder = neighbour_ready.recv().expect("ready");
        run("ip addr add 203.0.113.2/24 dev eth0");
        run("ip neigh replace 203.0.113.21 lladdr 02:00:00:00:00:09 dev eth0 nud permanent");
        let bench = start("b");
        let ask = |nonce| {
            bench.orders.send(Order::Heard(node("a"), Aside::WhoHas { service: service(), nonce }));
            bench.says()
        };
        assert_eq!(ask(1), (node("a"), sees(1, Some(holder), Some([2, 0, 0, 0, 0, 9]))));
        run("ip neigh del 203.0.113.21 dev eth0");
        assert_eq!(ask(2), (node("a"), sees(2, Some(holder), None)));
        drop(done);
        neighbour.join().expect("no assertion failed");
        bench.end();
    });
}
