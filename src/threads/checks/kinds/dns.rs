//! `dns`: does a name server answer a question, and with what it should? Asked by UDP (RFC 1035), directly: what the
//! resolver of this machine remembers says nothing about the server.

use super::no_answer;
use crate::config::Check;
use crate::os::errors::why;
use crate::os::{clock, sched};
use crate::recovery::Finding;
use crate::vocabulary::Instant;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const PORT: u16 = 53;
/// The question again so often within the timeout: one lost packet is no failure.
const TRIES: u32 = 3;
const HEADER: usize = 12;
/// Without EDNS no answer is longer.
const LONGEST: usize = 512;
/// What people call the codes that a server answers with instead.
const CODES: [&str; 6] = [
    "",
    "it does not understand the question",
    "it has a failure (SERVFAIL)",
    "there is no such name",
    "it does not know this kind of question",
    "it refuses",
];

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    A = 1,
    Soa = 6,
    Aaaa = 28,
}

pub(super) fn look(check: &Check) -> Finding {
    let (name, kind, server) = parts(&check.target);
    let server = match server.map_or_else(|| configured("/etc/resolv.conf"), Ok) {
        Ok(server) => server,
        Err(why) => return Finding::bad(why),
    };
    match ask(server, name, kind, check.timeout) {
        Ok(Some(answer)) => judged(name, &answer, check.options.expect.as_deref()),
        Ok(None) => no_answer(check.timeout),
        Err(error) => Finding::bad(format!("{}: {}", server.ip(), why(&error))),
    }
}

/// `NAME [TYPE] [@SERVER[:PORT]]`
fn parts(target: &str) -> (&str, Kind, Option<SocketAddr>) {
    let mut words = target.split_whitespace();
    let name = words.next().unwrap_or_default().trim_end_matches('.');
    let (mut kind, mut server) = (Kind::A, None);
    for word in words {
        match word.strip_prefix('@') {
            Some(text) => {
                let alone = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
                server = alone.ok().or_else(|| text.parse().ok());
            }
            None => {
                kind = match word {
                    "AAAA" => Kind::Aaaa,
                    "SOA" => Kind::Soa,
                    _ => Kind::A,
                }
            }
        }
    }
    (name, kind, server)
}

/// The server that this machine asks first.
fn configured(path: &str) -> Result<SocketAddr, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {}", why(&error)))?;
    let mut servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    let first = servers.next().ok_or_else(|| format!("{path} names no server"))?;
    Ok(SocketAddr::new(first, PORT))
}

fn ask(server: SocketAddr, name: &str, kind: Kind, timeout: Duration) -> io::Result<Option<Answer>> {
    let here: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(here)?;
    // Connected: a port that nobody listens to is told as such, and others' packets are not heard.
    socket.connect(server)?;
    let identity = (sched::random_u64()? & 0xffff) as u16;
    let question = question(identity, name, kind);
    let until = clock::now() + timeout;
    for attempt in 1..=TRIES {
        socket.send(&question)?;
        let end = if attempt == TRIES { until } else { clock::now() + timeout / TRIES };
        if let Some(answer) = hear(&socket, &question, kind, end)? {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

fn hear(socket: &UdpSocket, question: &[u8], kind: Kind, until: Instant) -> io::Result<Option<Answer>> {
    let mut buffer = [0; LONGEST];
    loop {
        let left = until.since(clock::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.recv(&mut buffer) {
            // What is no answer to this question is somebody's forgery, or late.
            Ok(length) => match answer(&buffer[..length], question, kind) {
                Some(answer) => return Ok(Some(answer)),
                None => continue,
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Header: identity, recursion desired, one question; then the question.
fn question(identity: u16, name: &str, kind: Kind) -> Vec<u8> {
    let mut bytes = identity.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        // The configuration has seen that none is longer than 63.
        bytes.push((label.len() & 0x3f) as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, kind as u8, 0, 1]);
    bytes
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    code: u8,
    /// Records of the kind that was asked for.
    records: usize,
    addresses: Vec<IpAddr>,
}

/// The answer to this question, if it is one.
fn answer(bytes: &[u8], question: &[u8], kind: Kind) -> Option<Answer> {
    let same_question = bytes.get(HEADER..question.len())?.eq_ignore_ascii_case(&question[HEADER..]);
    if bytes[..2] != question[..2] || bytes[2] & 0x80 == 0 || !same_question {
        return None;
    }
    let code = bytes[3] & 0xf;
    let mut rest = &bytes[question.len()..];
    let mut found = Answer { code, records: 0, addresses: Vec::new() };
    for _ in 0..u16::from_be_bytes([bytes[6], bytes[7]]) {
        // A record that is cut off ends the list: what came before it was an answer.
        let Some((record_kind, data, after)) = record(rest) else { break };
        rest = after;
        if record_kind != kind as u16 {
            continue;
        }
        found.records += 1;
        if let Ok(four) = <[u8; 4]>::try_from(data) {
            found.addresses.push(Ipv4Addr::from(four).into());
        } else if let Ok(sixteen) = <[u8; 16]>::try_from(data) {
            found.addresses.push(Ipv6Addr::from(sixteen).into());
        }
    }
    Some(found)
}

/// Type and data of the first record, and what follows it.
fn record(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let mut at = 0;
    // A name: labels up to an empty one or to a reference, which is two bytes.
    loop {
        match *bytes.get(at)? {
            0 => break at += 1,
            length if length >= 0xc0 => break at += 2,
            length => at += 1 + usize::from(length),
        }
    }
    let fields = bytes.get(at..at + 10)?;
    let kind = u16::from_be_bytes([fields[0], fields[1]]);
    let end = at + 10 + usize::from(u16::from_be_bytes([fields[8], fields[9]]));
    Some((kind, bytes.get(at + 10..end)?, &bytes[end..]))
}

fn judged(name: &str, answer: &Answer, expected: Option<&str>) -> Finding {
    if answer.code != 0 {
        let number = answer.code;
        let words =
            CODES.get(usize::from(number)).map_or_else(|| format!("code {number}"), ToString::to_string);
        return Finding::bad(format!("{name}: {words}"));
    }
    if answer.records == 0 {
        return Finding::bad(format!("{name}: the answer is empty"));
    }
    let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    if let Some(expected) = expected.filter(|expected| !addresses.iter().any(|address| address == expected)) {
        return Finding::bad(format!("{name} is {}, not {expected}", addresses.join(", ")));
    }
    match addresses.is_empty() {
        true => Finding::well(format!("{name} is answered")),
        false => Finding::well(format!("{name} is {}", addresses.join(", "))),
    }
}

#[cfg(test)]
mod tests;
