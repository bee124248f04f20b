#![allow(clippy::disallowed_methods, reason = "a real socket lives in real time")]

use super::*;
use crate::control::protocol::{Answer, Question, REQUEST_BYTES_MAX, read_answer, write_question};
use crate::control::rehearsal::{PATIENCE, Rehearsal};
use crate::control::scratch::Directory;
use crate::control::status::samples::{WEB1, WEB2, config, www};
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, UNIX_EPOCH};

fn connect(rehearsal: &Rehearsal) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(rehearsal.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    BufReader::new(stream)
}

/// The next answer; `None` at the end of the connection.
fn read(client: &mut BufReader<UnixStream>) -> Option<Answer> {
    let mut line = Vec::new();
    match client.read_until(b'\n', &mut line) {
        Ok(0) => None,
        Ok(_) => Some(read_answer(&line).expect("an answer")),
        // What the server had not read when it closed.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("neither an answer nor an end within 5 s: {error}"),
    }
}

fn ask(client: &mut BufReader<UnixStream>, question: &Question) -> Answer {
    ask_raw(client, write_question(question).as_bytes()).expect("an answer, not an end")
}

fn ask_raw(client: &mut BufReader<UnixStream>, bytes: &[u8]) -> Option<Answer> {
    // A server that refuses may have closed already: what it said counts.
    let _ = client.get_mut().write_all(bytes);
    read(client)
}

fn desk(ask: impl Fn(Request) -> bool + Send + Sync + 'static) -> Desk {
    let config = Arc::new(RwLock::new(Arc::new(config())));
    let keeper = Box::new(|_: &Question| Err("no keeper here".to_owned()));
    Desk {
        ask: Box::new(ask),
        config,
        events: Arc::default(),
        checks: Arc::default(),
        keeper,
        traffic: Box::new(Traffic::default),
        vitals: Box::new(Default::default),
    }
}

#[test]
fn one_connection_may_ask_many_questions() {
    let rehearsal = Rehearsal::new();
    let mut client = connect(&rehearsal);
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &Question::Status).unwrap()["cluster"], "www");
    }
    // Two in one write are two.
    let two = write_question(&Question::Status).repeat(2);
    assert!(ask_raw(&mut client, two.as_bytes()).unwrap().is_ok());
    assert!(read(&mut client).unwrap().is_ok());
}

#[test]
fn commands_reach_the_driver_with_identities() {
    let rehearsal = Rehearsal::new();
    let mut client = connect(&rehearsal);
    let name = |name: &str| name.to_owned();
    for question in [
        Question::Move { service: name("www1"), node: name("web2") },
        Question::Failback { service: None },
        Question::Failback { service: Some(name("www2")) },
        Question::Standby { node: name("web1") },
        Question::Online { node: name("web1") },
        Question::Freeze,
        Question::Thaw,
    ] {
        assert_eq!(ask(&mut client, &question), Ok(serde_json::json!({})), "{question:?}");
    }
    let expected = [
        Command::Move { service: www(1), to: WEB2 },
        Command::Failback { service: None },
        Command::Failback { service: Some(www(2)) },
        Command::Standby { node: WEB1 },
        Command::Online { node: WEB1 },
        Command::Freeze,
        Command::Thaw,
    ];
    assert_eq!(*rehearsal.commands.lock(), expected);
}

#[test]
fn who_said_that_it_only_looks_commands_nothing_any_more() {
    let rehearsal = Rehearsal::new();
    let mut client = connect(&rehearsal);
    assert_eq!(ask(&mut client, &Question::Observe), Ok(serde_json::json!({})));
    let to = |node: &str| Question::Standby { node: node.to_owned() };
    for question in [Question::Freeze, Question::Thaw, to("web1"), Question::Failback { service: None }] {
        assert_eq!(ask(&mut client, &question), Err("this connection may only look".to_owned()));
    }
    assert_eq!(ask(&mut client, &Question::Status).unwrap()["traffic"]["rejected"]["seal"], 3);
    assert!(rehearsal.commands.lock().is_empty());
    let mut another = connect(&rehearsal);
    assert!(ask(&mut another, &Question::Freeze).is_ok());
}

#[test]
fn names_that_do_not_exist_are_refused() {
    let rehearsal = Rehearsal::new();
    rehearsal.view.lock().nodes[2].status.as_mut().unwrap().name = "web9".into();
    let mut client = connect(&rehearsal);
    let online = |node: &str| Question::Online { node: node.into() };
    assert_eq!(ask(&mut client, &online("web7")), Err("there is no node web7".into()));
    assert!(ask(&mut client, &online("web9")).is_ok(), "known by its own STATUS");
    let failback = Question::Failback { service: Some("www7".into()) };
    assert_eq!(ask(&mut client, &failback), Err("there is no service www7".into()));
    rehearsal.view.lock().services[2].id = www(7);
    assert!(ask(&mut client, &failback).is_ok(), "known by the table");
}

#[test]
fn the_controller_s_refusal_comes_through() {
    let rehearsal = Rehearsal::with(Box::new(|_, _| Some(Err("web2 is down".into()))));
    let mut client = connect(&rehearsal);
    assert_eq!(ask(&mut client, &Question::Freeze), Err("web2 is down".into()));
}

#[test]
fn a_cluster_that_does_not_answer_is_told() {
    let rehearsal = Rehearsal::with(Box::new(|_, _| None));
    let mut client = connect(&rehearsal);
    let expected = "no answer from the cluster within 1 s: is there a controller with quorum?";
    assert_eq!(ask(&mut client, &Question::Freeze), Err(expected.into()));
}

#[test]
fn a_driver_that_is_gone_is_told() {
    let mut rehearsal = Rehearsal::new();
    rehearsal.end_driver();
    let mut client = connect(&rehearsal);
    let expected = "the daemon is too busy or stopping: try again";
    assert_eq!(ask(&mut client, &Question::Status), Err(expected.into()));
}

#[test]
fn a_driver_that_is_stuck_or_drops_the_question_is_told() {
    let directory = Directory::new("stuck");
    let dropping = Arc::new(AtomicBool::new(false));
    let kept = Mutex::new(Vec::new());
    let drops = dropping.clone();
    let stuck = desk(move |request| {
        if !drops.load(Ordering::Relaxed) {
            kept.lock().push(request);
        }
        true
    });
    let server = Server::start_with(&directory.path, stuck, PATIENCE).unwrap();
    let mut client = BufReader::new(UnixStream::connect(directory.path.join(SOCKET_NAME)).unwrap());
    let expected = "the daemon is running but its driver does not answer";
    assert_eq!(ask(&mut client, &Question::Status), Err(expected.into()));
    dropping.store(true, Ordering::Relaxed);
    assert_eq!(ask(&mut client, &Question::Status), Err("the daemon is stopping".into()));
    server.stop();
}

#[test]
fn garbage_is_answered_and_harms_nobody() {
    let rehearsal = Rehearsal::new();
    let mut client = connect(&rehearsal);
    let unknown = b"{\"version\":1,\"request\":\"explode\"}\n";
    for garbage in [&b"\n"[..], b"\x00\xff\xfe\n", b"{}\n", unknown, b"[[[[\n"] {
        assert!(ask_raw(&mut client, garbage).unwrap().is_err(), "{garbage:?}");
    }
    let deep = [b"[".repeat(3000), b"\n".to_vec()].concat();
    assert!(ask_raw(&mut client, &deep).unwrap().is_err(), "nesting is bounded");
    assert!(ask(&mut client, &Question::Status).is_ok(), "the connection goes on");
    assert!(rehearsal.commands.lock().is_empty());
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let rehearsal = Rehearsal::new();
    let mut client = connect(&rehearsal);
    let answer = ask_raw(&mut client, &[b'x'; REQUEST_BYTES_MAX]);
    assert_eq!(answer, Some(Err("the request is longer than 655360 bytes".into())));
    assert_eq!(read(&mut client), None);
}

#[test]
fn a_silent_and_a_half_said_client_are_dropped() {
    let rehearsal = Rehearsal::new();
    let (mut silent, mut half) = (connect(&rehearsal), connect(&rehearsal));
    half.get_mut().write_all(b"{\"version\":1,").unwrap();
    let start = Instant::now();
    assert_eq!((read(&mut silent), read(&mut half)), (None, None));
    assert!(start.elapsed() >= PATIENCE.client / 2, "not before its time");
    // A client that shuts down its half of the connection is at its end.
    let mut closed = connect(&rehearsal);
    closed.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut closed), None);
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let mut rehearsal = Rehearsal::new();
    let deaf = UnixStream::connect(rehearsal.socket()).unwrap();
    deaf.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let line = write_question(&Question::Status);
    // Until the server has given up on it and closed its end; a write that only times out is none.
    let start = Instant::now();
    let gave_up = loop {
        match (&deaf).write_all(line.as_bytes()) {
            Err(error) => break error.kind(),
            Ok(()) => assert!(start.elapsed() < Duration::from_secs(20), "the server never gave up"),
        }
    };
    assert!(matches!(gave_up, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{gave_up:?}");
    assert!(ask(&mut connect(&rehearsal), &Question::Status).is_ok(), "others are served");
    let start = Instant::now();
    rehearsal.stop();
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Asks on new connections until one is served.
fn until_served(rehearsal: &Rehearsal, question: &Question) -> BufReader<UnixStream> {
    let start = Instant::now();
    loop {
        let mut client = connect(rehearsal);
        if let Some(Ok(_)) = ask_raw(&mut client, write_question(question).as_bytes()) {
            return client;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no room came back");
    }
}

#[test]
fn one_client_too_many_is_told_so_and_room_comes_back() {
    let rehearsal = Rehearsal::new();
    let clients: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(&rehearsal)).collect();
    let mut late = connect(&rehearsal);
    assert_eq!(read(&mut late), Some(Err("32 clients are connected already".into())));
    assert_eq!(read(&mut late), None);
    drop(clients);
    until_served(&rehearsal, &Question::Status);
}

#[test]
fn followers_that_go_make_room() {
    let rehearsal = Rehearsal::new();
    for _ in 0..2 * CONNECTIONS_MAX {
        until_served(&rehearsal, &Question::Events { follow: true, since: None, limit: None });
    }
}

#[test]
fn events_are_told_and_followed() {
    let rehearsal = Rehearsal::new();
    let push = |text: &str| rehearsal.events.push(UNIX_EPOCH, text.into(), serde_json::Map::new());
    push("first");
    push("second");
    let mut client = connect(&rehearsal);
    let told = ask(&mut client, &Question::Events { follow: false, since: Some(1), limit: None }).unwrap();
    assert_eq!(told["events"].as_array().unwrap().len(), 1);
    assert_eq!((&told["events"][0]["sequence"], &told["events"][0]["text"]), (&2.into(), &"second".into()));
    let first = ask(&mut client, &Question::Events { follow: true, since: None, limit: Some(1) }).unwrap();
    assert_eq!(first["events"][0]["text"], "second");
    push("third");
    assert_eq!(read(&mut client).unwrap().unwrap()["events"][0]["text"], "third");
    // Longer than the patience with a client that is to ask: a follower may be silent.
    thread::sleep(PATIENCE.client + Duration::from_millis(100));
    push("fourth");
    assert_eq!(read(&mut client).unwrap().unwrap()["events"][0]["text"], "fourth");
}

#[test]
fn the_socket_is_private_replaces_a_leftover_and_goes_at_the_end() {
    let directory = Directory::new("leftover");
    let path = directory.path.join(SOCKET_NAME);
    drop(UnixListener::bind(&path).unwrap());
    let server = Server::start(&directory.path, desk(|_| false)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&directory.path).unwrap().count(), 1, "nothing but the socket");
    UnixStream::connect(&path).unwrap();
    server.stop();
    assert_eq!(fs::read_dir(&directory.path).unwrap().count(), 0);
    let missing = directory.path.join("missing");
    let error = Server::start(&missing, desk(|_| false)).err().expect("no such directory");
    let socket = missing.join(SOCKET_NAME);
    let expected = format!("cannot make the control socket {}: No such file", socket.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn stop_ends_open_connections_at_once() {
    let patience = Patience { client: Duration::from_secs(600), ..Patience::default() };
    let mut rehearsal = Rehearsal::patient(Box::new(|_, _| Some(Ok(()))), patience);
    let (mut idle, mut follower) = (connect(&rehearsal), connect(&rehearsal));
    ask(&mut idle, &Question::Status).unwrap();
    ask(&mut follower, &Question::Events { follow: true, since: None, limit: None }).unwrap();
    let start = Instant::now();
    rehearsal.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((read(&mut idle), read(&mut follower)), (None, None));
}
