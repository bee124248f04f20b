//! What nodes say to each other: typed packets, their bytes, their seal, and the frames that tell
//! switches and neighbours who has an address. PURE: no sockets, no clock.
mod arp;
mod neighbour;
mod packet;
mod replay;
mod state;
pub use arp::*;
pub use neighbour::*;
pub use packet::*;
pub use replay::*;
pub use state::*;
