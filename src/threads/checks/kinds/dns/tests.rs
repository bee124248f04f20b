use super::*;
use crate::config::CheckKind;
use crate::threads::checks::kinds::tests::check;

/// A name server that answers every question with this header and these records.
fn server(flags: [u8; 2], records: &'static [&'static [u8]]) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = [0; LONGEST];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            answer[2..4].copy_from_slice(&flags);
            answer[7] = u8::try_from(records.len()).expect("a few");
            answer.extend(records.concat());
            // First something that is no answer to it: another identity.
            let mut forged = answer.clone();
            forged[0] ^= 0xff;
            let _ = socket.send_to(&forged, from);
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

const A: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 21];
const ALIAS: &[u8] = &[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 3, 1, b'x', 0];
const AAAA: &[u8] =
    &[0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const GOOD: [u8; 2] = [0x81, 0x80];

fn finding(target: String, expect: Option<&str>) -> Finding {
    let mut check = check(CheckKind::Dns, &target);
    check.options.expect = expect.map(str::to_owned);
    look(&check)
}

#[test]
fn a_name_server_answers_or_says_why_not() {
    let at = server(GOOD, &[ALIAS, A]);
    let name = "www.example.net";
    let well = Finding::well("www.example.net is 203.0.113.21");
    assert_eq!(finding(format!("{name} @{at}"), None), well);
    assert_eq!(finding(format!("{name}. A @{at}"), Some("203.0.113.21")), well);
    let other = finding(format!("{name} A @{at}"), Some("203.0.113.22"));
    assert_eq!(other, Finding::bad("www.example.net is 203.0.113.21, not 203.0.113.22"));
    let six = finding(format!("{name} AAAA @{}", server(GOOD, &[AAAA])), Some("2001:db8::1"));
    assert_eq!(six, Finding::well("www.example.net is 2001:db8::1"));
    let empty = finding(format!("{name} AAAA @{at}"), None);
    assert_eq!(empty, Finding::bad("www.example.net: the answer is empty"));
    let missing = finding(format!("{name} @{}", server([0x81, 0x83], &[])), None);
    assert_eq!(missing, Finding::bad("www.example.net: there is no such name"));
    let broken = finding(format!("{name} @{}", server([0x81, 0x82], &[])), None);
    assert_eq!(broken, Finding::bad("www.example.net: it has a failure (SERVFAIL)"));
}

#[test]
fn a_server_that_is_silent_or_not_there_says_so() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let mut check = check(CheckKind::Dns, &format!("a.b @{}", silent.local_addr().expect("bound")));
    check.timeout = Duration::from_millis(60);
    assert_eq!(look(&check), Finding::bad("no answer within 60 ms"));
    let nobody = silent.local_addr().expect("bound");
    drop(silent);
    assert_eq!(finding(format!("a.b @{nobody}"), None), Finding::bad("127.0.0.1: connection refused"));
}

#[test]
fn garbage_is_no_answer() {
    let asked = question(7, "a.example", Kind::A);
    let mut good = asked.clone();
    good[2] = 0x80;
    good[7] = 1;
    good.extend(A);
    let found = Answer { code: 0, records: 1, addresses: vec![IpAddr::from([203, 0, 113, 21])] };
    assert_eq!(answer(&good, &asked, Kind::A), Some(found));
    for length in 0..good.len() {
        // Never a panic; without the whole record, none.
        let cut = answer(&good[..length], &asked, Kind::A);
        assert!(cut.is_none_or(|answer| answer.records == 0), "{length}");
    }
    assert_eq!(answer(&asked, &asked, Kind::A), None, "a question is no answer");
    assert_eq!(record(&[0xff]), None);
}

#[test]
fn the_first_server_of_resolv_conf_is_asked() {
    let path = std::env::temp_dir().join(format!("diehard-resolv-{}", std::process::id()));
    fs::write(&path, "# nameserver 192.0.2.9\nsearch x\nnameserver 192.0.2.1\nnameserver ::1\n")
        .expect("writable");
    let found = configured(path.to_str().expect("plain"));
    fs::write(&path, "search x\n").expect("writable");
    let none = configured(path.to_str().expect("plain"));
    fs::remove_file(&path).expect("ours");
    assert_eq!(found, Ok(SocketAddr::from(([192, 0, 2, 1], 53))));
    assert!(none.expect_err("none").ends_with("names no server"));
}
