//! Whole keepers with their doors, on addresses of one machine; the test plays driver and STATUS.

use super::door::Door;
use super::*;
use crate::config;
use crate::control::protocol::{Answer, Question};
use crate::controller::{NodeView, View};
use crate::os::namespace;
use crate::threads::life_signs::LifeSigns;
use crate::threads::mailbox::mailbox;
use crate::vocabulary::{Epoch, Incarnation};
use crate::wire::{Keyring, Status};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

const NODES: usize = 3;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(more: &str) -> String {
    let mut text = "[cluster]\nname = test\nport = 7694\n".to_owned();
    for number in 1..=NODES {
        text += &format!(
            "[node n{number}]\npriority = {number}\ninternal = eth9 192.168.77.{number}/24\nexternal = eth9\n"
        );
    }
    text + "[service www]\nhome = any\naddress = 192.168.77.100/24\n" + more
}

fn weight(weight: u32) -> String {
    text(&format!("weight = {weight}\n"))
}

struct Node {
    directory: PathBuf,
    published: Arc<Published>,
    orders: Sender<Order>,
    front: Front,
    keeper: Option<JoinHandle<()>>,
    door: Option<Door>,
    /// The daemon refuses to follow.
    stubborn: Arc<AtomicBool>,
    /// The daemon fails to reload, although nothing spoke against it.
    broken: Arc<AtomicBool>,
    alive: bool,
}

struct Cluster {
    directory: PathBuf,
    nodes: Vec<Node>,
}

/// Each test in a network of its own, with the nodes' addresses.
fn within(name: &'static str, test: impl FnOnce(&mut Cluster) + Send + 'static) {
    namespace::within(move || {
        namespace::run("ip link add eth9 type veth peer name eth8 && ip link set eth9 up");
        for number in 1..=NODES {
            namespace::run(&format!("ip addr add 192.168.77.{number}/24 dev eth9"));
        }
        let directory = std::env::temp_dir().join(format!("diehard-keeper-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let mut cluster = Cluster { directory, nodes: Vec::new() };
        for index in 0..NODES {
            let node = cluster.directory.join(format!("n{}", index + 1));
            fs::create_dir_all(&node).expect("a directory");
            fs::write(node.join("diehard.conf"), weight(1)).expect("written");
            let key = node.join("key");
            replace(&key, b"0123456789abcdef0123456789abcdef\n", 0o600).expect("written");
            cluster.nodes.push(Node::start(&node, index));
        }
        cluster.wait_until("all have looked at their files", |cluster| {
            cluster.nodes.iter().all(|node| !history(node).is_empty())
        });
        test(&mut cluster);
    });
}

impl Node {
    fn start(directory: &Path, index: usize) -> Node {
        let file = directory.join("diehard.conf");
        let read = |file: &Path| {
            let bytes = fs::read(file).expect("there");
            let mut config =
                config::parse("test", &bytes).map_err(|problems| problems[0].to_string())?.config;
            config.cluster.key_file = file.with_file_name("key");
            Ok::<_, String>(config)
        };
        let config = read(&file).expect("right");
        let me = config.nodes[index].id;
        let keys = |config: &Config| {
            let content = fs::read(&config.cluster.key_file).expect("there");
            Keyring::read(&content, "test").map_err(|error| error.to_string())
        };
        let keyring = keys(&config).expect("a key");
        let published =
            Arc::new(Published::new(Arc::new(config), keyring, LifeSigns::new().expect("a page")));
        let stubborn = Arc::new(AtomicBool::new(false));
        let broken = Arc::new(AtomicBool::new(false));
        let (in_force, refuses, conf) = (published.clone(), stubborn.clone(), file.clone());
        let fails = broken.clone();
        let daemon = move |wish| {
            match wish {
                Wish::Reload if fails.load(Ordering::Relaxed) => return Err("a test breaks it".to_owned()),
                Wish::Keys => in_force.set_keys(keys(&in_force.config())?),
                Wish::Reload => *in_force.config.write() = Arc::new(read(&conf)?),
            }
            Ok(())
        };
        let follows = move |_: &Config| match refuses.load(Ordering::Relaxed) {
            true => Err(vec!["it does not want to".to_owned(), "and it is tired".to_owned()]),
            false => Ok(()),
        };
        let (orders, orders_in) = mailbox(ORDERS);
        let seen = published.clone();
        let parts = Parts {
            me,
            file,
            state_dir: directory.to_owned(),
            published: published.clone(),
            daemon: Box::new(daemon),
            follows: Box::new(follows),
            picture: Arc::new(move || seen.view.lock().clone()),
        };
        let (keeper, front) = Keeper::begin(parts, orders.clone(), orders_in).expect("a history");
        let asked = front.clone();
        let address = SocketAddr::from((me.address(), 7694));
        let door = Door::open(address, published.clone(), Arc::new(move |ask| asked.answer(ask)));
        let keeper = std::thread::spawn(move || keeper.run());
        Node {
            directory: directory.to_owned(),
            published,
            orders,
            front,
            keeper: Some(keeper),
            door: Some(door.expect("a free port")),
            stubborn,
            broken,
            alive: true,
        }
    }

    /// As a power cut would, between two orders.
    fn stop(&mut self) {
        self.published.stopping.store(true, Ordering::Release);
        if let Some(door) = self.door.take() {
            door.close();
        }
        self.orders.send(Order::End);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().expect("no panic");
        }
        self.alive = false;
    }

    fn file(&self) -> String {
        fs::read_to_string(self.directory.join("diehard.conf")).expect("there")
    }

    fn told(&self) -> String {
        let events = self.published.events.after(0, usize::MAX).events;
        events.into_iter().map(|entry| entry.text).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.alive) {
            node.stop();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Cluster {
    /// Everybody hears what the living say of themselves now.
    fn gossip(&self) {
        let nodes: Vec<NodeView> = self
            .nodes
            .iter()
            .map(|node| {
                let told = *node.published.told.lock();
                let config = node.published.config();
                NodeView {
                    id: node.front.me,
                    state: if node.alive { NodeState::Up } else { NodeState::Down },
                    incarnation: node.alive.then_some(Incarnation(1)),
                    left: None,
                    right: None,
                    load: 0.0,
                    heard: None,
                    status: Some(Status {
                        name: config.node(node.front.me).map_or_else(String::new, |node| node.name.clone()),
                        config_digest: config::digest(&config),
                        version: told.version,
                        key: told.key,
                        next_key: told.next_key,
                        ..Status::default()
                    }),
                    heard_on: Vec::new(),
                    round_trip: None,
                }
            })
            .collect();
        for node in &self.nodes {
            *node.published.view.lock() = Some(Arc::new(View {
                me: node.front.me,
                incarnation: Incarnation(1),
                epoch: Epoch::NONE,
                lineage: 0,
                controller: Some(self.nodes[0].front.me),
                quorum: true,
                frozen: false,
                lease: None,
                hello_interval: Duration::from_millis(100),
                probe_interval: Duration::from_millis(12),
                lateness: Duration::ZERO,
                nodes: nodes.clone(),
                services: Vec::new(),
                ground: None,
                arbiter: None,
                moves: Vec::new(),
            }));
        }
    }

    fn wait_until(&self, what: &str, done: impl Fn(&Cluster) -> bool) {
        let limit = clock::now() + PATIENCE;
        while !done(self) {
            let told: Vec<String> = self.nodes.iter().map(Node::told).collect();
            assert!(clock::now() < limit, "{what}: {}", told.join("\n---\n"));
            self.gossip();
            clock::sleep_until(clock::now() + Duration::from_millis(20));
        }
    }

    fn push(&self, by: usize, text: String, confirm_s: Option<u64>) -> Answer {
        self.gossip();
        self.nodes[by].front.serve(&Question::ConfigPush { name: "/etc/test.conf".into(), text, confirm_s })
    }

    fn all_have(&self, text: &str) -> bool {
        self.nodes.iter().filter(|node| node.alive).all(|node| node.file() == text)
    }
}

fn history(node: &Node) -> Vec<String> {
    let lines = node.front.serve(&Question::ConfigHistory).expect("a list");
    let word = |line: &serde_json::Value| line["version"].as_str().unwrap_or_default().to_owned();
    lines.as_array().expect("a list").iter().map(word).collect()
}

#[test]
fn all_take_a_version_and_one_that_refuses_keeps_it_from_all() {
    within("all", |cluster| {
        // As people do: edited there, and pushed from there.
        fs::write(cluster.nodes[1].directory.join("diehard.conf"), weight(2)).expect("edited");
        let pushed = cluster.push(1, weight(2), None).expect("all can");
        let weighs = |node: &Node| node.published.config().services[0].weight == 2.0;
        assert!(cluster.nodes.iter().all(weighs), "it is in force, not only in the file");
        let expected =
            json!({"version": "1", "nodes": ["n1", "n2", "n3"], "late": [], "away": [], "confirm_ms": null});
        assert_eq!(pushed, expected);
        assert!(cluster.all_have(&weight(2)));
        assert_eq!(history(&cluster.nodes[2]), ["1", "0.1"]);
        cluster.nodes[2].stubborn.store(true, Ordering::Relaxed);
        let refused = cluster.push(0, weight(3), None).unwrap_err();
        let expected = "nothing was changed on any node:\nn3: it does not want to\nn3: and it is tired";
        assert_eq!(refused, expected);
        assert!(cluster.all_have(&weight(2)));
        for (index, node) in cluster.nodes.iter().enumerate() {
            let expected: &[&str] = if index == 1 { &["1", "0.2", "0.1"] } else { &["1", "0.1"] };
            assert_eq!(history(node), expected, "{}", node.told());
            assert!(!node.directory.join(".diehard.conf.new").exists(), "forgotten");
        }
        cluster.nodes[2].stubborn.store(false, Ordering::Relaxed);
        let wrong = cluster.push(0, weight(3).replace("priority", "pritority"), None).unwrap_err();
        assert!(wrong.contains("pritority"), "{wrong}");
        let answer = cluster.push(0, weight(3), None).expect("all can");
        assert_eq!(answer["version"], "2");
        let back = Question::ConfigRollback { version: None, confirm_s: None };
        cluster.gossip();
        assert_eq!(cluster.nodes[2].front.serve(&back).expect("all can")["version"], "3");
        assert!(cluster.all_have(&weight(2)));
        let far = Question::ConfigRollback { version: Some("0.1".into()), confirm_s: None };
        cluster.gossip();
        assert_eq!(cluster.nodes[0].front.serve(&far).expect("all can")["version"], "4");
        assert!(cluster.all_have(&weight(1)));
        let none = Question::ConfigRollback { version: Some("77".into()), confirm_s: None };
        let refused = cluster.nodes[0].front.serve(&none).unwrap_err();
        assert_eq!(refused, "there is no node and no version 77 (versions here: 0.1, 1, 2, 3, 4)");
    });
}

#[test]
fn who_was_away_fetches_it_and_keeps_what_was_edited_there() {
    within("away", |cluster| {
        cluster.nodes[2].stop();
        let pushed = cluster.push(0, weight(2), None).expect("the living can");
        assert_eq!((&pushed["nodes"], &pushed["away"]), (&json!(["n1", "n2"]), &json!(["n3"])));
        let directory = cluster.nodes[2].directory.clone();
        fs::write(directory.join("diehard.conf"), weight(9)).expect("edited");
        cluster.nodes[2] = Node::start(&directory, 2);
        cluster.wait_until("the late one has it", |cluster| cluster.all_have(&weight(2)));
        let node = &cluster.nodes[2];
        cluster.wait_until("it is told", |cluster| cluster.nodes[2].told().contains("is kept as 0.2"));
        assert_eq!(history(node), ["1", "0.2", "0.1"]);
        let diff = node.front.serve(&Question::ConfigDiff { of: Some("0.2".into()) }).expect("kept");
        assert!(diff["to"]["text"].as_str().expect("text").contains("weight         = 9"), "{diff}");
        let diff = node.front.serve(&Question::ConfigDiff { of: Some("n1".into()) }).expect("answered");
        assert_eq!(diff["to"]["name"], "n1");
        fs::write(directory.join("diehard.conf"), weight(8)).expect("edited");
        let diff = node.front.serve(&Question::ConfigDiff { of: None }).expect("readable");
        assert!(diff["to"]["text"].as_str().expect("text").contains("weight         = 8"), "{diff}");
    });
}

#[test]
fn who_does_not_answer_keeps_it_from_all_and_what_was_ready_is_no_ones() {
    within("silent", |cluster| {
        // Taken for alive, and not there: the door is closed.
        cluster.gossip();
        cluster.nodes[1].stop();
        cluster.nodes[1].alive = true;
        let refused = cluster.push(0, weight(2), None).unwrap_err();
        assert!(refused.starts_with("nothing was changed on any node:\nn2: Connection refused"), "{refused}");
        assert!(cluster.all_have(&weight(1)));
        cluster.nodes[1].alive = false;
        // A coordinator that dies after «are you ready?»: ready, and never told.
        let new = config::parse("", weight(3).as_bytes()).expect("right").config;
        let parcel = Parcel {
            number: 1,
            digest: config::digest(&new),
            text: weight(3),
            origin: "the dead".into(),
            unconfirmed: None,
        };
        let digest = parcel.digest;
        let by = Pusher { node: cluster.nodes[1].front.me.0, life: 1 };
        let own = Pusher { node: cluster.nodes[0].front.me.0, life: 1 };
        cluster.nodes[1].alive = true;
        cluster.gossip();
        assert_eq!(cluster.nodes[2].front.answer(Ask::Prepare(parcel.clone(), by)), Reply::Yes);
        assert_eq!(cluster.nodes[2].file(), weight(1));
        let other = Parcel { number: 2, ..parcel.clone() };
        let busy = Reply::No(vec!["another push is under way: try again".into()]);
        assert_eq!(cluster.nodes[2].front.answer(Ask::Prepare(other.clone(), own)), busy);
        // The pusher's life is over: what is ready for it keeps nobody waiting.
        cluster.nodes[1].alive = false;
        cluster.gossip();
        assert_eq!(cluster.nodes[2].front.answer(Ask::Prepare(other, own)), Reply::Yes);
        // Nor does it keep waiting who asked for it.
        assert_eq!(cluster.nodes[2].front.answer(Ask::Prepare(parcel.clone(), own)), Reply::Yes);
        // It dies itself, and its next life knows nothing of it.
        let directory = cluster.nodes[2].directory.clone();
        cluster.nodes[2].stop();
        cluster.nodes[2] = Node::start(&directory, 2);
        cluster.gossip();
        let none = Reply::No(vec!["version 1 is not ready".into()]);
        assert_eq!(cluster.nodes[2].front.answer(Ask::Apply { number: 1, digest }), none);
        assert_eq!(cluster.nodes[2].file(), weight(1));
        // One that heard the word before the coordinator died: all have it in the end.
        assert_eq!(cluster.nodes[2].front.answer(Ask::Prepare(parcel, own)), Reply::Yes);
        assert_eq!(cluster.nodes[2].front.answer(Ask::Apply { number: 1, digest }), Reply::Yes);
        cluster.wait_until("all have it", |cluster| cluster.all_have(&weight(3)));
    });
}

#[test]
fn a_crash_between_history_and_file_is_gone_on_from() {
    within("crash", |cluster| {
        let directory = cluster.nodes[0].directory.clone();
        cluster.push(0, weight(2), None).expect("all can");
        cluster.nodes[0].stop();
        // As if it had died after the history and before the file.
        fs::write(directory.join("diehard.conf"), weight(1)).expect("written");
        fs::write(directory.join("configurations/current"), r#"{"number":0,"edit":1}"#).expect("written");
        cluster.nodes[0] = Node::start(&directory, 0);
        cluster.wait_until("it went on", |cluster| cluster.all_have(&weight(2)));
        assert_eq!(history(&cluster.nodes[0]), ["1", "0.1"]);
    });
}

#[test]
fn unconfirmed_it_goes_by_itself_and_confirmed_it_stays_also_over_a_restart() {
    within("confirm", |cluster| {
        let nothing = cluster.nodes[0].front.serve(&Question::ConfigConfirm);
        assert_eq!(nothing, Err("nothing waits to be confirmed".to_owned()));
        cluster.push(0, weight(2), Some(1)).expect("all can");
        let directory = cluster.nodes[1].directory.clone();
        cluster.nodes[1].stop();
        cluster.nodes[1] = Node::start(&directory, 1);
        assert_eq!(cluster.nodes[1].file(), weight(2));
        cluster.wait_until("it is back", |cluster| cluster.all_have(&weight(1)));
        cluster
            .wait_until("as one version", |cluster| cluster.nodes.iter().all(|node| history(node)[0] == "2"));
        cluster.push(2, weight(3), Some(3_000)).expect("all can");
        cluster.gossip();
        let confirmed = cluster.nodes[1].front.serve(&Question::ConfigConfirm).expect("it waits");
        assert_eq!(confirmed["version"], "4");
        assert!(cluster.all_have(&weight(3)));
        cluster.gossip();
        assert!(cluster.nodes[0].front.serve(&Question::ConfigConfirm).is_err(), "it stays");
    });
}

#[test]
fn keys_change_when_all_have_the_new_one_and_not_before() {
    within("keys", |cluster| {
        let key = |node: &Node| fs::read(node.directory.join("key")).expect("there");
        let old = key(&cluster.nodes[0]);
        cluster.nodes[2].stop();
        cluster.gossip();
        let rotated = cluster.nodes[0].front.serve(&Question::KeyRotate).expect("begun");
        assert_eq!(rotated, json!({"waits_for_absent": ["n3"]}));
        cluster.wait_until("the living have it", |cluster| {
            cluster.nodes[..2].iter().all(|node| node.published.keys().offered().is_some())
        });
        let again = cluster.nodes[1].front.serve(&Question::KeyRotate).unwrap_err();
        assert!(again.contains("changed already"), "{again}");
        let seals_with = |node: &Node| node.published.keys().fingerprints().0;
        let before = seals_with(&cluster.nodes[0]);
        // Looks pass, and nobody goes on without the third.
        let limit = clock::now() + LOOK_INTERVAL * 3;
        cluster.wait_until("some looks", |_| clock::now() >= limit);
        assert!(cluster.nodes.iter().all(|node| seals_with(node) == before));
        let directory = cluster.nodes[2].directory.clone();
        assert_eq!(key(&cluster.nodes[2]), old);
        cluster.nodes[2] = Node::start(&directory, 2);
        cluster.wait_until("only the new one is left", |cluster| {
            cluster
                .nodes
                .iter()
                .all(|node| seals_with(node) != before && !node.published.keys().is_changing())
        });
        let new = key(&cluster.nodes[0]);
        assert!(new != old && cluster.nodes.iter().all(|node| key(node) == new));
        assert_eq!(new.len(), 65, "as `diehard key new` writes it");
    });
}

#[test]
fn a_stranger_is_hung_up_on_and_a_trickle_and_a_crowd_harm_nobody() {
    within("stranger", |cluster| {
        let node = &cluster.nodes[0];
        let address = SocketAddr::from((node.front.me.address(), 7694));
        let stranger = Keyring::read(b"somebody else's secret", "test").expect("a key");
        let error = talk::ask(address, &stranger, &Ask::Newest).unwrap_err();
        assert_eq!(error, "it closed the connection: has it the cluster's key?");
        assert_eq!(node.published.counters.rejected_for(crate::wire::Reject::Seal), 1);
        let silent: Vec<std::net::TcpStream> =
            (0..40).filter_map(|_| std::net::TcpStream::connect(address).ok()).collect();
        assert!(!silent.is_empty());
        drop(silent);
        cluster.wait_until("there is room again", |cluster| {
            let keys = cluster.nodes[0].published.keys();
            talk::ask(address, &keys, &Ask::Newest) == Ok(Reply::Newest(None))
        });
    });
}

#[test]
fn one_that_fails_after_all_said_yes_has_not_got_it_and_tries_again() {
    within("broken", |cluster| {
        cluster.nodes[2].broken.store(true, Ordering::Relaxed);
        let pushed = cluster.push(0, weight(2), None).expect("two have it");
        assert_eq!(pushed["nodes"], json!(["n1", "n2"]));
        assert_eq!(pushed["late"], json!([{"node": "n3", "why": "n3: a test breaks it"}]));
        assert_eq!(
            (cluster.nodes[2].file(), history(&cluster.nodes[2])),
            (weight(1), vec!["0.1".to_owned()])
        );
        assert_eq!(cluster.nodes[2].published.told.lock().version.number, 0);
        cluster.nodes[2].broken.store(false, Ordering::Relaxed);
        cluster.wait_until("it has it in the end", |cluster| cluster.all_have(&weight(2)));
        // Of two, the first to be asked: then nobody has it.
        cluster.nodes[1].broken.store(true, Ordering::Relaxed);
        let refused = cluster.push(0, weight(3), None).unwrap_err();
        assert_eq!(refused, "nothing was changed on any node:\nn2: a test breaks it");
        assert!(cluster.all_have(&weight(2)));
    });
}
