use super::*;
use crate::config;
use crate::threads::life_signs::LifeSigns;
use crate::threads::mailbox::mailbox;
use crate::wire::{Key, Keyring};
use std::path::PathBuf;

const CONFIG: &str = "
[cluster]
name = test
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
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
    let file = std::env::temp_dir().join(format!("diehard-services-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let text = CONFIG.replace("FILE", &file.display().to_string());
    let parsed = config::parse("test", text.as_bytes()).expect("a right configuration");
    let (orders, box_of_orders) = mailbox(ORDERS).expect("descriptors");
    let (driver, told) = mailbox(16).expect("descriptors");
    let keys = Keyring::of(Key::new(&[7; 32], "test").expect("long enough"));
    let published =
        Arc::new(Published::new(Arc::new(parsed.config), keys, LifeSigns::new().expect("a page")));
    let services = Services { mailbox: box_of_orders, orders: orders.clone(), driver, published };
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
