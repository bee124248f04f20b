use super::*;
use crate::control::rehearsal::Rehearsal;
use crate::monitor::feed;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;

/// A monitor of a rehearsed daemon. Its threads end with the test's process.
fn monitor(rehearsal: &Rehearsal, gate: Option<Gate>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let door = Arc::new(Door::own(&rehearsal.socket(), gate.is_some()));
    let board = Arc::new(Board::new(gate.is_some()));
    feed::start(&door, &board).expect("threads");
    let house = House { board, door, gate, hosts: vec!["monitor.example".into()] };
    thread::spawn(move || Server::new(listener, house).run());
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    stream
}

/// Status and all of the answer.
fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {text}")), text)
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

#[test]
fn the_page_and_all_that_it_loads_are_there_and_come_from_here_alone() {
    let rehearsal = Rehearsal::new();
    let address = monitor(&rehearsal, None);
    let (status, page) = get(address, "/");
    assert_eq!(status, 200);
    assert!(page.contains("default-src 'none'") && page.contains("<html lang=\"en\">"), "{page}");
    let mut loaded = Vec::new();
    for text in [PAGE, SCRIPTS[0].1, SCRIPTS[1].1, SCRIPTS[2].1, SCRIPTS[3].1] {
        let quoted = text
            .split('"')
            .filter(|word| word.len() > 1 && word.starts_with('/') && !word.contains(char::is_whitespace));
        loaded.extend(quoted.filter(|word| !["/events", "/actions"].contains(word)).map(str::to_owned));
        // The strict policy would silently drop these.
        for foreign in ["http://", "https://", " style=", "<style", "onclick=\"", "javascript:"] {
            assert!(!text.replace("http://www.w3.org/2000/svg", "").contains(foreign), "{foreign}");
        }
    }
    assert!(loaded.len() >= 5, "{loaded:?}");
    for path in loaded {
        assert_eq!(get(address, &path).0, 200, "{path}");
    }
    for (request, expected) in [
        (format!("GET /nothing HTTP/1.1\r\nHost: {address}\r\n\r\n"), 404),
        (format!("DELETE / HTTP/1.1\r\nHost: {address}\r\n\r\n"), 405),
        (format!("GET /actions HTTP/1.1\r\nHost: {address}\r\n\r\n"), 405),
        (format!("POST /actions HTTP/1.1\r\nHost: {address}\r\n\r\n"), 403),
    ] {
        assert_eq!(ask(address, &request).0, expected, "{request}");
    }
    let (_, head) = ask(address, &format!("HEAD / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(head.ends_with("\r\n\r\n") && head.contains(&format!("Content-Length: {}", PAGE.len())));
}

#[test]
fn who_asks_for_a_foreign_name_gets_nothing() {
    let rehearsal = Rehearsal::new();
    let address = monitor(&rehearsal, None);
    let by = |host: &str| ask(address, &format!("GET /state.json HTTP/1.1\r\nHost: {host}\r\n\r\n")).0;
    for ours in
        ["localhost", "LOCALHOST:8694", "127.0.0.1", "127.0.0.1:8694", "[::1]:8694", "monitor.example:1"]
    {
        assert_eq!(by(ours), 200, "{ours}");
    }
    for foreign in [
        "evil.example",
        "evil.example:8694",
        "",
        "localhost.evil.example",
        "[::1.evil]",
        "127.0.0.1.evil.example",
    ] {
        assert_eq!(by(foreign), 421, "{foreign}");
    }
    assert_eq!(ask(address, "GET / HTTP/1.1\r\n\r\n").0, 421);
}

#[test]
fn actions_need_our_own_page_and_the_token() {
    let rehearsal = Rehearsal::new();
    let gate = Gate::open(None).expect("a gate");
    let token = gate.new_token().expect("a token").to_owned();
    let address = monitor(&rehearsal, Some(gate));
    let post = |origin: &str, token: &str| {
        let body = r#"{"action":"freeze"}"#;
        let length = body.len();
        ask(
            address,
            &format!(
                "POST /actions HTTP/1.1\r\nHost: {address}\r\n{origin}Authorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
    };
    for foreign in ["http://evil.example", "null", "http://127.0.0.1"] {
        let (status, text) = post(&format!("Origin: {foreign}\r\n"), &token);
        assert!(status == 403 && text.contains("another page"), "{text}");
    }
    assert_eq!(post("", "wrong").0, 403);
    assert!(rehearsal.commands.lock().is_empty());
    assert_eq!(post(&format!("Origin: http://{address}\r\n"), &token).0, 200);
    assert_eq!(rehearsal.commands.lock().len(), 1);
}

#[test]
fn a_page_hears_of_every_change() {
    let rehearsal = Rehearsal::new();
    let address = monitor(&rehearsal, None);
    let mut stream = connect(address);
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("asked");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    assert!(lines.any(|line| line == "Content-Type: text/event-stream"));
    assert!(lines.any(|line| line.starts_with("data: {") && line.contains("\"reachable\":true")));
    let frozen = {
        let mut view = rehearsal.view.lock();
        view.frozen ^= true;
        view.frozen
    };
    let news = format!("\"frozen\":{frozen}");
    assert!(lines.any(|line| line.starts_with("data: {") && line.contains(&news)));
    assert!(lines.any(|line| line == "event: pulse"));
    assert!(get(address, "/metrics").1.contains("diehard_monitor_viewers 1"));
}
