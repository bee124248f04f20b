use super::*;
use crate::config;
use crate::control::check_words::concerned;
use crate::control::events::Entry;
use crate::control::scratch::Directory;
use crate::control::server::Request;
use crate::recovery::Standing;
use crate::threads::mailbox::mailbox;
use crate::wire::Command;
use std::fs;
use std::net::TcpListener;

const BASE: &str = "
[cluster]
name = test
forget = 1h
allow_reboot = yes
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service www1]
home = a
address = 203.0.113.21/24
start = true
[service www2]
home = a
address = 203.0.113.22/24
";

struct Lab {
    orders: Sender<Order>,
    told: Mailbox<Told>,
    services: Mailbox<services::Order>,
    published: Arc<Published>,
    thread: JoinHandle<()>,
    directory: Directory,
    seen: std::cell::Cell<u64>,
}

fn www(number: u8) -> ServiceId {
    ServiceId::of(&format!("www{number}"))
}

/// `DIR` in the checks is a directory of the test's own.
fn lab(name: &str, checks: &str) -> Lab {
    let directory = Directory::new(name);
    let place = directory.path.display();
    let text = format!("{BASE}{checks}").replace("DIR", &place.to_string());
    let published = Published::of(&text);
    let me = published.config().nodes[0].id;
    let (orders, box_of_orders) = mailbox(ORDERS);
    let (driver, told) = mailbox(64);
    let (ordering, services) = mailbox(64);
    let checks = Checks {
        me,
        mailbox: box_of_orders,
        orders: orders.clone(),
        driver,
        services: ordering,
        published: published.clone(),
        places: Arc::default(),
        reboot: format!("echo restarted > {place}/reboot"),
        seed: 7,
    };
    let thread = start_thread(checks);
    Lab { orders, told, services, published, thread, directory, seen: std::cell::Cell::new(0) }
}

fn start_thread(checks: Checks) -> JoinHandle<()> {
    crate::threads::start("checks", crate::threads::Urgency::Ordinary, || checks.run()).expect("starts")
}

fn patience() -> Instant {
    clock::now() + Duration::from_secs(60)
}

impl Lab {
    /// As the driver does: without checks the thread sleeps until it is told.
    fn reload(&self, text: &str) {
        let parsed = config::parse("test", text.as_bytes()).expect("right").config;
        *self.published.config.write() = Arc::new(parsed);
        assert!(self.orders.send(Order::Reloaded));
    }

    fn hold(&self, services: &[ServiceId]) {
        self.published.lease.want(services, Instant::MAX);
    }

    /// The next event of a check, as `event check step`.
    fn event(&self) -> String {
        let until = patience();
        loop {
            let batch = self.published.events.wait_after(self.seen.get(), Duration::from_millis(200));
            if let Some(Entry { sequence, fields, .. }) = batch.expect("open").events.first() {
                self.seen.set(*sequence);
                let word = |key: &str| fields.get(key).and_then(|value| value.as_str()).unwrap_or("-");
                return format!("{} {} {}", word("event"), word("check"), word("step"));
            }
            assert!(clock::now() < until, "no event");
        }
    }

    fn standing(&self, check: &str, wanted: Standing) -> String {
        let until = patience();
        loop {
            let line = self.published.checks.read().remove(check);
            if let Some(line) = line.as_ref().filter(|line| line.standing == wanted) {
                return line.message.clone();
            }
            assert!(clock::now() < until, "{check} is {line:?}");
            clock::sleep_until(clock::now() + Duration::from_millis(5));
        }
    }

    fn unfit(&self) -> (Vec<ServiceId>, Vec<ServiceId>) {
        match self.told.receive_until(patience()) {
            Received::Message(Told::Happened(input)) => match *input {
                Input::Unfit { services, given_up } => (services, given_up),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn restart_order(&self) -> services::Restart {
        match self.services.receive_until(patience()) {
            Received::Message(services::Order::Restart(restart)) => restart,
            other => panic!("{other:?}"),
        }
    }

    fn end(self) {
        assert!(self.orders.send(Order::End));
        self.thread.join().expect("no assertion failed");
    }
}

#[test]
fn a_node_whose_check_fails_is_unfit_and_takes_no_step() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let lab = lab(
        "unfit",
        &format!(
            "[check c]\nservice = www2\ntype = tcp\ntarget = {address}\ninterval = 20ms\nfail = 2\npolicy = move\n"
        ),
    );
    assert!(lab.standing("c", Standing::Well).starts_with("connected in "));
    drop(listener);
    assert_eq!(lab.event(), "check-failing c -");
    assert_eq!(lab.unfit(), (vec![www(2)], vec![]));
    assert_eq!(lab.standing("c", Standing::Failing), "connection refused");
    // Nobody else takes that port: it was given by the kernel for this.
    let listener = TcpListener::bind(address).expect("the same port");
    assert_eq!(lab.event(), "check-recovered c -");
    assert_eq!(lab.unfit(), (vec![], vec![]));
    drop(listener);
    lab.end();
}

#[test]
fn the_holders_ladder_restarts_then_moves_then_gives_everything_away_then_reboots() {
    let lab = lab(
        "ladder",
        "[check c]\nservice = www1\ntype = script\ntarget = test -e DIR/well || exit 2\ninterval = 200ms\nfail = 2\n\
         policy = alert, restart:2/1h, move, standby, reboot\n",
    );
    // A service with a `start` runs only where it is held: so does its check.
    assert_eq!(lab.standing("c", Standing::Unknown), "looked at by the node that holds the service");
    lab.hold(&[www(1)]);
    for expected in ["check-failing c -", "check-step c alert"] {
        assert_eq!(lab.event(), expected);
    }
    for outcome in [services::Restarted::Done, services::Restarted::Failed] {
        assert_eq!(lab.event(), "check-step c restart:2/1h");
        let order = lab.restart_order();
        assert_eq!((order.service, order.check.as_str()), (www(1), "c"));
        assert!(order.reply.send(Order::Restarted { check: order.check.clone(), outcome }));
        let expected = if outcome == services::Restarted::Done { "restarted" } else { "restart-failed" };
        assert_eq!(lab.event(), format!("check-{expected} c -"));
    }
    // A restart that failed needs no more evidence.
    assert_eq!(lab.event(), "check-step c move");
    assert_eq!(lab.unfit(), (vec![www(1)], vec![www(1)]));
    assert_eq!(lab.event(), "check-stays c -");
    assert_eq!(lab.event(), "check-step c standby");
    match lab.told.receive_until(patience()) {
        Received::Message(Told::Asked(Request::Command { command: Command::Standby { node }, answer })) => {
            assert_eq!(node, lab.published.config().nodes[0].id);
            answer.send(Err("not now".to_owned())).expect("it listens");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(lab.event(), "check-refused c standby");
    assert_eq!(lab.event(), "check-step c reboot");
    let until = patience();
    while !lab.directory.path.join("reboot").exists() {
        assert!(clock::now() < until, "no reboot");
        clock::sleep_until(clock::now() + Duration::from_millis(5));
    }
    assert_eq!(lab.event(), "check-exhausted c -");
    fs::write(lab.directory.path.join("well"), "").expect("writable");
    assert_eq!(lab.event(), "check-recovered c -");
    assert_eq!(lab.unfit(), (vec![], vec![]));
    lab.end();
}

#[test]
fn who_gave_it_up_is_unfit_after_it_went_until_it_comes_back() {
    let lab = lab(
        "gave-up",
        "[check c]\nservice = www1\ntype = script\ntarget = exit 2\ninterval = 20ms\nfail = 1\npolicy = move\n",
    );
    lab.hold(&[www(1)]);
    assert_eq!(lab.unfit(), (vec![www(1)], vec![www(1)]));
    lab.hold(&[]);
    assert_eq!(lab.unfit(), (vec![www(1)], vec![]));
    assert_eq!(lab.standing("c", Standing::Unknown), "looked at by the node that holds the service");
    lab.hold(&[www(1)]);
    assert_eq!(lab.unfit(), (vec![], vec![]), "an operator brought it: it has another chance");
    lab.end();
}

#[test]
fn away_and_back_is_seen_however_quick() {
    let lab = lab(
        "stay",
        "[check c]\nservice = www1\ntype = script\ntarget = exit 2\ninterval = 300ms\nfail = 1\npolicy = move\n",
    );
    lab.hold(&[www(1)]);
    assert_eq!(lab.unfit(), (vec![www(1)], vec![www(1)]));
    lab.hold(&[]);
    lab.hold(&[www(1)]);
    let mut told = lab.unfit();
    if told == (vec![www(1)], vec![]) {
        // It looked just between the two.
        told = lab.unfit();
    }
    assert_eq!(told, (vec![], vec![]));
    lab.end();
}

#[test]
fn the_end_of_a_process_is_seen_long_before_the_next_poll() {
    let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("sleep runs");
    let lab = lab(
        "process",
        "[check c]\nservice = www1\ntype = process\ntarget = DIR/pid\ninterval = 1h\npolicy = restart:1/1h\n",
    );
    fs::write(lab.directory.path.join("pid"), child.id().to_string()).expect("writable");
    lab.hold(&[www(1)]);
    assert_eq!(lab.standing("c", Standing::Well), format!("process {} lives", child.id()));
    child.kill().expect("ours");
    child.wait().expect("ended");
    assert_eq!(lab.event(), "check-failing c -");
    assert_eq!(lab.event(), "check-step c restart:1/1h");
    assert_eq!(lab.restart_order().service, www(1));
    assert_eq!(lab.standing("c", Standing::Failing), format!("process {} has ended", child.id()));
    lab.end();
}

#[test]
fn commands_of_the_service_keep_its_checks_from_judging() {
    let lab = lab(
        "busy",
        "[check c]\nservice = www1\ntype = script\ntarget = touch DIR/ran; exit 2\ninterval = 20ms\nfail = 1\n",
    );
    *lab.published.busy.lock() = [www(1)].into();
    lab.hold(&[www(1)]);
    lab.standing("c", Standing::Unknown);
    // As long as a command runs it does not even run; when that has ended it does.
    *lab.published.busy.lock() = [].into();
    assert_eq!(lab.event(), "check-failing c -");
    assert!(lab.directory.path.join("ran").exists());
    lab.end();
}

#[test]
fn a_worker_that_hangs_is_written_off_and_the_others_go_on() {
    let lab = lab("hang", "");
    let fifo = lab.directory.path.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    // Opening it for reading hangs until somebody writes: as a disk does, for as long as it likes.
    let text = format!(
        "{BASE}[check hangs]\nservice = node\ntype = process\ntarget = {}\ninterval = 50ms\nfail = 1\n\
         [check c]\nservice = node\ntype = load\ntarget = 1000000\ninterval = 20ms\n",
        fifo.display()
    );
    lab.reload(&text);
    assert_eq!(lab.event(), "check-failing hangs -");
    assert_eq!(lab.event(), "check-step hangs alert");
    lab.standing("c", Standing::Well);
    assert_eq!(lab.event(), "check-exhausted hangs -");
    assert_eq!(lab.event(), "check-hangs hangs -");
    let message = lab.standing("hangs", Standing::Failing);
    assert!(message.starts_with("no answer for "), "{message}");
    assert!(lab.standing("c", Standing::Well).starts_with("load average "));
    // It lets go: the late answer counts for nothing, the next run does.
    let aside = lab.directory.path.join("aside");
    fs::rename(&fifo, &aside).expect("ours");
    fs::write(&fifo, std::process::id().to_string()).expect("writable");
    fs::write(&aside, "1").expect("somebody reads");
    assert_eq!(lab.event(), "check-recovered hangs -");
    lab.end();
}

#[test]
fn a_check_that_is_no_more_is_forgotten() {
    let lab = lab("reload", "[check c]\nservice = node\ntype = load\ntarget = 1000000\ninterval = 20ms\n");
    lab.standing("c", Standing::Well);
    lab.reload(BASE);
    let until = patience();
    while !lab.published.checks.read().is_empty() {
        assert!(clock::now() < until, "still there");
        clock::sleep_until(clock::now() + Duration::from_millis(5));
    }
    lab.end();
}

#[test]
fn whom_a_check_concerns_has_a_name() {
    let text = format!("{BASE}[check c]\nservice = node\ntype = load\ntarget = 1\n");
    let config = config::parse("test", text.as_bytes()).expect("right").config;
    assert_eq!(concerned(&config, &config.checks[0]), "this node");
}

#[test]
fn what_is_asked_for_runs_at_once_and_counts_for_nothing() {
    let lab = lab(
        "demand",
        "[check slow]\nservice = node\ntype = script\ntarget = echo 'BAD - no | t=1'; exit 2\ninterval = 1h\nfail = 2\n\
         [check hangs]\nservice = node\ntype = script\ntarget = sleep 60\ninterval = 1h\ntimeout = 50ms\n",
    );
    let ask = |name: &str| {
        let (answer, answered) = crossbeam_channel::bounded(1);
        assert!(lab.orders.send(Order::Asked(RunOrder { check: name.to_owned(), answer })));
        answered.recv_timeout(Duration::from_secs(60)).expect("an answer")
    };
    for _ in 0..5 {
        let (finding, _) = ask("slow").expect("it ran");
        assert_eq!(finding, Finding::bad("BAD - no").measured(Some("t=1".to_owned())));
    }
    let (late, took) = ask("hangs").expect("it ran");
    assert_eq!(late, Finding::bad("no answer within 50 ms"));
    assert!(took >= Duration::from_millis(50));
    assert_eq!(ask("nobody"), Err("there is no check nobody".to_owned()));
    // Five bad answers, and one more by the schedule: two in a row would have been a failure.
    let line = lab.published.checks.read().remove("slow").expect("it is on the board");
    assert_eq!(line.standing, Standing::Unknown);
    lab.end();
}

#[test]
fn a_card_of_which_the_kernel_tells_is_looked_at_at_once() {
    let lab = lab(
        "card",
        "[check lost]\nservice = node\ntype = link\ntarget = dh-none0\ninterval = 1h\nfail = 3\npolicy = alert\n",
    );
    // Its first run comes by the schedule; one bad look says nothing yet, and another would be an hour away.
    let until = patience();
    while lab.published.checks.read().get("lost").is_none_or(|line| line.took.is_none()) {
        assert!(clock::now() < until, "it never ran");
        clock::sleep_until(clock::now() + Duration::from_millis(5));
    }
    assert!(lab.orders.send(Order::Card { device: "dh-other0".to_owned() }));
    assert!(lab.orders.send(Order::Card { device: "dh-none0".to_owned() }));
    assert_eq!(lab.event(), "check-failing lost -");
    assert_eq!(lab.event(), "check-step lost alert");
    assert_eq!(lab.standing("lost", Standing::Failing), "dh-none0: no such device");
    lab.end();
}

#[test]
fn warnings_begin_and_end_once_and_take_no_step() {
    let lab = lab(
        "warning",
        "[check disk]\nservice = node\ntype = script\ninterval = 20ms\nfail = 2\nrise = 2\npolicy = alert\n\
         target = test ! -e DIR/full || { echo 'WARNING - 85% | used=85%'; exit 1; }\n",
    );
    lab.standing("disk", Standing::Well);
    fs::write(lab.directory.path.join("full"), "").expect("writable");
    assert_eq!(lab.event(), "check-warning disk -");
    let line = lab.published.checks.read().remove("disk").expect("it is on the board");
    assert_eq!((line.standing, line.warning), (Standing::Well, true));
    assert_eq!((line.message.as_str(), line.performance.as_deref()), ("WARNING - 85%", Some("used=85%")));
    fs::remove_file(lab.directory.path.join("full")).expect("ours");
    assert_eq!(lab.event(), "check-warning-over disk -");
    lab.end();
}

#[test]
fn a_start_has_the_grace_that_the_file_gives() {
    let lab = lab(
        "grace",
        "[check www1-script]\nservice = www1\ntype = script\ntarget = exit 2\ninterval = 20ms\nfail = 1\n\
         start_grace = 300ms\npolicy = alert\n",
    );
    let began = clock::now();
    lab.hold(&[www(1)]);
    assert_eq!(lab.event(), "check-failing www1-script -");
    assert!(clock::now().since(began) >= Duration::from_millis(250), "twenty runs, had it no grace");
    lab.end();
}

#[test]
fn a_thousand_checks_of_one_service_are_all_looked_at() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let checks = (0..1_000).map(|number| {
        format!("[check c{number}]\nservice = www1\ntype = tcp\ntarget = {address}\ntimeout = 1s\n")
    });
    let lab = lab("thousand", &checks.collect::<String>());
    lab.hold(&[www(1)]);
    let until = patience();
    let well = || lab.published.checks.read().values().filter(|line| line.standing == Standing::Well).count();
    while well() < 1_000 {
        assert!(clock::now() < until, "only {} are well", well());
        clock::sleep_until(clock::now() + Duration::from_millis(20));
    }
    lab.end();
}
