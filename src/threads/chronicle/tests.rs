#![allow(clippy::disallowed_methods, reason = "threads live in real time")]

use super::*;
use crate::control::scratch::Directory;
use crate::threads::mailbox::mailbox;
use std::thread::JoinHandle;

const TEXT: &str = "
[cluster]
name = test
[node a]
priority = 2
internal = eth1 192.168.10.1/24
external = eth0
[node b]
priority = 1
internal = eth1 192.168.10.2/24
external = eth0
";

/// A chronicle on a thread of its own, with a driver that only passes on.
struct Bench {
    me: NodeId,
    published: Arc<Published>,
    orders: Sender<Order>,
    said: Mailbox<Told>,
    thread: JoinHandle<()>,
}

fn start(name: &str, directory: &Path) -> Bench {
    let published = Published::of(TEXT);
    let me = published.config().node_named(name).expect("there").id;
    published.events.name(name);
    let past = Past::read(directory, me, &published);
    let (orders, inbox) = mailbox(ORDERS);
    let (driver, said) = mailbox(64);
    let bell = orders.clone();
    published.events.listen(Box::new(move || drop(bell.offer(Order::Look))));
    let chronicle = Chronicle { me, mailbox: inbox, driver, published: published.clone(), past };
    Bench { me, published, orders, said, thread: std::thread::spawn(move || chronicle.run()) }
}

impl Bench {
    fn happens(&self, text: &str) {
        self.published.events.push(clock::wall(), text.into(), Map::new());
    }

    /// Everything of both is passed on until the condition holds.
    fn talk(&self, other: &Bench, lose: impl Fn(&Aside) -> bool, done: impl Fn() -> bool) {
        let limit = clock::now() + Duration::from_secs(60);
        while !done() {
            assert!(clock::now() < limit, "it never came");
            for (from, to) in [(self, other), (other, self)] {
                let soon = clock::now() + Duration::from_millis(5);
                if let Received::Message(Told::Say(_, _, Packet::Aside(aside))) =
                    from.said.receive_until(soon)
                    && !lose(&aside)
                {
                    to.orders.send(Order::Heard(from.me, aside));
                }
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        let batch = self.published.events.after(0, usize::MAX);
        batch.events.iter().map(|entry| format!("{}: {}", entry.node, entry.text)).collect()
    }

    fn end(self) {
        self.orders.send(Order::End);
        self.thread.join().expect("no panic");
    }
}

#[test]
fn each_node_tells_the_whole_story_even_after_losses_and_restarts() {
    let (home_a, home_b) = (Directory::new("a"), Directory::new("b"));
    let (a, b) = (start("a", &home_a.path), start("b", &home_b.path));
    a.happens("one");
    let has = |bench: &Bench, text: &str| bench.texts().iter().any(|known| known == text);
    a.talk(&b, |_| false, || has(&b, "a: one"));
    // A whole batch is lost: the gap is noticed, asked for, and filled.
    a.happens("two");
    let lost = std::cell::Cell::new(false);
    a.talk(
        &b,
        |aside| matches!(aside, Aside::Events { events, .. } if !events.is_empty() && !lost.replace(true)),
        || lost.get(),
    );
    a.happens("three");
    b.happens("four");
    a.talk(&b, |_| false, || has(&b, "a: three") && has(&a, "b: four"));
    assert!(b.texts().iter().filter(|text| text.starts_with("a: ")).eq(["a: one", "a: two", "a: three"]));
    assert!(b.published.clocks.lock().contains_key(&a.me));
    a.end();
    // It comes back with everything, its own new events go on, and nobody takes the old ones twice.
    let a = start("a", &home_a.path);
    assert_eq!(a.texts().len(), 4, "{:?}", a.texts());
    a.happens("five");
    a.talk(&b, |_| false, || has(&b, "a: five"));
    b.end();
    // One that was away asks for what it missed, of the sender's earlier life as well.
    std::fs::remove_dir_all(&home_b.path).expect("ours");
    std::fs::create_dir(&home_b.path).expect("again");
    let b = start("b", &home_b.path);
    a.talk(&b, |_| false, || has(&b, "a: five"));
    let known: Vec<String> = b.texts().into_iter().filter(|text| text.starts_with("a: ")).collect();
    assert_eq!(known, ["a: one", "a: two", "a: three", "a: five"]);
    a.end();
    b.end();
}

#[test]
fn a_stream_of_events_is_paced_and_arrives_whole() {
    let home = Directory::new("pace");
    let a = start("a", &home.path);
    for number in 0..200 {
        a.happens(&format!("{number} {}", "x".repeat(300)));
    }
    let begin = clock::now();
    let (mut heard, mut packets) = (0, 0);
    while heard < 30 {
        match a.said.receive_until(begin + Duration::from_secs(60)) {
            Received::Message(Told::Say(_, _, Packet::Aside(Aside::Events { events, .. }))) => {
                let bytes: usize = events.iter().map(|event| event.text.len() + event.fields.len()).sum();
                assert!(bytes <= PACKET_BYTES + MAX_EVENT_TEXT, "a packet is one frame: {bytes}");
                heard += events.len();
                packets += u32::from(!events.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
    let least = SAY_INTERVAL * (packets - 1);
    assert!(clock::now().since(begin) + Duration::from_millis(5) >= least, "{packets} packets");
    a.end();
}
