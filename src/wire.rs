//! What nodes say to each other: typed packets, their bytes, their seal. PURE: no sockets, no clock.
mod packet;
mod state;
pub use packet::*;
pub use state::*;
