//! The machine's cards and their addresses, as a list. Called by the configuration keeper, which asks whether
//! a configuration fits the machine.

use nix::ifaddrs::getifaddrs;
use std::io;
use std::net::IpAddr;

/// An address of a card; a card is listed once more, without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardAddress {
    /// The card's name.
    pub device: String,
    /// `None`: only that the card is there.
    pub address: Option<IpAddr>,
    /// Length of its network part in bits.
    pub prefix: u8,
}

/// All of them, in the calling thread's network.
///
/// # Errors
/// What the kernel says.
pub fn addresses() -> io::Result<Vec<CardAddress>> {
    let mut found = Vec::new();
    for entry in getifaddrs()? {
        let of = |storage: Option<nix::sys::socket::SockaddrStorage>| -> Option<IpAddr> {
            let storage = storage?;
            let v4 = storage.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
        };
        let address = of(entry.address);
        let prefix = match of(entry.netmask) {
            Some(IpAddr::V4(mask)) => u32::from(mask).count_ones(),
            Some(IpAddr::V6(mask)) => u128::from(mask).count_ones(),
            None => 0,
        };
        let prefix = u8::try_from(prefix).expect("at most 128");
        // A label is no card: `eth0:www1` is eth0.
        let device = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        found.push(CardAddress { device, address, prefix });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_loopback_card_is_there_with_its_address() {
        let loopback =
            CardAddress { device: "lo".into(), address: Some(Ipv4Addr::LOCALHOST.into()), prefix: 8 };
        assert!(addresses().expect("the kernel tells").contains(&loopback));
    }
}
