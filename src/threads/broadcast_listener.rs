//! Thread `broadcast listener`: datagrams to everybody, on both links.
//!
//! Its own thread with its own sockets, so that a storm of broadcasts never delays a HELLO. Ends when its
//! bell rings.

use super::hello_receiver::Ears;

/// Listens until the bell rings.
pub fn run(ears: Ears) {
    ears.run();
}
