//! Addresses that move away as planned: which they are, and what becomes of their connections.

use super::*;
use crate::config::Service;
use crate::os::tcp::{self, Parted};

/// To find the connections of an address may take so long: who has less time goes at once.
const WALK: Duration = Duration::from_millis(4);

impl Work {
    /// Those of them that are being handed over and have some time left, and how long all of them may be up (H2). Anything
    /// else is not for another holder to go on with: it goes at once.
    pub(super) fn moving(&self, config: &Config, addresses: &[IpAddr]) -> (Vec<IpAddr>, Instant) {
        let lease = &self.faker.published.lease;
        let enough = clock::now() + WALK;
        let limit = |address: &IpAddr| {
            let has = |service: &&Service| service.addresses.iter().any(|own| own.address == *address);
            let services = config.services.iter().filter(has);
            services.filter_map(|service| lease.may_stay(service.id)).max().filter(|&limit| limit > enough)
        };
        let moving = addresses.iter().filter_map(|address| Some((*address, limit(address)?)));
        let (moving, limits): (Vec<IpAddr>, Vec<Instant>) = moving.unzip();
        (moving, limits.into_iter().min().unwrap_or(Instant::ZERO))
    }

    /// H3: whoever is still connected to an address that moves away shall connect again, to its new
    /// holder, instead of waiting for an answer that can no longer be sent. Until then there are two holders: so for 2p,
    /// not beyond `limit`, and not when the lease is over, before which nothing comes (L6). To whom it does not come, the new
    /// holder says it when it hears from him.
    pub(super) fn end_connections(&self, config: &Config, addresses: &[IpAddr], limit: Instant) {
        let lease = &self.faker.published.lease;
        let now = clock::now();
        // Others are on their way too, and wait for this thread.
        let ending = lease.ending();
        let others = ending.iter().filter_map(|&(id, _)| lease.may_stay(id)).filter(|&limit| limit > now);
        let until = others.fold(limit, Instant::min).min(now + config.cluster.hello_interval / 4);
        let has_time = || !lease.is_over(clock::now()) && clock::now() < until;
        if !has_time() {
            return;
        }
        match tcp::reset_connections(addresses, has_time) {
            Ok(parted) => {
                for (address, Parted { reset, left }) in addresses.iter().zip(parted) {
                    match (reset, left) {
                        (0, 0) => {}
                        (_, 0) => log::info!("{address} moves away: {reset} connections were reset"),
                        (_, _) => log::warn!(
                            "{address} moves away: {reset} connections were reset, for {left} there was no time"
                        ),
                    }
                }
            }
            Err(error) => log::debug!("cannot reset the connections of {addresses:?}: {error}"),
        }
    }
}
