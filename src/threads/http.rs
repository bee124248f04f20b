//! HTTP as a client: what the `http` checks and the webhooks share. No thread: each of them asks in its own, and waits
//! no longer than its time limit.

use std::time::Duration;
use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

mod certificate;
#[cfg(test)]
pub mod site;
mod tls;

pub use tls::{Secure, Trust, Watched};

/// Says who asks, in the server's log.
const USER_AGENT: &str = concat!("diehard/", env!("CARGO_PKG_VERSION"));
/// Of one direction, in bytes: no header is longer.
const BUFFER: usize = 16 << 10;

/// Asks one question, and follows no more than `redirects`; `None`: a redirect is an answer.
pub fn agent(timeout: Duration, redirects: Option<u32>, secure: Secure) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(redirects.unwrap_or(0))
        .max_redirects_will_error(redirects.is_some())
        .http_status_as_error(false)
        // A redirect goes by a connection of its own: the server may just be closing the one before.
        .max_idle_connections(0)
        // Who is named is asked, not who the environment of this daemon names.
        .proxy(None)
        .user_agent(USER_AGENT)
        // What the allocator has at hand: larger ones are mapped and unmapped for each run, and the heartbeat's threads
        // wait for the lock of the memory map.
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        .build();
    let connector = ().chain(TcpConnector::default()).chain(secure);
    Agent::with_parts(config, connector, DefaultResolver::default())
}
