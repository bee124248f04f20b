use super::*;
use crate::config::CheckKind;
use crate::threads::checks::kinds::tests::{check, server};
use crate::threads::http::site::{PLAIN, Site};
use std::io::Write;
use std::net::TcpListener;

fn found(target: &str, change: impl FnOnce(&mut Check)) -> Finding {
    let mut check = check(CheckKind::Http, target);
    change(&mut check);
    look(&check)
}

impl Site {
    fn found(&self, change: impl FnOnce(&mut Check)) -> Finding {
        found(&format!("https://{}/health", self.address), |check| {
            check.options.host = Some("www.example.net".to_owned());
            check.options.ca_file = Some(self.ca_file.clone());
            change(check);
        })
    }
}

#[test]
fn a_certificate_is_judged_by_signer_name_and_days() {
    let site = Site::with_days("good", 90);
    assert_eq!(site.found(|_| {}), Finding::well("HTTP status 200 OK, certificate for 90 days"));
    let stranger = site.found(|check| check.options.ca_file = None);
    assert_eq!(stranger, Finding::bad("the certificate is signed by nobody whom this machine trusts"));
    let unverified = site.found(|check| {
        check.options.ca_file = None;
        check.options.verify = false;
    });
    assert_eq!(unverified, Finding::well("HTTP status 200 OK, certificate for 90 days"));
    let other = site.found(|check| check.options.host = Some("mail.example.net:443".to_owned()));
    assert_eq!(other, Finding::bad("the certificate is not for mail.example.net"));
    let least = site.found(|check| check.options.certificate_days = 91);
    assert_eq!(least, Finding::bad("the certificate ends in 90 days, 91 days are the least"));
    let warned = site.found(|check| check.options.certificate_warning = 91);
    assert_eq!(warned, Finding::warns("HTTP status 200 OK, certificate for 90 days"));
    let lacking = site.found(|check| check.options.expect = Some("ill".to_owned()));
    assert_eq!(lacking, Finding::bad("HTTP status 200 OK, but the answer does not hold `ill`"));
}

#[test]
fn an_expired_certificate_says_since_when() {
    let site = Site::with_days("expired", -4);
    assert_eq!(site.found(|_| {}), Finding::bad("the certificate expired 3 days ago"));
    // Whoever signed it: that it has ended is what matters.
    let unverified = site.found(|check| check.options.verify = false);
    assert_eq!(unverified, Finding::bad("the certificate expired 3 days ago"));
}

#[test]
fn what_is_no_tls_says_so() {
    let plain = found(&format!("https://{}/", server(PLAIN)), |check| check.options.verify = false);
    assert!(!plain.well && plain.message.starts_with("no TLS: "), "{plain:?}");
    let silent = found(&format!("https://{}/", server("")), |check| {
        check.options.verify = false;
        check.timeout = Duration::from_millis(60);
    });
    assert_eq!(silent, Finding::bad("connected, but no TLS within 60 ms"));
    let file = found("https://127.0.0.1/", |check| check.options.ca_file = Some("/no/such/file".into()));
    assert_eq!(file, Finding::bad("/no/such/file: no such file or directory"));
    let empty = found("https://127.0.0.1/", |check| check.options.ca_file = Some("/dev/null".into()));
    assert_eq!(empty, Finding::bad("/dev/null holds no certificate"));
}

#[test]
fn the_content_is_searched() {
    let target = format!("http://{}/", server(PLAIN));
    let with = |text: &str| found(&target, |check| check.options.expect = Some(text.to_owned()));
    assert_eq!(with("is healthy"), Finding::well("HTTP status 200 OK"));
    assert_eq!(with("is ill"), Finding::bad("HTTP status 200 OK, but the answer does not hold `is ill`"));
    let like = |text: &str| found(&target, |check| check.options.expect_regex = Some(text.to_owned()));
    assert!(like("^all .* h[a-z]+y$").well);
    assert_eq!(like("^ill"), Finding::bad("HTTP status 200 OK, but nothing in the answer matches `^ill`"));
}

#[test]
fn a_status_is_good_where_the_file_says_so() {
    let target = format!("http://{}/", server("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"));
    let within = |ranges: &[(u16, u16)]| found(&target, |check| check.options.status = ranges.to_vec());
    assert_eq!(within(&[(200, 299), (503, 503)]), Finding::well("HTTP status 503 Service Unavailable"));
    assert_eq!(within(&[(200, 299)]), Finding::bad("HTTP status 503 Service Unavailable"));
}

#[test]
fn an_answer_that_does_not_end_is_none() {
    let target = format!("http://{}/", server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"));
    let cut = found(&target, |_| {});
    assert!(
        !cut.well && cut.message.starts_with("HTTP status 200 OK, its content ends after 9 bytes"),
        "{cut:?}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("http://{}/", listener.local_addr().expect("bound"));
    let slow = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly").expect("written");
        // Until the caller has gone.
        let _ = stream.read(&mut [0; 16]);
    });
    let slowly = found(&target, |check| check.timeout = Duration::from_millis(300));
    slow.join().expect("no assertion failed");
    let expected = "HTTP status 200 OK, its content not complete within 300 ms (4 bytes came)";
    assert_eq!(slowly, Finding::bad(expected));
}

#[test]
fn a_redirect_is_an_answer_or_a_way() {
    let end = server(PLAIN);
    let way: &'static str =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{end}/\r\nContent-Length: 0\r\n\r\n").leak();
    let target = format!("http://{}/", server(way));
    let by = |redirect| found(&target, |check| check.options.redirect = redirect);
    assert_eq!(by(Redirect::Answer), Finding::well("HTTP status 302 Found"));
    assert_eq!(by(Redirect::Follow), Finding::well("HTTP status 200 OK"));
    let circle = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n";
    let round =
        found(&format!("http://{}/", server(circle)), |check| check.options.redirect = Redirect::Follow);
    assert_eq!(round, Finding::bad("redirected more than 5 times"));
}

#[test]
fn nobody_who_accepts_is_no_connection() {
    // A listener whose queue is full drops what comes: nothing answers, as on a machine that is gone.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).expect("0")).expect("again");
    let fillers: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    let silent = found(&format!("http://{address}/"), |check| check.timeout = Duration::from_millis(80));
    drop(fillers);
    assert_eq!(silent, Finding::bad("no connection within 80 ms"));
}
