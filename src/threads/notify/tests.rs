use super::*;
use crate::control::events::EventLog;
use crate::control::scratch::Directory;
use crate::os::namespace;
use crate::threads::mailbox::mailbox;
use serde_json::{Map, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

const CONFIG: &str = "
[cluster]
name = test
[node web1]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service www1]
home = web1
address = 203.0.113.21/24
[service www2]
home = web1
address = 203.0.113.22/24
";

/// Longer than anything takes here, however busy the machine is.
const LONG: Duration = Duration::from_secs(30);

struct Lab {
    orders: Sender<Order>,
    published: Arc<Published>,
    thread: JoinHandle<()>,
    directory: Directory,
}

/// `DIR` in the sections is a directory of the test's own.
fn lab(name: &str, sections: &str) -> Lab {
    let directory = Directory::new(name);
    let (orders, mailbox) = mailbox(ORDERS);
    let published = Published::of(&configuration(sections, &directory));
    let missed = Arc::new(AtomicU64::new(0));
    published.events.tap(tap(orders.clone(), missed.clone()));
    let me = published.config().nodes[0].id;
    // A failed attempt is not waited for long.
    let patience = Duration::from_millis(5);
    let notify = Notify { me, mailbox, published: published.clone(), missed, patience };
    let thread = crate::threads::start("notify", crate::threads::Urgency::Ordinary, || notify.run());
    Lab { orders, published, thread: thread.expect("starts"), directory }
}

fn configuration(sections: &str, directory: &Directory) -> String {
    format!("{CONFIG}{}", sections.replace("DIR", directory.path.to_str().expect("a plain path")))
}

impl Lab {
    fn happens(&self, fields: Value) {
        let Value::Object(fields) = fields else { panic!("an object") };
        let text = format!("it is {}", fields["event"]);
        self.published.events.push(clock::wall(), text, fields);
    }

    fn many(&self, count: usize) {
        for _ in 0..count {
            self.happens(json!({"event": "committed"}));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path.join(name)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.path(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn wait(&self, what: &str, is: impl Fn() -> bool) {
        let until = clock::now() + LONG;
        while !is() {
            assert!(clock::now() < until, "{what}: not within {LONG:?}");
            clock::sleep_until(clock::now() + Duration::from_millis(5));
        }
    }

    fn wait_for_lines(&self, name: &str, count: usize) -> Vec<String> {
        self.wait(name, || self.lines(name).len() >= count);
        self.lines(name)
    }

    fn end(self) {
        self.orders.send(Order::End);
        self.thread.join().expect("ends");
    }
}

fn is_alive(pid: &str) -> bool {
    // A zombie is none that runs.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_command_gets_json_and_the_main_fields_in_order() {
    let lab = lab(
        "order",
        "[notify one]\ntype = command\ntarget = cat >> DIR/json; echo \"$DIEHARD_NUMBER $DIEHARD_EVENT $DIEHARD_EVENT_SERVICE $DIEHARD_EVENT_AFTER_MS $DIEHARD_NODE\" >> DIR/words\n",
    );
    for number in 0..20 {
        lab.happens(json!({"event": "down", "node": "web2", "after_ms": number, "service": "www1"}));
    }
    let words = lab.wait_for_lines("words", 20);
    let expected: Vec<String> = (0..20).map(|at| format!("{} down www1 {at} web1", at + 1)).collect();
    assert_eq!(words, expected);
    let told: Value = serde_json::from_str(&lab.lines("json")[2]).expect("JSON");
    let time = told["time"].as_str().expect("a time").to_owned();
    let expected = json!({
        "cluster": "test", "node": "web1", "target": "one", "number": 3, "lost": 0, "sequence": 3, "time": time,
        "level": "warning", "event": "down", "text": "it is \"down\"",
        "fields": {"event": "down", "node": "web2", "after_ms": 2, "service": "www1"},
    });
    assert_eq!(told, expected);
    lab.end();
}

#[test]
fn the_key_of_the_cluster_is_a_target_without_a_filter() {
    let lab = lab("plain", "");
    let with = CONFIG
        .replace("name = test", "name = test\nnotify = echo $DIEHARD_TARGET $DIEHARD_EVENT >> DIR/told");
    let with = with.replace("DIR", lab.directory.path.to_str().expect("a plain path"));
    *lab.published.config.write() = Published::of(&with).config();
    lab.happens(json!({"event": "reloaded"}));
    lab.happens(json!({"event": "committed"}));
    assert_eq!(lab.wait_for_lines("told", 2), ["notify reloaded", "notify committed"]);
    // Taken away again, it is told nothing more, and another in its place.
    let sections = "[notify other]\ntype = command\ntarget = echo $DIEHARD_NUMBER >> DIR/other\n";
    *lab.published.config.write() = Published::of(&configuration(sections, &lab.directory)).config();
    lab.many(3);
    assert_eq!(lab.wait_for_lines("other", 3), ["1", "2", "3"]);
    assert_eq!(lab.lines("told").len(), 2);
    lab.end();
}

#[test]
fn filters_let_through_what_was_asked_for() {
    let lab = lab(
        "filters",
        "[notify some]\ntype = command\ntarget = echo $DIEHARD_EVENT $DIEHARD_EVENT_SERVICE >> DIR/some\n\
         events = taken, released, down\nservices = www2\n\
         [notify grave]\ntype = command\ntarget = echo $DIEHARD_EVENT $DIEHARD_LEVEL >> DIR/grave\nlevel = warning\n",
    );
    for (event, service) in [("taken", "www1"), ("taken", "www2"), ("assigned", "www2"), ("forced", "www1")] {
        lab.happens(json!({"event": event, "service": service}));
    }
    lab.happens(json!({"event": "down", "node": "web2"}));
    lab.happens(json!({"event": "released", "service": "www2"}));
    assert_eq!(lab.wait_for_lines("some", 2), ["taken www2", "released www2"]);
    assert_eq!(lab.wait_for_lines("grave", 2), ["forced error", "down warning"]);
    lab.end();
}

#[test]
fn a_slow_one_keeps_nobody_waiting_and_loses_nothing() {
    let lab = lab(
        "slow",
        "[notify slow]\ntype = command\ntimeout = 1min\n\
         target = while [ ! -e DIR/go ]; do sleep 0.02; done; echo $DIEHARD_NUMBER >> DIR/slow\n\
         [notify quick]\ntype = command\ntarget = echo $DIEHARD_NUMBER >> DIR/quick\n",
    );
    lab.many(40);
    let expected: Vec<String> = (1..=40).map(|number| number.to_string()).collect();
    assert_eq!(lab.wait_for_lines("quick", 40), expected);
    assert_eq!(lab.lines("slow"), [""; 0]);
    fs::write(lab.path("go"), "").expect("writable");
    assert_eq!(lab.wait_for_lines("slow", 40), expected);
    lab.end();
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let lab = lab(
        "bound",
        "[notify full]\ntype = command\ntimeout = 1min\nqueue = 3\n\
         target = echo begun >> DIR/begun; while [ ! -e DIR/go ]; do sleep 0.02; done; \
         echo $DIEHARD_NUMBER $DIEHARD_LOST >> DIR/told\n\
         [notify witness]\ntype = command\ntarget = echo $DIEHARD_NUMBER >> DIR/witness\n",
    );
    lab.many(1);
    lab.wait_for_lines("begun", 1);
    lab.many(9);
    // Each event is handed to the one before it is to the other.
    lab.wait_for_lines("witness", 10);
    fs::write(lab.path("go"), "").expect("writable");
    assert_eq!(lab.wait_for_lines("told", 4), ["1 0", "2 0", "3 0", "4 0"]);
    lab.many(1);
    assert_eq!(lab.wait_for_lines("told", 5)[4], "11 6");
    lab.many(1);
    assert_eq!(lab.wait_for_lines("told", 6)[5], "12 0");
    lab.end();
}

#[test]
fn one_that_hangs_and_floods_is_ended_with_its_children() {
    let lab = lab(
        "hangs",
        "[notify hangs]\ntype = command\ntimeout = 2s\nretries = 0\n\
         target = if [ $DIEHARD_NUMBER = 1 ]; then trap '' TERM; sleep 600 & echo $! $$ > DIR/pids; yes; fi; \
         echo $DIEHARD_NUMBER $DIEHARD_LOST >> DIR/told\n",
    );
    lab.many(2);
    assert_eq!(lab.wait_for_lines("told", 1), ["2 1"], "the next one says that one is missing");
    let pids = lab.lines("pids").join(" ");
    lab.wait("its processes end", || !pids.split(' ').any(is_alive));
    assert_eq!(pids.split(' ').count(), 2);
    lab.end();
}

#[test]
fn a_failure_is_tried_again_before_the_next_is_told() {
    let lab = lab(
        "fails",
        "[notify fails]\ntype = command\n\
         target = echo $DIEHARD_NUMBER >> DIR/tried; [ $(wc -l < DIR/tried) -ge 4 ] || exit 7; cat >> DIR/told\n",
    );
    lab.many(2);
    assert_eq!(lab.wait_for_lines("tried", 5), ["1", "1", "1", "1", "2"]);
    let told = lab.wait_for_lines("told", 2);
    let numbers: Vec<Value> = told
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["number"].clone())
        .collect();
    assert_eq!(numbers, [1, 2]);
    lab.end();
}

/// Takes requests on that address and answers each with the next of these statuses, then with the last for ever; the
/// numbers of what was answered with 200 are given back once there are `count` of them.
fn receiver(listener: &TcpListener, statuses: &[u16], count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    let mut statuses = statuses.iter();
    let mut status = *statuses.next().expect("one at least");
    while taken.len() < count {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut reader = BufReader::new(stream.try_clone().expect("descriptors"));
        let mut length = 0;
        let mut head = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        if status == 200 {
            taken.push(told["number"].as_u64().expect("a number"));
        }
        let answer = format!("HTTP/1.1 {status} Well\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("it listens");
        status = statuses.next().copied().unwrap_or(status);
    }
    taken
}

#[test]
fn a_receiver_that_is_down_gets_everything_in_order_when_it_is_up() {
    // A network of its own: nobody else takes the port meanwhile.
    namespace::within(|| {
        let address = "127.0.0.1:8080";
        let lab = lab(
            "webhook",
            &format!("[notify hook]\ntype = webhook\ntarget = http://{address}/hook?a=b\nretries = 1000\n"),
        );
        lab.many(5);
        // Nobody listens: attempts fail at once, and go on.
        clock::sleep_until(clock::now() + Duration::from_millis(50));
        let listener = TcpListener::bind(address).expect("nobody else has it");
        assert_eq!(receiver(&listener, &[500, 302, 404, 200], 5), [1, 2, 3, 4, 5]);
        lab.many(1);
        assert_eq!(receiver(&listener, &[200], 1), [6]);
        lab.end();
    });
}

#[test]
fn a_receiver_that_says_nothing_is_given_up() {
    namespace::within(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").expect("nobody else has it");
        let lab = lab(
            "silent",
            "[notify hook]\ntype = webhook\ntarget = http://127.0.0.1:8080/hook?a=b\ntimeout = 500ms\nretries = 2\n",
        );
        lab.many(1);
        let silent: Vec<_> = (0..3).map(|_| listener.accept().expect("an attempt")).collect();
        lab.many(1);
        assert_eq!(receiver(&listener, &[200], 1), [2]);
        drop(silent);
        lab.end();
    });
}

#[test]
fn mail_has_a_header_that_no_event_can_break() {
    let lab = lab(
        "mail",
        "[notify admin]\ntype = mail\ntarget = root,on-call@example.org\nsendmail = DIR/send mail\nlevel = warning\n",
    );
    let script = lab.path("send mail");
    let out = lab.path("mail").display().to_string();
    fs::write(
        &script,
        format!("#!/bin/sh\necho \"$@\" > {out}.arguments\ncat > {out}.part && mv {out}.part {out}\n"),
    )
    .expect("writable");
    namespace::run(&format!("chmod 755 '{}'", script.display()));
    let text = "check one fails: \u{e9}\r\nBcc: everybody@example.org".to_owned();
    let mut fields = Map::new();
    fields.insert("event".to_owned(), json!("check-failing"));
    fields.insert("message".to_owned(), json!("a\nb\0c"));
    lab.published.events.push(clock::wall(), text, fields);
    lab.wait("mail", || lab.path("mail").exists());
    let mail = fs::read_to_string(lab.path("mail")).expect("text");
    let (header, body) = mail.split_once("\n\n").expect("a header and a body");
    let expected = "To: root, on-call@example.org\n\
                    Subject: [test] web1: check one fails: ?  Bcc: everybody@example.org\n\
                    MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
                    Content-Transfer-Encoding: 8bit\nAuto-Submitted: auto-generated";
    assert_eq!(header, expected);
    assert!(body.contains("\u{e9}") && body.contains("message         a b c\n"), "{body}");
    assert_eq!(lab.lines("mail.arguments"), ["-t -i"]);
    lab.end();
}

#[test]
fn at_the_end_what_waits_is_told_and_what_hangs_is_ended() {
    let lab = lab(
        "end",
        "[notify good]\ntype = command\ntarget = echo $DIEHARD_NUMBER >> DIR/good\n\
         [notify bad]\ntype = command\ntarget = echo $$ >> DIR/pid; exec sleep 600\ntimeout = 1h\n\
         [notify failing]\ntype = command\ntarget = echo $DIEHARD_NUMBER >> DIR/failing; exit 1\n",
    );
    lab.many(5);
    let pid = lab.wait_for_lines("pid", 1)[0].clone();
    lab.wait_for_lines("failing", 1);
    assert!(is_alive(&pid));
    lab.orders.send(Order::End);
    lab.wait("its end", || lab.thread.is_finished());
    assert_eq!(lab.lines("good").len(), 5);
    assert!(!is_alive(&pid));
    assert_eq!(lab.lines("failing").last().map(String::as_str), Some("5"), "each once more at the end");
    lab.end();
}

#[test]
fn who_reports_an_event_never_waits_for_a_full_mailbox() {
    let (orders, mailbox) = mailbox(2);
    let missed = Arc::new(AtomicU64::new(0));
    let events = EventLog::default();
    events.tap(tap(orders, missed.clone()));
    for _ in 0..5 {
        events.push(clock::wall(), "it happens".to_owned(), Map::new());
    }
    assert_eq!(missed.load(Ordering::Relaxed), 3);
    let numbers = [mailbox.take(), mailbox.take()].map(|received| match received {
        Received::Message(Order::Happened(entry)) => entry.sequence,
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers, [1, 2]);
}
