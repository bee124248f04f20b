//! `tcp`: does somebody accept a connection, and, where the file says so, does he answer what he should?

use super::http::lacks;
use super::no_answer;
use crate::config::Check;
use crate::os::clock;
use crate::os::errors::why;
use crate::recovery::Finding;
use crate::vocabulary::Instant;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer is searched so far, in bytes: a greeting has one line.
const MOST_ANSWER: usize = 64 << 10;
/// Of its first line so much is shown.
const SHOWN: usize = 60;

pub(super) fn look(check: &Check) -> Finding {
    let Ok(address) = check.target.parse::<SocketAddr>() else {
        return Finding::bad(format!("`{}` is no address with a port", check.target));
    };
    let began = clock::now();
    let until = began + check.timeout;
    let stream = match TcpStream::connect_timeout(&address, check.timeout) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::TimedOut => return no_answer(check.timeout),
        Err(error) => return Finding::bad(why(&error)),
    };
    let micros = clock::now().since(began).as_micros() as f64;
    let connected = format!("connected in {:.1} ms", micros / 1000.0);
    match converse(check, stream, until) {
        Ok(None) => Finding::well(connected),
        Ok(Some(answer)) => Finding::well(answer),
        Err(wrong) => Finding::bad(wrong),
    }
}

/// What is said and heard; `None`: nothing was to be heard.
fn converse(check: &Check, mut stream: TcpStream, until: Instant) -> Result<Option<String>, String> {
    let options = &check.options;
    let left = |until: Instant| until.since(clock::now()).max(Duration::from_millis(1));
    if let Some(text) = &options.send {
        let sent =
            stream.set_write_timeout(Some(left(until))).and_then(|()| stream.write_all(text.as_bytes()));
        sent.map_err(|error| format!("connected, but it takes nothing: {}", why(&error)))?;
    }
    if options.expect.is_none() && options.expect_regex.is_none() {
        return Ok(None);
    }
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        let Some(lack) = lacks(check, &text) else { return Ok(Some(format!("it answers {}", shown(&text)))) };
        if answer.len() >= MOST_ANSWER {
            return Err(format!("{lack}: it answers {}", shown(&text)));
        }
        match more(&mut stream, &mut answer, left(until)) {
            Ok(0) => {
                let text = String::from_utf8_lossy(&answer);
                return Err(format!("closed after {} bytes, {lack}{}", answer.len(), beginning(&text)));
            }
            Ok(_) if clock::now() < until => {}
            Err(error) if !is_timeout(&error) => return Err(why(&error)),
            Ok(_) | Err(_) if answer.is_empty() => return Err(no_answer(check.timeout).message),
            Ok(_) | Err(_) => {
                let text = String::from_utf8_lossy(&answer);
                // What came last may be what was missing.
                let Some(lack) = lacks(check, &text) else { continue };
                return Err(format!("within {} ms {lack}{}", check.timeout.as_millis(), beginning(&text)));
            }
        }
    }
}

fn more(stream: &mut TcpStream, answer: &mut Vec<u8>, within: Duration) -> io::Result<usize> {
    stream.set_read_timeout(Some(within))?;
    let mut chunk = [0; 4_096];
    let count = stream.read(&mut chunk)?;
    answer.extend_from_slice(&chunk[..count]);
    Ok(count)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn beginning(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": it answers {}", shown(text)) }
}

/// The first line, for people.
fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect();
    format!("`{line}`")
}
