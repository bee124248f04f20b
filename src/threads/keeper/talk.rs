//! Both ends of a connection between two keepers, and what is said on it: one question, one answer, as JSON
//! in frames that only the cluster's key opens (`wire::Session`). Called by whoever asks, and by the door.
//!
//! Everything has a bound: a frame its length, a connection its time.

use crate::os::{clock, sched};
use crate::vocabulary::Instant;
use crate::wire::{Key, Keyring, MAX_FRAME, NONCE_LENGTH, Nonce, Session, session};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::history::Unconfirmed;

/// To be connected: the other is on the same LAN.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// For question and answer: the other writes a few files and reloads in between.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// A configuration on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Its number.
    pub number: u64,
    /// Of the effective configuration.
    pub digest: u64,
    /// The file.
    pub text: String,
    /// Where it came from, for people.
    pub origin: String,
    /// It goes again after so many seconds unless it is confirmed, and what comes back then.
    pub unconfirmed: Option<(u64, String)>,
}

/// A life of a node that pushes: what is ready for it is nobody's when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pusher {
    /// Its `NodeId`.
    pub node: u32,
    /// Its incarnation.
    pub life: u64,
}

/// What one keeper asks of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Can you have this? Keep it ready.
    Prepare(Parcel, Pusher),
    /// Have what is ready.
    Apply { number: u64, digest: u64 },
    /// Forget what is ready.
    Forget { number: u64, digest: u64 },
    /// What is the newest that was agreed on?
    Newest,
    /// What stands in your file, and what does it mean?
    Text,
    /// Accept this key beside the one in use.
    Accept { secret: String },
    /// Which key is offered?
    Offered,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Yes; done.
    Yes,
    /// No, for these reasons.
    No(Vec<String>),
    /// The newest that was agreed on.
    Newest(Option<Parcel>),
    /// A file.
    Text(String),
    /// Hexadecimal digits.
    Offered(Option<String>),
}

/// Asks the keeper at that address.
///
/// # Errors
/// It is not there, does not have the cluster's key, does not answer in time or speaks nonsense: for people.
pub fn ask(address: SocketAddr, keys: &Keyring, question: &Ask) -> Result<Reply, String> {
    let deadline = clock::now() + CONNECT_PATIENCE + ANSWER_PATIENCE;
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection: has it the cluster's key?".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    };
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE).map_err(told)?;
    let own = nonce().map_err(told)?;
    let mut greeting = session::GREETING.to_vec();
    greeting.extend(own);
    write_all(&mut stream, &greeting, deadline).map_err(told)?;
    let mut theirs = [0; NONCE_LENGTH];
    read_exact(&mut stream, &mut theirs, deadline).map_err(told)?;
    let mut session = Session::new(keys.sealing(), &own, &theirs, session::End::Caller);
    say(&mut stream, &mut session, question, deadline).map_err(told)?;
    let rest = read_frame(&mut stream, deadline).map_err(told)?;
    let content = session.open(&rest).ok_or("its answer is not sealed with the cluster's key")?;
    serde_json::from_slice(&content).map_err(|error| format!("its answer is not understood: {error}"))
}

/// The door's end: one question, its answer. `None`: whoever called has not the cluster's key, or speaks
/// another language.
///
/// # Errors
/// The caller was too slow, or went away.
pub fn answer(
    stream: &mut TcpStream,
    keys: &Keyring,
    deadline: Instant,
    reply: impl FnOnce(Ask) -> Reply,
) -> io::Result<Option<()>> {
    let mut greeting = [0; session::GREETING.len() + NONCE_LENGTH];
    read_exact(stream, &mut greeting, deadline)?;
    let (magic, theirs) = greeting.split_at(session::GREETING.len());
    let Ok(theirs) = Nonce::try_from(theirs) else { return Ok(None) };
    if magic != session::GREETING {
        return Ok(None);
    }
    let own = nonce()?;
    write_all(stream, &own, deadline)?;
    let rest = read_frame(stream, deadline)?;
    let with = |key: &Key| {
        let mut session = Session::new(key, &theirs, &own, session::End::Door);
        session.open(&rest).map(|content| (session, content))
    };
    let Some((mut session, content)) = keys.accepted().find_map(with) else { return Ok(None) };
    let reply = match serde_json::from_slice(&content) {
        Ok(question) => reply(question),
        Err(error) => Reply::No(vec![format!("the question is not understood: {error}")]),
    };
    say(stream, &mut session, &reply, deadline)?;
    Ok(Some(()))
}

fn say(
    stream: &mut TcpStream,
    session: &mut Session,
    what: &impl Serialize,
    deadline: Instant,
) -> io::Result<()> {
    let content = serde_json::to_vec(what).map_err(io::Error::other)?;
    let frame = session.seal(&content).ok_or(io::ErrorKind::FileTooLarge)?;
    write_all(stream, &frame, deadline)
}

fn read_frame(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    read_exact(stream, &mut length, deadline)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // Grows with what really comes: a length alone costs nothing.
    let mut rest = Vec::new();
    let mut chunk = [0; 16 << 10];
    while rest.len() < length {
        let wanted = chunk.len().min(length - rest.len());
        read_exact(stream, &mut chunk[..wanted], deadline)?;
        rest.extend_from_slice(&chunk[..wanted]);
    }
    Ok(rest)
}

/// As `Read::read_exact`, until the deadline: a trickle does not keep a thread.
fn read_exact(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.since(clock::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn nonce() -> io::Result<Nonce> {
    let mut nonce = [0; NONCE_LENGTH];
    nonce[..8].copy_from_slice(&sched::random_u64()?.to_be_bytes());
    nonce[8..].copy_from_slice(&sched::random_u64()?.to_be_bytes());
    Ok(nonce)
}

impl Parcel {
    /// With the time left of a version that is not confirmed yet.
    pub fn of(version: &super::history::Version, now: u64) -> Parcel {
        let rest = |it: &Unconfirmed| (it.until.saturating_sub(now).min(it.given), it.before.clone());
        Parcel {
            number: version.mark.number,
            digest: version.digest,
            text: version.text.clone(),
            origin: version.origin.clone(),
            unconfirmed: version.unconfirmed.as_ref().map(rest),
        }
    }
}
