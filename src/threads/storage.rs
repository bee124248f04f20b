//! Thread `storage`: the record that must survive (S1, Q1, E5), written with fsync.
//!
//! Owns the record file. The newest order replaces those that wait, and answers for them. Ends when the
//! driver has dropped its end, after the last order.

use super::driver::Told;
use super::mailbox::{LatestMailbox, Sender};
use crate::controller::{Input, Record};
use crate::os::storage::RecordFile;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId, Term};
use crate::wire::{self, Datagram, Header, Packet, State};
use std::io;
use std::path::Path;

/// `record` in the state directory.
pub const FILE_NAME: &str = "record";
const VERSION: u8 = 1;

/// What shall be written.
#[derive(Debug, Default)]
pub struct Order {
    /// The controller's record and the token of its newest order.
    pub record: Option<(Box<Record>, u64)>,
    /// A new life, without a new record (J3).
    pub incarnation: Option<Incarnation>,
}

/// The open file and what was written last.
#[derive(Debug)]
pub struct Storage {
    file: RecordFile,
    last: Record,
}

impl Storage {
    /// Opens the file in the state directory, and begins a new life: its incarnation is greater than that
    /// of every earlier one, and on the disk when this returns. Also what the last life left.
    ///
    /// # Errors
    /// No such directory, no permission, a full disk.
    pub fn begin(directory: &Path, wall_seconds: u64) -> io::Result<(Self, Option<Record>)> {
        let (file, content) = RecordFile::open(&directory.join(FILE_NAME))?;
        let earlier = content.as_deref().and_then(decode);
        if content.is_some() && earlier.is_none() {
            log::warn!("the record of an earlier life cannot be read: this node remembers nothing");
        }
        let lived = earlier.as_ref().map_or(0, |record| record.incarnation.0);
        // The wall clock stands in for a lost disk: a restored image must not repeat a life.
        let incarnation = Incarnation((lived + 1).max(wall_seconds));
        let nothing = Record { incarnation, voted: Epoch::NONE.term, committed: None, proposed: None };
        let last = Record { incarnation, ..earlier.clone().unwrap_or(nothing) };
        let mut storage = Storage { file, last };
        storage.write()?;
        Ok((storage, earlier))
    }

    /// This life.
    pub fn incarnation(&self) -> Incarnation {
        self.last.incarnation
    }

    /// Writes until nobody can order any more.
    pub fn run(mut self, orders: &LatestMailbox<Order>, driver: &Sender<Told>) {
        while let Some(order) = orders.receive() {
            let token = order.record.as_ref().map(|(_, token)| *token);
            if let Some((record, _)) = order.record {
                self.last = *record;
            }
            if let Some(incarnation) = order.incarnation {
                self.last.incarnation = self.last.incarnation.max(incarnation);
            }
            if token.is_none() && order.incarnation.is_none() {
                continue;
            }
            let written = self.write();
            if let Err(error) = &written {
                log::error!("cannot write the record: {error}");
            }
            if let Some(token) = token {
                driver.send(Told::Happened(Box::new(Input::Stored { token, ok: written.is_ok() })));
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write(&encode(&self.last))
    }
}

/// Version u8, incarnation u64, voted round u32, author u32 and life u64, then for both states: length u32 and a
/// STATE datagram without a seal (its codec is tested, versioned and strict).
fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(record.incarnation.0.to_be_bytes());
    bytes.extend(record.voted.round.to_be_bytes());
    bytes.extend(record.voted.author.0.to_be_bytes());
    bytes.extend(record.voted.life.0.to_be_bytes());
    let mut state_bytes = Vec::new();
    for (state, committed) in [(&record.committed, true), (&record.proposed, false)] {
        state_bytes.clear();
        if let Some(state) = state {
            let packet = Packet::State { committed, state: state.clone() };
            wire::encode(&Datagram { header: header(record), packet }, &mut state_bytes);
        }
        bytes.extend(u32::try_from(state_bytes.len()).expect("a datagram").to_be_bytes());
        bytes.extend(&state_bytes);
    }
    bytes
}

fn header(record: &Record) -> Header {
    Header {
        from: record.voted.author,
        to: None,
        incarnation: record.incarnation,
        sequence: 0,
        link: LinkRole::Internal,
        epoch: Epoch::NONE,
        lineage: 0,
    }
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let (&[version], rest) = bytes.split_first_chunk()?;
    let (incarnation, rest) = rest.split_first_chunk()?;
    let (round, rest) = rest.split_first_chunk()?;
    let (author, rest) = rest.split_first_chunk()?;
    let (life, rest) = rest.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    let (committed, rest) = decode_state(rest)?;
    let (proposed, rest) = decode_state(rest)?;
    rest.is_empty().then_some(Record {
        incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
        voted: Term {
            round: u32::from_be_bytes(*round),
            author: NodeId(u32::from_be_bytes(*author)),
            life: Incarnation(u64::from_be_bytes(*life)),
        },
        committed,
        proposed,
    })
}

fn decode_state(bytes: &[u8]) -> Option<(Option<State>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (state, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    if state.is_empty() {
        return Some((None, rest));
    }
    match wire::decode(state).ok()?.packet {
        Packet::State { state, .. } => Some((Some(state), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
