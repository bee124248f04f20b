#![allow(clippy::disallowed_methods, reason = "a real socket lives in real time")]

use super::*;
use crate::control::rehearsal::Rehearsal;
use crate::control::scratch::Directory;
use crate::control::status::samples::{WEB3, view_with_ground};
use crate::controller::{NodeState, ServiceState};
use crate::wire::Command as Order;
use clap::Parser as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

mod every;

/// Exit code, standard output, standard error.
type Outcome = (u8, String, String);

fn run_with(socket: &Path, words: &[&str]) -> Outcome {
    let line = ["diehard", "-s", socket.to_str().unwrap()].into_iter().chain(words.iter().copied());
    let arguments = Arguments::try_parse_from(line).expect("right usage");
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let code = run(&arguments, &mut out, &mut error, Look { colour: false, columns: 100 });
    (code, String::from_utf8(out).unwrap(), String::from_utf8(error).unwrap())
}

fn done(outcome: Outcome) -> String {
    assert_eq!((outcome.0, outcome.2.as_str()), (DONE, ""), "{outcome:?}");
    outcome.1
}

fn failure(code: u8, why: &str) -> Outcome {
    (code, String::new(), format!("diehard: {why}\n"))
}

#[test]
fn the_pictures_are_shown_as_text_and_as_json() {
    let rehearsal = Rehearsal::new();
    let show = |words: &[&str]| done(run_with(&rehearsal.socket(), words));
    let text = show(&["status"]);
    assert!(
        text.starts_with("cluster www · quorum") && text.contains("away from home: web2 is down"),
        "{text}"
    );
    assert!(text.contains(&show(&["nodes"])) && text.contains(&show(&["services"])));
    let json: serde_json::Value = serde_json::from_str(&show(&["--json", "status"])).unwrap();
    assert_eq!((&json["cluster"], &json["nodes"][1]["state"]), (&"www".into(), &"down".into()));
    let text = show(&["status", "--json"]);
    assert!(text.find("\"cluster\"") < text.find("\"epoch\""), "in the promised order: {text}");
    let nodes: serde_json::Value = serde_json::from_str(&show(&["--json", "nodes"])).unwrap();
    assert_eq!(nodes, json["nodes"]);
    let services: serde_json::Value = serde_json::from_str(&show(&["--json", "services"])).unwrap();
    assert_eq!(services, json["services"]);
}

#[test]
fn why_is_told_as_text_and_as_json_and_an_unknown_service_has_a_near_name() {
    let rehearsal = Rehearsal::new();
    *rehearsal.view.lock() = view_with_ground();
    let text = done(run_with(&rehearsal.socket(), &["why", "www2"]));
    assert!(
        text.starts_with("www2 is held by web3, its home is web2\naway from home: web2 is down\n"),
        "{text}"
    );
    let json = done(run_with(&rehearsal.socket(), &["--json", "why", "www2"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["next"], &json["moves"][0]["cause"]), (&"web1".into(), &"holder-down".into()));
    let service = "there is no service wwv2; did you mean www2? (services: www1, www2, www3)";
    assert_eq!(run_with(&rehearsal.socket(), &["why", "wwv2"]), failure(FAILED, service));
}

#[test]
fn commands_are_sent_and_answered() {
    let rehearsal = Rehearsal::new();
    for (words, expected) in [
        (&["move", "www1", "web3"][..], "www1 moves to web3\n"),
        (&["failback", "www2"], "www2 goes home\n"),
        (&["failback", "all"], "all services go home\n"),
        (&["standby", "web1"], "web1 goes on standby\n"),
        (&["online", "web1"], "web1 goes back into service\n"),
        (&["freeze"], "frozen: no automatic moves except from the dead\n"),
        (&["thaw"], "thawed: automatic moves go on\n"),
    ] {
        assert_eq!(done(run_with(&rehearsal.socket(), words)), expected);
    }
    assert_eq!(rehearsal.commands.lock().len(), 7);
    assert_eq!(done(run_with(&rehearsal.socket(), &["--json", "freeze"])), "{\n  \"ok\": true\n}\n");
}

#[test]
fn a_misspelt_name_is_refused_before_anything_is_sent() {
    let rehearsal = Rehearsal::new();
    let run = |words: &[&str]| run_with(&rehearsal.socket(), words);
    let node = "there is no node wbe1; did you mean web1? (nodes: web1, web2, web3)";
    let service = "there is no service www7; did you mean www1? (services: www1, www2, www3)";
    assert_eq!(run(&["move", "www7", "web1"]), failure(FAILED, service));
    assert_eq!(run(&["failback", "www7"]), failure(FAILED, service));
    for command in ["standby", "online"] {
        assert_eq!(run(&[command, "wev1"]), failure(FAILED, &node.replace("wbe1", "wev1")));
    }
    assert_eq!(
        run(&["move", "www1", "database"]),
        failure(FAILED, "there is no node database (nodes: web1, web2, web3)")
    );
    assert!(rehearsal.commands.lock().is_empty());
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let rehearsal = Rehearsal::with(Box::new(|_, _| Some(Err("web2 is down".into()))));
    for words in [&["move", "www1", "web2"][..], &["freeze"], &["standby", "web1", "--wait"]] {
        assert_eq!(run_with(&rehearsal.socket(), words), failure(FAILED, "web2 is down"));
    }
}

#[test]
fn wait_returns_when_it_is_done() {
    let rehearsal = Rehearsal::with(Box::new(|order, view| {
        match order {
            Order::Move { service, to } => {
                view.services.iter_mut().filter(|it| it.id == service).for_each(|it| it.holder = Some(to));
            }
            Order::Standby { node } => {
                let away = view.nodes.iter().map(|node| node.id).find(|id| *id != node);
                view.services.iter_mut().filter(|it| it.holder == Some(node)).for_each(|it| it.holder = away);
                view.nodes.iter_mut().filter(|it| it.id == node).for_each(|it| it.state = NodeState::Standby);
            }
            _ => {}
        }
        Some(Ok(()))
    }));
    for (words, expected) in [
        (&["move", "www1", "web3", "--wait"][..], "www1 moves to web3: done after "),
        (&["standby", "web3", "-w"], "web3 goes on standby: done after "),
        (&["online", "web1", "-w", "--timeout", "5"], "web1 goes back into service: done after "),
        (&["failback", "www1", "-w"], "www1 goes home: done after "),
    ] {
        let text = done(run_with(&rehearsal.socket(), words));
        assert!(text.starts_with(expected), "{text}");
    }
    let json = done(run_with(&rehearsal.socket(), &["--json", "move", "www1", "web3", "-w"]));
    assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["after_ms"].is_u64(), "{json}");
}

#[test]
fn wait_gives_up_with_what_is_missing() {
    let rehearsal = Rehearsal::new();
    let outcome = run_with(&rehearsal.socket(), &["move", "www1", "web3", "--wait", "--timeout", "1"]);
    assert_eq!(outcome, failure(FAILED, "not done after 1 s: www1 is held at web1"));
    let outcome = run_with(&rehearsal.socket(), &["failback", "all", "--wait", "--timeout", "0"]);
    assert_eq!(outcome, failure(FAILED, "not done after 0 s: www2 is held at web3"));
}

#[test]
fn wait_tells_a_move_that_was_given_up() {
    let rehearsal = Rehearsal::with(Box::new(|_, view| {
        view.services[0].state = ServiceState::Moving;
        Some(Ok(()))
    }));
    let view = rehearsal.view.clone();
    let back = thread_after(Duration::from_millis(200), move || {
        let mut view = view.lock();
        (view.services[0].state, view.services[0].holder) = (ServiceState::Held, Some(WEB3));
    });
    let outcome = run_with(&rehearsal.socket(), &["move", "www1", "web2", "--wait"]);
    back.join().unwrap();
    let why = "the move of www1 to web2 was given up, it is at web3; see `diehard events`";
    assert_eq!(outcome, failure(FAILED, why));
}

fn thread_after(delay: Duration, act: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(delay);
        act();
    })
}

#[test]
fn events_are_shown_chosen_and_limited() {
    let rehearsal = Rehearsal::new();
    for second in 1..=3 {
        let fields = serde_json::Map::from_iter([("event".to_owned(), "reloaded".into())]);
        rehearsal.events.push(UNIX_EPOCH + Duration::from_secs(second), format!("event {second}"), fields);
    }
    let show = |words: &[&str]| done(run_with(&rehearsal.socket(), words));
    let line = |second: u64| format!("1970-01-01T00:00:0{second}.000Z  web1: event {second}\n");
    assert_eq!(show(&["events"]), line(1) + &line(2) + &line(3));
    assert_eq!(show(&["events", "--since", "2"]), line(3));
    assert_eq!(show(&["events", "--limit", "1"]), line(3));
    assert_eq!(show(&["events", "--since", "1970-01-01T00:00:02Z"]), line(2) + &line(3));
    assert_eq!(show(&["events", "--since", "1970-01-01T00:00:01Z", "--limit", "1"]), line(3));
    assert_eq!(show(&["events", "--since", "1h"]), "");
    let json = show(&["--json", "events", "--since", "2"]);
    let entry: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&entry["sequence"], &entry["fields"]["event"]), (&3.into(), &"reloaded".into()));
    rehearsal.events.push_of("web3", UNIX_EPOCH, "elsewhere, and before".into(), serde_json::Map::new());
    let first = "1970-01-01T00:00:00.000Z  web3: elsewhere, and before\n".to_owned();
    assert_eq!(show(&["events"]), first + &line(1) + &line(2) + &line(3));
    assert_eq!(show(&["events", "--here"]), line(1) + &line(2) + &line(3));
    let wrong = run_with(&rehearsal.socket(), &["events", "--since", "yesterday"]);
    assert_eq!((wrong.0, wrong.1.as_str()), (USAGE, ""));
    assert!(wrong.2.starts_with("diehard: --since yesterday: expected an event's number"), "{}", wrong.2);
}

#[test]
fn forgotten_events_are_counted() {
    let rehearsal = Rehearsal::new();
    for _ in 0..=crate::control::events::ENTRIES_MAX {
        rehearsal.events.push(UNIX_EPOCH, "again".into(), serde_json::Map::new());
    }
    let (code, _, error) = run_with(&rehearsal.socket(), &["events", "--limit", "1"]);
    assert_eq!((code, error.as_str()), (DONE, "diehard: 1 older events are forgotten\n"));
}

#[test]
fn a_follower_sees_what_happens_until_the_daemon_ends() {
    let mut rehearsal = Rehearsal::new();
    let (socket, events) = (rehearsal.socket(), rehearsal.events.clone());
    let follower = std::thread::spawn(move || run_with(&socket, &["events", "-f"]));
    std::thread::sleep(Duration::from_millis(100));
    events.push(UNIX_EPOCH, "something".into(), serde_json::Map::new());
    std::thread::sleep(Duration::from_millis(100));
    let socket = rehearsal.socket();
    rehearsal.stop();
    let (code, out, error) = follower.join().unwrap();
    assert_eq!((code, out.as_str()), (UNREACHABLE, "1970-01-01T00:00:00.000Z  web1: something\n"));
    let lost = "it closed the connection (is it stopping?)";
    assert_eq!(error, format!("diehard: lost the daemon at {}: {lost}\n", socket.display()));
}

/// A reader that goes away, or a disk that is full.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure_but_a_full_disk_is() {
    let rehearsal = Rehearsal::new();
    let socket = rehearsal.socket();
    let arguments = Arguments::try_parse_from(["diehard", "-s", socket.to_str().unwrap(), "status"]).unwrap();
    let mut error = Vec::new();
    let look = Look { colour: false, columns: 100 };
    assert_eq!(run(&arguments, &mut Broken(io::ErrorKind::BrokenPipe), &mut error, look), DONE);
    assert!(error.is_empty());
    assert_eq!(run(&arguments, &mut Broken(io::ErrorKind::StorageFull), &mut error, look), FAILED);
    let error = String::from_utf8(error).unwrap();
    assert!(error.starts_with("diehard: cannot write the answer: "), "{error}");
}

#[test]
fn a_daemon_that_is_not_there_is_told_with_what_to_do() {
    let directory = Directory::new("unreachable");
    let socket = directory.path.join("control.sock");
    let at = format!("cannot reach the daemon at {}", socket.display());
    let outcome = run_with(&socket, &["status"]);
    let advice =
        "it does not exist: start the daemon (/etc/init.d/diehard start), or name its socket with -s";
    assert_eq!(outcome, failure(UNREACHABLE, &format!("{at}: {advice}")));
    drop(UnixListener::bind(&socket).unwrap());
    let outcome = run_with(&socket, &["status"]);
    let advice = "it exists, but no daemon listens: it ended without clearing up; start it (/etc/init.d/diehard start)";
    assert_eq!(outcome, failure(UNREACHABLE, &format!("{at}: {advice}")));
    let long = directory.path.join("x".repeat(120));
    let (code, _, error) = run_with(&long, &["status"]);
    assert_eq!(code, UNREACHABLE);
    assert!(
        error.starts_with(&format!("diehard: cannot reach the daemon at {}: ", long.display())),
        "{error}"
    );
}

#[test]
fn a_daemon_that_talks_nonsense_is_told() {
    for (said, expected) in [
        (&b"hello\n"[..], "the daemon's answer is not one line of JSON"),
        (b"{\"version\":7}\n", "the daemon's answer is of protocol version 7, this program speaks 1"),
        (b"{\"version\":1", "its answer is cut off"),
        (b"", "it closed the connection (is it stopping?)"),
        (
            b"{\"version\":1,\"ok\":true,\"result\":{}}\n",
            "its status is not understood (missing field `cluster`)",
        ),
    ] {
        let directory = Directory::new("nonsense");
        let socket = directory.path.join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let speaker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 200];
            let _ = io::Read::read(&mut stream, &mut question);
            stream.write_all(said).unwrap();
        });
        let (code, out, error) = run_with(&socket, &["status"]);
        speaker.join().unwrap();
        assert_eq!((code, out.as_str()), (UNREACHABLE, ""));
        let start = format!("diehard: lost the daemon at {}: {expected}", socket.display());
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn keys_are_made_without_a_daemon() {
    let directory = Directory::new("key-new");
    let file = directory.path.join("diehard.key");
    let words = ["key", "new", file.to_str().unwrap()];
    let nowhere = Path::new("/nonexistent");
    let text = done(run_with(nowhere, &words));
    assert_eq!(text, format!("{}: a new key; copy it to every node, mode 0600\n", file.display()));
    let why = format!("{} exists already: a key is never overwritten; remove it first", file.display());
    assert_eq!(run_with(nowhere, &words), failure(FAILED, &why));
}

#[test]
fn configurations_are_checked_and_shown_without_a_daemon() {
    let directory = Directory::new("config");
    let file = directory.path.join("diehard.conf");
    let name = file.to_str().unwrap();
    std::fs::write(
        &file,
        "[cluster]\nname = www\n\
         [node web1]\npriority = 2\ninternal = eth1 192.168.10.1/24\nexternal = eth0\n\
         [node web2]\npriority = 1\ninternal = eth1 192.168.10.2/24\nexternal = eth0\n\
         [service www1]\nhome = web1\naddress = 203.0.113.21/24\n",
    )
    .unwrap();
    let nowhere = Path::new("/nonexistent");
    let (code, out, warnings) = run_with(nowhere, &["config", "check", name]);
    assert_eq!(code, DONE, "{warnings}");
    let expected = format!("{name}: right: cluster www, 2 nodes, 1 services, 0 checks, digest ");
    assert!(out.starts_with(&expected), "{out}");
    assert!(warnings.lines().all(|line| line.starts_with("warning: ")), "{warnings}");
    let (code, shown, _) = run_with(nowhere, &["config", "show", name]);
    assert_eq!(code, DONE);
    assert!(shown.contains("hello_interval"), "defaults are filled in: {shown}");
    std::fs::write(&file, &shown).unwrap();
    assert_eq!(run_with(nowhere, &["config", "show", name]).1, shown, "what is printed parses to the same");
    let json = run_with(nowhere, &["--json", "config", "show", name]).1;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["text"], shown);
    let json = run_with(nowhere, &["--json", "config", "check", name]).1;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["ok"], true);

    std::fs::write(&file, "[cluster]\nnaem = www\n").unwrap();
    for command in ["check", "show"] {
        let (code, out, error) = run_with(nowhere, &["config", command, name]);
        assert_eq!((code, out.as_str()), (FAILED, ""));
        assert!(error.contains(&format!("{name}:2: [cluster] ")), "{error}");
        let last = error.lines().last().unwrap();
        let count = error.lines().count() - 1;
        assert!(last.starts_with(&format!("diehard: {name}: {count} error")), "{error}");
    }
    let (code, _, error) = run_with(nowhere, &["config", "check", "/nonexistent/diehard.conf"]);
    assert_eq!(code, FAILED);
    assert!(error.starts_with("diehard: cannot read /nonexistent/diehard.conf: No such file"), "{error}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for words in [&["diehard"][..], &["diehard", "explode"], &["diehard", "move", "www1"], &["diehard", "-x"]]
    {
        assert_eq!(Arguments::try_parse_from(words).unwrap_err().exit_code(), i32::from(USAGE), "{words:?}");
    }
    assert_eq!(Arguments::try_parse_from(["diehard", "--help"]).unwrap_err().exit_code(), 0);
    let alone = ["diehard", "move", "www1", "web1", "--timeout", "3"];
    assert!(Arguments::try_parse_from(alone).is_err(), "a time limit without a wait");
}

#[test]
fn a_check_is_run_and_its_words_and_exit_code_say_how_it_is() {
    use crate::recovery::Finding;
    let rehearsal = Rehearsal::new();
    let answers = [
        Ok((Finding::well("HTTP status 200 OK"), Duration::from_micros(2_140))),
        Ok((Finding::warns("85% full").measured(Some("used=85%".to_owned())), Duration::from_millis(3))),
        Ok((Finding::bad("no answer within 500 ms"), Duration::from_millis(500))),
        Err("8 checks that were asked for run already: try again".to_owned()),
        Ok((Finding::bad("connection refused"), Duration::from_millis(1))),
    ];
    let answers = parking_lot::Mutex::new(answers.into_iter());
    rehearsal.serve_checks(move |order| {
        assert_eq!(order.check, "www1-http");
        order.answer.send(answers.lock().next().expect("so many questions")).is_ok()
    });
    let run = |words: &[&str]| run_with(&rehearsal.socket(), words);
    let words = ["check", "run", "www1-http"];
    assert_eq!(done(run(&words)), "check www1-http of www1 is well after 2.1 ms: HTTP status 200 OK\n");
    assert_eq!(done(run(&words)), "check www1-http of www1 warns after 3.0 ms: 85% full\nused=85%\n");
    let bad = "check www1-http of www1 FAILS after 500.0 ms: no answer within 500 ms";
    assert_eq!(run(&words), failure(FAILED, bad));
    assert_eq!(run(&words), failure(FAILED, "8 checks that were asked for run already: try again"));
    let (code, json, _) = run(&["--json", "check", "run", "www1-http"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["well"], &json["counted"]), (FAILED, &false.into(), &false.into()));
    assert_eq!((&json["message"], &json["type"]), (&"connection refused".into(), &"http".into()));
    let (code, _, why) = run(&["check", "run", "www1-htp"]);
    assert_eq!(code, FAILED);
    assert!(why.contains("did you mean www1-http?"), "{why}");
}
