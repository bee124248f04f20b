//! One request in, one answer out: the little of HTTP/1.1 that a page of our own needs. No keep-alive, no
//! chunks: a connection is a request. httparse reads; sizes and times are bounded here.
//!
//! Called by the threads of `server`, one for each connection; everything ends with the connection.

use crate::os::clock;
use crate::vocabulary::Instant;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest head of a request in bytes: browsers send under 2 kB, and nobody logs in here by cookie.
pub const HEAD_MAX: usize = 8 << 10;
/// Longest body in bytes: an action has under 200.
pub const BODY_MAX: usize = 4 << 10;
/// How long a client may take to say what it wants, all of it.
const ASKING: Duration = Duration::from_secs(5);
/// How long a client may take to read what it asked for: then it has stopped reading, and is dropped.
pub const READING: Duration = Duration::from_secs(5);
const HEADERS_MAX: usize = 64;

/// What a client asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`, …
    pub method: String,
    /// Without what follows a `?`.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// Of a POST.
    pub body: Vec<u8>,
}

impl Request {
    /// The header of that name; `None` also if it was sent twice: which of them counts, nobody can say.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().filter(|_| found.next().is_none()).map(|(_, value)| value.as_str())
    }
}

/// Why there is no request: the status to answer with, or nothing to answer at all.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// Status code and words.
    Answer(u16, &'static str),
    /// The client has gone, or is too slow to be worth an answer.
    Gone,
}

/// The request that arrives on `stream`.
///
/// # Errors
/// It is none, too long, too slow, or cut off.
pub fn read(mut stream: &TcpStream) -> Result<Request, Bad> {
    let deadline = clock::now() + ASKING;
    let mut bytes = Vec::with_capacity(2048);
    let (mut request, body_at, length) = loop {
        if let Some(parsed) = parse(&bytes)? {
            break parsed;
        }
        if bytes.len() >= HEAD_MAX {
            return Err(Bad::Answer(431, "the request is too long"));
        }
        more(&mut stream, &mut bytes, deadline)?;
    };
    while bytes.len() < body_at + length {
        more(&mut stream, &mut bytes, deadline)?;
    }
    request.body = bytes[body_at..body_at + length].to_vec();
    Ok(request)
}

/// The request without its body, where that begins, and how long it is; `None`: the head is not whole yet.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, Bad> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(body_at)) => body_at,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad::Answer(431, "too many headers")),
        Err(_) => return Err(Bad::Answer(400, "this is no HTTP request")),
    };
    let target = head.path.unwrap_or_default();
    let headers = head.headers.iter().map(|header| {
        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned())
    });
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
    };
    if request.headers.iter().any(|(name, _)| name == "transfer-encoding") {
        return Err(Bad::Answer(411, "a body needs a content-length"));
    }
    let sent = request.headers.iter().any(|(name, _)| name == "content-length");
    let length = match request.header("content-length") {
        None if sent => return Err(Bad::Answer(400, "two lengths")),
        None => 0,
        Some(text) => text.parse().map_err(|_| Bad::Answer(400, "the content-length is no number"))?,
    };
    if length > BODY_MAX {
        return Err(Bad::Answer(413, "the body is too long"));
    }
    Ok(Some((request, body_at, length)))
}

fn more(stream: &mut &TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), Bad> {
    let left = deadline.since(clock::now());
    if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
        return Err(Bad::Gone);
    }
    let mut chunk = [0; 2048];
    match stream.read(&mut chunk) {
        Ok(0) => Err(Bad::Gone),
        Ok(count) => {
            bytes.extend_from_slice(&chunk[..count]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        Err(_) => Err(Bad::Gone),
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// All of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// Words for a person or a program.
    pub fn text(status: u16, words: &str) -> Answer {
        Answer { status, kind: "text/plain; charset=utf-8", body: format!("{words}\n").into_bytes() }
    }
}

/// What a page of ours may do: load its own files and nothing else, be framed by nobody, tell nobody where it was.
const PROTECTION: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\nCross-Origin-Opener-Policy: same-origin\r\n\
    Cache-Control: no-store\r\nConnection: close\r\n";

/// Writes an answer within `READING`; `with_body`: not for HEAD.
///
/// # Errors
/// The client has gone or does not read.
pub fn write(stream: &TcpStream, answer: &Answer, with_body: bool) -> io::Result<()> {
    let length = answer.body.len();
    let mut bytes = head(answer.status, answer.kind, Some(length)).into_bytes();
    if with_body {
        bytes.extend_from_slice(&answer.body);
    }
    write_within(stream, &bytes, READING)
}

/// The first lines of an answer. Without a length it goes on until the connection ends.
pub fn head(status: u16, kind: &str, length: Option<usize>) -> String {
    let length = length.map_or_else(String::new, |length| format!("Content-Length: {length}\r\n"));
    let word = phrase(status);
    format!("HTTP/1.1 {status} {word}\r\nContent-Type: {kind}\r\n{length}{PROTECTION}\r\n")
}

/// Writes all of it within `limit`, however slowly the client reads.
///
/// # Errors
/// `TimedOut`, or what the socket says.
pub fn write_within(mut stream: &TcpStream, mut bytes: &[u8], limit: Duration) -> io::Result<()> {
    let deadline = clock::now() + limit;
    while !bytes.is_empty() {
        let left = deadline.since(clock::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests;
