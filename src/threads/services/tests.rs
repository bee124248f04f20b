use super::*;
use crate::threads::mailbox::mailbox;
use std::path::PathBuf;

const NODE: &str = "
[cluster]
name = test
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
";
const SERVICES: &str = "
[service www1]
home = a
address = 203.0.113.21/24
start = echo start $DIEHARD_ADDRESSES >> FILE; sleep 0.05; echo started >> FILE
stop = echo $DIEHARD_ACTION $DIEHARD_SERVICE >> FILE; exit 3
[service www2]
home = a
address = 203.0.113.22/24
start = exec sleep 50
";

struct Lab {
    orders: Sender<Order>,
    told: Mailbox<Told>,
    thread: JoinHandle<()>,
    file: PathBuf,
}

fn lab(name: &str) -> Lab {
    lab_with(name, &format!("{NODE}{SERVICES}"), Places::default())
}

fn lab_with(name: &str, config: &str, places: Places) -> Lab {
    let file = std::env::temp_dir().join(format!("diehard-services-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let text = config.replace("FILE", &file.display().to_string());
    let (orders, box_of_orders) = mailbox(ORDERS);
    let (driver, told) = mailbox(16);
    let published = Published::of(&text);
    let places = Arc::new(places);
    let services = Services { mailbox: box_of_orders, orders: orders.clone(), driver, published, places };
    let thread = crate::threads::start("services", crate::threads::Urgency::Ordinary, || services.run());
    Lab { orders, told, thread: thread.expect("starts"), file }
}

impl Lab {
    fn order(&self, service: &str, action: Action, token: u64) {
        let job = Job { service: ServiceId::of(service), action, token };
        self.orders.offer(Order::Run(job)).expect("room");
    }

    fn answer(&self) -> (u64, bool) {
        match self.told.receive_until(clock::now() + Duration::from_secs(20)) {
            Received::Message(Told::Happened(input)) => match *input {
                Input::Ran { token, ok, .. } => (token, ok),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn end(self) {
        self.orders.send(Order::End);
        self.thread.join().expect("ends");
        let _ = std::fs::remove_file(self.file);
    }
}

#[test]
fn one_after_the_other_and_every_answer_comes() {
    let lab = lab("order");
    lab.order("www1", Action::Start, 1);
    lab.order("www1", Action::Stop, 2);
    lab.order("www2", Action::Stop, 3);
    lab.order("www1", Action::Start, 4);
    let mut answers: Vec<_> = (0..4).map(|_| lab.answer()).collect();
    answers.retain(|&answer| answer != (3, true));
    assert_eq!(answers, [(1, true), (2, false), (4, true)]);
    let text = std::fs::read_to_string(&lab.file).expect("written");
    assert_eq!(text, "start 203.0.113.21\nstarted\nstop www1\nstart 203.0.113.21\nstarted\n");
    lab.end();
}

#[test]
fn the_end_calls_off_what_runs() {
    let lab = lab("end");
    lab.order("www2", Action::Start, 1);
    clock::sleep_until(clock::now() + Duration::from_millis(50));
    let began = clock::now();
    lab.orders.send(Order::End);
    assert_eq!(lab.answer(), (1, false));
    lab.end();
    assert!(clock::now().since(began) < Duration::from_secs(4));
}

const PARTS: &str = "
[cluster]
name = test
script_timeout = 20s
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service shop]
home = a
address = 203.0.113.21/24
start = echo start own >> FILE
stop = echo stop own >> FILE; exit 1
[part disk]
service = shop
start = echo start $DIEHARD_PART >> FILE
stop = echo stop $DIEHARD_PART >> FILE
[part database]
service = shop
start = echo start $DIEHARD_PART of $DIEHARD_SERVICE >> FILE
[part web]
service = shop
start = echo start web >> FILE; [ ! -e FILE.refuse ]
stop = echo stop web >> FILE
";

#[test]
fn parts_start_in_order_and_stop_in_reverse() {
    let lab = lab_with("parts", PARTS, Places::default());
    let lines = || {
        let text = std::fs::read_to_string(&lab.file).expect("written");
        let _ = std::fs::remove_file(&lab.file);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    lab.order("shop", Action::Start, 1);
    assert_eq!(lab.answer(), (1, true));
    assert_eq!(lines(), ["start own", "start disk", "start database of shop", "start web"]);
    lab.order("shop", Action::Stop, 2);
    assert_eq!(lab.answer(), (2, false), "one of them has failed, and all were stopped");
    assert_eq!(lines(), ["stop web", "stop disk", "stop own"]);
    // What was started before the one that fails is stopped again: it runs elsewhere now.
    let refuse = PathBuf::from(format!("{}.refuse", lab.file.display()));
    std::fs::write(&refuse, "").expect("writable");
    lab.order("shop", Action::Start, 3);
    let answer = lab.answer();
    std::fs::remove_file(&refuse).expect("ours");
    assert_eq!(answer, (3, false));
    let expected =
        ["start own", "start disk", "start database of shop", "start web", "stop disk", "stop own"];
    assert_eq!(lines(), expected);
    lab.end();
}

/// The `stop` of one would end the server that the `start` of the other has just begun.
#[test]
fn what_stops_a_shared_server_ends_before_what_starts_it() {
    const SHARED: &str = "
[service one]
home = a
address = 203.0.113.21/24
start = echo start >> FILE
stop = sleep 0.3; echo stop >> FILE
[service two]
home = a
address = 203.0.113.22/24
start = echo start >> FILE
stop = sleep 0.3; echo stop >> FILE
";
    let lab = lab_with("shared", &format!("{NODE}{SHARED}"), Places::default());
    lab.order("one", Action::Stop, 1);
    lab.order("two", Action::Start, 2);
    assert_eq!([lab.answer(), lab.answer()], [(1, true), (2, true)]);
    assert_eq!(std::fs::read_to_string(&lab.file).expect("written"), "stop\nstart\n");
    lab.end();
}
