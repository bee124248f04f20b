//! What nodes tell each other beside the protocol: what happened on each, and which hardware address they see
//! for a service. The controller never sees it: nothing here decides anything, and nothing is lost with it.
//!
//! ```text
//! Aside   1 events: log 8, now in µs 8, after 8, newest 8, list<happening, 16>
//!         2 more: log 8, after 8
//!         3 who has: service 4, nonce 8
//!         4 sees: service 4, nonce 8, list<sighting, 16>
//! happening  number 8, time in µs 8, text<256>, fields text<768>
//! sighting   address 4, option<answers 6>, option<cached 6>
//! ```

use crate::vocabulary::ServiceId;
use std::net::Ipv4Addr;

/// Most events in one packet, and most addresses in one answer.
pub const MAX_ASIDE: usize = 16;
/// Longest text of an event in bytes.
pub const MAX_EVENT_TEXT: usize = 256;
/// Longest fields of an event, as JSON, in bytes.
pub const MAX_EVENT_FIELDS: usize = 768;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// Each → all, when something happened, and empty every ten seconds: these are all the sender's events
    /// that are numbered after `after` and up to the last one here.
    Events {
        /// Which list the numbers count: another one after the sender lost its file.
        log: u64,
        /// The sender's wall clock, in µs since 1970.
        now_us: u64,
        /// Where they begin.
        after: u64,
        /// The number of the sender's newest event.
        newest: u64,
        /// Ascending.
        events: Vec<Happening>,
    },
    /// Any → any: send me yours after that number. One packet answers it.
    More {
        /// Which list.
        log: u64,
        /// What is known already.
        after: u64,
    },
    /// New holder → a few others: ask on the external link who has this service's addresses.
    WhoHas {
        /// Which.
        service: ServiceId,
        /// Repeated in the answer.
        nonce: u64,
    },
    /// The answer.
    Sees {
        /// Which.
        service: ServiceId,
        /// Of the question.
        nonce: u64,
        /// An IPv4 address each.
        sightings: Vec<Sighting>,
    },
}

/// One event of the sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Grows with each event of one list.
    pub number: u64,
    /// The sender's wall clock, in µs since 1970.
    pub time_us: u64,
    /// For people.
    pub text: String,
    /// For programs: a JSON object.
    pub fields: String,
}

/// Who has an address, as one node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// One of the service's.
    pub address: Ipv4Addr,
    /// Who answered ARP just now.
    pub answers: Option<[u8; 6]>,
    /// Whom this machine's own neighbour cache still names.
    pub cached: Option<[u8; 6]>,
}
