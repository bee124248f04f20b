//! What nodes say to each other: typed packets, their bytes, their seal, and the frames that tell
//! switches and neighbours who has an address. PURE: no sockets, no clock.
//!
//! The way in: [`Key::open`] (length, magic, version, cluster, seal, then the codec), then
//! [`ReplayWindows::accept`]. The way out: [`Key::seal`]. Whatever fails is a [`Reject`], which changes
//! nothing but its counter (P7).
mod arp;
mod aside;
mod codec;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
mod keyring;
mod neighbour;
mod packet;
mod replay;
#[cfg(test)]
mod samples;
mod seal;
pub mod session;
mod standing;
mod state;
pub use arp::*;
pub use aside::*;
pub use codec::{
    DecodeError, HEADER_LENGTH, MAGIC, MAX_DEVICE, MAX_LINKS, MAX_MEMBERS, MAX_MOVES, MAX_NAME, MAX_REASON,
    MAX_REMARKS, MAX_SERVICES, VERSION, decode, digest, encode,
};
pub use keyring::*;
pub use neighbour::*;
pub use packet::*;
pub use replay::*;
pub use seal::*;
pub use session::{MAX_FRAME, NONCE_LENGTH, Nonce, Session};
pub use standing::*;
pub use state::*;
