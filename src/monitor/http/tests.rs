use super::*;
use std::net::{Shutdown, TcpListener};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    (client, listener.accept().expect("accepted").0)
}

fn asked(text: &str) -> Result<Request, Bad> {
    let (mut client, server) = pair();
    // What is too long is refused before all of it was sent.
    let _ = client.write_all(text.as_bytes());
    let _ = client.shutdown(Shutdown::Write);
    read(&server)
}

#[test]
fn a_request_is_taken_apart() {
    let request =
        asked("POST /actions?x=1 HTTP/1.1\r\nHost: a:1\r\nX-One: b\r\nContent-Length: 3\r\n\r\nabc")
            .expect("a request");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/actions"));
    assert_eq!((request.header("host"), request.header("x-one")), (Some("a:1"), Some("b")));
    assert_eq!(request.body, b"abc");
    assert_eq!(request.header("nothing"), None);
}

#[test]
fn what_is_said_twice_is_not_said() {
    let request = asked("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").expect("a request");
    assert_eq!(request.header("host"), None);
}

#[test]
fn nonsense_and_what_is_too_much_is_refused() {
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2 * HEAD_MAX));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
    for (text, status) in [
        ("hello there\r\n\r\n", 400),
        ("\0\0\0\0\r\n\r\n", 400),
        (long.as_str(), 431),
        (many.as_str(), 431),
        ("POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    ] {
        let Err(Bad::Answer(told, _)) = asked(text) else { panic!("{text:?} is taken") };
        assert_eq!(told, status, "{text:?}");
    }
    for cut_off in ["", "GET / HT", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"] {
        assert_eq!(asked(cut_off), Err(Bad::Gone), "{cut_off:?}");
    }
}

#[test]
fn every_answer_protects_the_page() {
    let (mut client, server) = pair();
    write(&server, &Answer::text(404, "nothing"), true).expect("written");
    drop(server);
    let mut text = String::new();
    client.read_to_string(&mut text).expect("read");
    assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nnothing\n"), "{text}");
    for header in [
        "Content-Security-Policy: default-src 'none'; script-src 'self';",
        "frame-ancestors 'none'",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Content-Length: 8",
    ] {
        assert!(text.contains(header), "{header}: {text}");
    }
    assert!(!text.contains("unsafe"), "{text}");
}

#[test]
fn who_does_not_read_is_given_up() {
    let (client, server) = pair();
    let much = vec![0; 64 << 20];
    let error = write_within(&server, &much, Duration::from_millis(50)).expect_err("given up");
    assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
    drop(client);
    assert!(write_within(&server, &much, Duration::from_secs(60)).is_err(), "and so is who has gone");
}
