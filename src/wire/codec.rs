//! Packets as bytes. Called by the seal, and by nobody on bytes that are not authentic. Pure.
//!
//! ```text
//!      0        1        2        3        4        5        6        7
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!   0  |  magic 0xD1E4   |version |  type  |               from                |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!   8  |        to (0 if to all)           | flags  |      reserved, zero      |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  16  |                              incarnation                              |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  24  |                               sequence                                |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  32  |            term: round            |           term: author            |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  40  |                       term: the author's life                         |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  48  |                            state's version                            |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  56  |                                lineage                                |
//!      +--------+--------+--------+--------+--------+--------+--------+--------+
//!  64  |  content, by type; then the seal's trailer                            |
//!      flags: bit 0 went over the external link, bit 1 has one addressee
//!
//!  type  content                                        type  content
//!   1 HELLO         nonce 8                              14 FAIL_OVER    service 4, prepare 1
//!   2 HELLO_ACK     nonce 8                              15 READY        service 4, ok 1
//!   3 BEAT          number 8, members 2, priority 2      16 TAKE_OVER    service 4
//!   4 BEAT_ACK      number 8, nonce 8, Report            17 FAIL_BACK    service 4, nonce 8
//!   5 GRANT         nonce 8, remaining µs 4              18 FAILBACK_OK  service 4
//!   6 STATE         committed 1, State                   19 I_AM_LEFT
//!   7 STATE_ACK     epoch 24, digest 8                   20 I_AM_RIGHT
//!   8 NACK          term 16, option<incarnation 8>        21 STATUS       Status
//!   9 SUSPECT       node 4, incarnation 8, option<       22 COMMAND      id 8, Command
//!                   term 16, promise µs 4>, nonce 8      23 COMMAND_ACK  id 8, ok 1, text<512> if not ok
//!  10 ROLL_CALL     node 4, nonce 8, option<heard µs 4>, 24 LEAVE        incarnation 8
//!                   option<Vote>,                        25 FORWARD      origin 4, incarnation 8, epoch 24,
//!                   option<committed 1, State>                           to 4, type 1, content: no FORWARD
//!  11 IP_CHECK      nonce 8, option<Boot>               26 RESIGN       to 4
//!  12 IP_CHECK_ACK  nonce 8, option<controller 4>       27 ASIDE        Aside (`wire/aside.rs`)
//!  13 FAIL_DOWN     node 4, incarnation 8
//! ```
//!
//! All numbers are big-endian; `codec/values.rs` draws the compound values. Every value has exactly one
//! encoding, and a decoder that meets any other refuses the datagram whole: nothing is guessed, nothing
//! skipped. A new packet type takes the next number; a change to an old one takes a new version.

mod aside;
mod cursor;
mod standing;
#[cfg(test)]
mod tests;
mod values;

use super::{Datagram, Header, Packet, State};
use crate::vocabulary::{LinkRole, NodeId};
use cursor::{Cursor, Wire, put_text};
use sha2::{Digest, Sha256};

/// First bytes of every datagram of ours: other traffic on the port is told apart without a hash.
pub const MAGIC: u16 = 0xD1E4;
/// Of the format drawn above.
pub const VERSION: u8 = 2;
/// Length of the header in bytes: no datagram is shorter.
pub const HEADER_LENGTH: usize = 64;
/// Most members of a state: one ring (protocol.md, «Partial connectivity and size»).
pub const MAX_MEMBERS: usize = 64;
/// Most services of a state, and of every list in a report: four a node.
pub const MAX_SERVICES: usize = 256;
/// Longest name of a node in bytes, as in the configuration.
pub const MAX_NAME: usize = 32;
/// Longest name of a device in bytes: the kernel's IFNAMSIZ less its zero.
pub const MAX_DEVICE: usize = 15;
/// Most links in a status: two are usual, bonds and their parts a few more.
pub const MAX_LINKS: usize = 16;
/// Most remarks in a status: those that matter most; all that there are in all but the worst of days.
pub const MAX_REMARKS: usize = 64;
/// Most moves in a status: everybody hears them within two seconds and remembers more.
pub const MAX_MOVES: usize = 32;
/// Longest reason in a COMMAND_ACK in bytes: a few lines of a terminal.
pub const MAX_REASON: usize = 512;

/// Why bytes are no datagram. Nothing was changed by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// Does not begin with [`MAGIC`].
    Magic,
    /// A version of the format that this program does not know.
    Version,
    /// A type of packet that this version does not know.
    Type,
    /// Ends in the middle of a value.
    Truncated,
    /// Goes on after the last value.
    Trailing,
    /// A list with more elements than its bound.
    TooMany,
    /// Text with more bytes than its bound.
    TooLong,
    /// Text that is not UTF-8 or holds control characters.
    Text,
    /// A number outside the values that its field can have.
    Value,
    /// Members or services not strictly ascending.
    Order,
    /// A FORWARD inside a FORWARD.
    Nested,
}

mod kind {
    pub const HELLO: u8 = 1;
    pub const HELLO_ACK: u8 = 2;
    pub const BEAT: u8 = 3;
    pub const BEAT_ACK: u8 = 4;
    pub const GRANT: u8 = 5;
    pub const STATE: u8 = 6;
    pub const STATE_ACK: u8 = 7;
    pub const NACK: u8 = 8;
    pub const SUSPECT: u8 = 9;
    pub const ROLL_CALL: u8 = 10;
    pub const IP_CHECK: u8 = 11;
    pub const IP_CHECK_ACK: u8 = 12;
    pub const FAIL_DOWN: u8 = 13;
    pub const FAIL_OVER: u8 = 14;
    pub const READY: u8 = 15;
    pub const TAKE_OVER: u8 = 16;
    pub const FAIL_BACK: u8 = 17;
    pub const FAILBACK_OK: u8 = 18;
    pub const I_AM_LEFT: u8 = 19;
    pub const I_AM_RIGHT: u8 = 20;
    pub const STATUS: u8 = 21;
    pub const COMMAND: u8 = 22;
    pub const COMMAND_ACK: u8 = 23;
    pub const LEAVE: u8 = 24;
    pub const FORWARD: u8 = 25;
    pub const RESIGN: u8 = 26;
    pub const ASIDE: u8 = 27;
}

/// Write a datagram into `out`, whose old content goes.
///
/// Text is cut to its bound; a list beyond its bound is written whole and refused by every receiver.
pub fn encode(datagram: &Datagram, out: &mut Vec<u8>) {
    out.clear();
    let Header { from, to, incarnation, sequence, link, epoch, lineage } = &datagram.header;
    MAGIC.put(out);
    VERSION.put(out);
    kind_of(&datagram.packet).put(out);
    from.put(out);
    to.unwrap_or(NodeId(0)).put(out);
    out.push(u8::from(*link == LinkRole::External) | u8::from(to.is_some()) << 1);
    out.extend_from_slice(&[0; 3]);
    incarnation.put(out);
    sequence.put(out);
    epoch.put(out);
    lineage.put(out);
    put_content(&datagram.packet, out);
}

/// Read a datagram; the bytes must be exactly one.
///
/// # Errors
/// The first thing that is not as [`encode`] would have written it.
pub fn decode(bytes: &[u8]) -> Result<Datagram, DecodeError> {
    let mut from = Cursor::new(bytes);
    if from.take::<u16>()? != MAGIC {
        return Err(DecodeError::Magic);
    }
    if from.take::<u8>()? != VERSION {
        return Err(DecodeError::Version);
    }
    let kind = from.take()?;
    let header = take_header(&mut from)?;
    let packet = take_content(kind, &mut from, Depth::Outer)?;
    from.end()?;
    Ok(Datagram { header, packet })
}

/// What STATE_ACK says of a state: two proposals of one epoch cannot be mixed up. The first 8 bytes of
/// the SHA-256 of its encoding.
pub fn digest(state: &State) -> u64 {
    let mut bytes = Vec::with_capacity(1024);
    state.put(&mut bytes);
    let hash = Sha256::digest(&bytes);
    u64::from_be_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// The header after magic, version and type.
fn take_header(from: &mut Cursor) -> Result<Header, DecodeError> {
    let sender = from.take()?;
    let addressee: NodeId = from.take()?;
    let flags = from.take::<u8>()?;
    let reserved = from.bytes(3)?;
    let addressed = flags & 2 != 0;
    if flags > 0b11 || reserved != [0; 3] || (!addressed && addressee != NodeId(0)) {
        return Err(DecodeError::Value);
    }
    Ok(Header {
        from: sender,
        to: addressed.then_some(addressee),
        incarnation: from.take()?,
        sequence: from.take()?,
        link: if flags & 1 != 0 { LinkRole::External } else { LinkRole::Internal },
        epoch: from.take()?,
        lineage: from.take()?,
    })
}

fn kind_of(packet: &Packet) -> u8 {
    match packet {
        Packet::Hello { .. } => kind::HELLO,
        Packet::HelloAck { .. } => kind::HELLO_ACK,
        Packet::Beat { .. } => kind::BEAT,
        Packet::BeatAck { .. } => kind::BEAT_ACK,
        Packet::Grant { .. } => kind::GRANT,
        Packet::State { .. } => kind::STATE,
        Packet::StateAck { .. } => kind::STATE_ACK,
        Packet::Nack { .. } => kind::NACK,
        Packet::Suspect { .. } => kind::SUSPECT,
        Packet::RollCall { .. } => kind::ROLL_CALL,
        Packet::IpCheck { .. } => kind::IP_CHECK,
        Packet::IpCheckAck { .. } => kind::IP_CHECK_ACK,
        Packet::FailDown { .. } => kind::FAIL_DOWN,
        Packet::FailOver { .. } => kind::FAIL_OVER,
        Packet::Ready { .. } => kind::READY,
        Packet::TakeOver { .. } => kind::TAKE_OVER,
        Packet::FailBack { .. } => kind::FAIL_BACK,
        Packet::FailbackOk { .. } => kind::FAILBACK_OK,
        Packet::IAmLeft => kind::I_AM_LEFT,
        Packet::IAmRight => kind::I_AM_RIGHT,
        Packet::Status(_) => kind::STATUS,
        Packet::Command { .. } => kind::COMMAND,
        Packet::CommandAck { .. } => kind::COMMAND_ACK,
        Packet::Leave { .. } => kind::LEAVE,
        Packet::Resign { .. } => kind::RESIGN,
        Packet::Forward { .. } => kind::FORWARD,
        Packet::Aside(_) => kind::ASIDE,
    }
}

fn put_content(packet: &Packet, out: &mut Vec<u8>) {
    match packet {
        Packet::Hello { nonce } | Packet::HelloAck { nonce } => nonce.put(out),
        Packet::Beat { number, members, priority } => (*number, (*members, *priority)).put(out),
        Packet::BeatAck { number, nonce, report } => {
            (*number, *nonce).put(out);
            report.put(out);
        }
        Packet::Grant { nonce, remaining_us } => (*nonce, *remaining_us).put(out),
        Packet::State { committed, state } => {
            committed.put(out);
            state.put(out);
        }
        Packet::StateAck { epoch, digest } => (*epoch, *digest).put(out),
        Packet::Nack { term, known } => (*term, *known).put(out),
        Packet::Suspect { suspect, incarnation, candidacy, nonce } => {
            (*suspect, *incarnation).put(out);
            (*candidacy, *nonce).put(out);
        }
        Packet::RollCall { suspect, nonce, heard_us, vote, newest } => {
            (*suspect, *nonce).put(out);
            (*heard_us, *vote).put(out);
            newest.put(out);
        }
        Packet::IpCheck { nonce, boot } => {
            nonce.put(out);
            boot.put(out);
        }
        Packet::IpCheckAck { nonce, controller } => (*nonce, *controller).put(out),
        Packet::FailDown { node, incarnation } => (*node, *incarnation).put(out),
        Packet::FailOver { service, prepare: flag } | Packet::Ready { service, ok: flag } => {
            (*service, *flag).put(out);
        }
        Packet::TakeOver { service } | Packet::FailbackOk { service } => service.put(out),
        Packet::FailBack { service, nonce } => (*service, *nonce).put(out),
        Packet::IAmLeft | Packet::IAmRight => {}
        Packet::Status(status) => status.put(out),
        Packet::Command { id, command } => (*id, *command).put(out),
        Packet::CommandAck { id, result } => {
            (*id, result.is_ok()).put(out);
            if let Err(reason) = result {
                put_text(reason, MAX_REASON, out);
            }
        }
        Packet::Leave { incarnation } => incarnation.put(out),
        Packet::Resign { to } => to.put(out),
        Packet::Aside(aside) => aside.put(out),
        Packet::Forward { origin, incarnation, epoch, to, packet } => {
            (*origin, *incarnation).put(out);
            (*epoch, *to).put(out);
            kind_of(packet).put(out);
            put_content(packet, out);
        }
    }
}

/// Where a packet stands: FORWARD goes one hop, so it never holds another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Forwarded,
}

fn take_content(kind: u8, from: &mut Cursor, depth: Depth) -> Result<Packet, DecodeError> {
    Ok(match kind {
        kind::HELLO => Packet::Hello { nonce: from.take()? },
        kind::HELLO_ACK => Packet::HelloAck { nonce: from.take()? },
        kind::BEAT => Packet::Beat { number: from.take()?, members: from.take()?, priority: from.take()? },
        kind::BEAT_ACK => Packet::BeatAck { number: from.take()?, nonce: from.take()?, report: from.take()? },
        kind::GRANT => Packet::Grant { nonce: from.take()?, remaining_us: from.take()? },
        kind::STATE => Packet::State { committed: from.take()?, state: from.take()? },
        kind::STATE_ACK => Packet::StateAck { epoch: from.take()?, digest: from.take()? },
        kind::NACK => Packet::Nack { term: from.take()?, known: from.take()? },
        kind::SUSPECT => Packet::Suspect {
            suspect: from.take()?,
            incarnation: from.take()?,
            candidacy: from.take()?,
            nonce: from.take()?,
        },
        kind::ROLL_CALL => Packet::RollCall {
            suspect: from.take()?,
            nonce: from.take()?,
            heard_us: from.take()?,
            vote: from.take()?,
            newest: from.take()?,
        },
        kind::IP_CHECK => Packet::IpCheck { nonce: from.take()?, boot: from.take()? },
        kind::IP_CHECK_ACK => Packet::IpCheckAck { nonce: from.take()?, controller: from.take()? },
        kind::FAIL_DOWN => Packet::FailDown { node: from.take()?, incarnation: from.take()? },
        kind::FAIL_OVER => Packet::FailOver { service: from.take()?, prepare: from.take()? },
        kind::READY => Packet::Ready { service: from.take()?, ok: from.take()? },
        kind::TAKE_OVER => Packet::TakeOver { service: from.take()? },
        kind::FAIL_BACK => Packet::FailBack { service: from.take()?, nonce: from.take()? },
        kind::FAILBACK_OK => Packet::FailbackOk { service: from.take()? },
        kind::I_AM_LEFT => Packet::IAmLeft,
        kind::I_AM_RIGHT => Packet::IAmRight,
        kind::STATUS => Packet::Status(from.take()?),
        kind::COMMAND => Packet::Command { id: from.take()?, command: from.take()? },
        kind::COMMAND_ACK => Packet::CommandAck {
            id: from.take()?,
            result: if from.take()? { Ok(()) } else { Err(from.text(MAX_REASON)?) },
        },
        kind::LEAVE => Packet::Leave { incarnation: from.take()? },
        kind::RESIGN => Packet::Resign { to: from.take()? },
        kind::ASIDE => Packet::Aside(from.take()?),
        kind::FORWARD if depth == Depth::Forwarded => return Err(DecodeError::Nested),
        kind::FORWARD => take_forward(from)?,
        _ => return Err(DecodeError::Type),
    })
}

fn take_forward(from: &mut Cursor) -> Result<Packet, DecodeError> {
    let (origin, incarnation) = (from.take()?, from.take()?);
    let (epoch, to) = (from.take()?, from.take()?);
    let kind = from.take()?;
    let packet = Box::new(take_content(kind, from, Depth::Forwarded)?);
    Ok(Packet::Forward { origin, incarnation, epoch, to, packet })
}
