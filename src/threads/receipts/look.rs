//! Who has an address, as this machine sees it: by ARP on the external card, and by the kernel's own neighbour
//! cache, which is what its connections use. Called by the thread `receipts`; ends by itself.

use crate::os::clock;
use crate::os::doorbell;
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::wire::{ArpFrame, Sighting};
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

/// A kernel answers within a millisecond; so often is asked, each time for so long.
const QUESTIONS: u32 = 3;
const PATIENCE: Duration = Duration::from_millis(20);

/// Asks, and looks into the cache. `own`: the card's own address, unspecified if it has none.
///
/// # Errors
/// No such card, no permission, the link is down.
pub fn look(device: &str, own: Ipv4Addr, addresses: &[Ipv4Addr]) -> io::Result<Vec<Sighting>> {
    let socket = PacketSocket::open(device, Hears::Arp(addresses))?;
    let mut answers: BTreeMap<Ipv4Addr, [u8; 6]> = BTreeMap::new();
    for _ in 0..QUESTIONS {
        for &address in addresses.iter().filter(|address| !answers.contains_key(address)) {
            socket.send(&ArpFrame::question(socket.mac(), own, address).to_bytes())?;
        }
        let until = clock::now() + PATIENCE;
        while answers.len() < addresses.len() && clock::now() < until {
            doorbell::wait(&[socket.as_fd()], until)?;
            let mut buffer = [0; 128];
            while let Some(length) = socket.receive(&mut buffer)? {
                if let Some(arp) = ArpFrame::parse(&buffer[..length])
                    && arp.claims(arp.sender_ip)
                    && addresses.contains(&arp.sender_ip)
                {
                    answers.insert(arp.sender_ip, arp.sender_mac);
                }
            }
        }
        if answers.len() == addresses.len() {
            break;
        }
    }
    let cache = std::fs::read_to_string("/proc/thread-self/net/arp").unwrap_or_default();
    let sighting = |&address: &Ipv4Addr| Sighting {
        address,
        answers: answers.get(&address).copied(),
        cached: cached(&cache, device, address),
    };
    Ok(addresses.iter().map(sighting).collect())
}

/// Whom the kernel's table names for the address on that card; `None`: nobody, or it asks again anyway.
fn cached(table: &str, device: &str, address: Ipv4Addr) -> Option<[u8; 6]> {
    let address = address.to_string();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_it = |fields: &Vec<&str>| fields.len() >= 6 && fields[0] == address && fields[5] == device;
    let fields = lines.into_iter().find(of_it)?;
    // ATF_COM: it is complete.
    let flags = u32::from_str_radix(fields[2].trim_start_matches("0x"), 16).ok()?;
    let mut mac = [0; 6];
    let mut parts = fields[3].split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    (flags & 2 != 0).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
203.0.113.21     0x1         0x2         02:00:00:00:00:0a     *        eth0
203.0.113.22     0x1         0x0         00:00:00:00:00:00     *        eth0
203.0.113.23     0x1         0x6         02:00:00:00:00:0b     *        eth1
garbage
";
        let find = |last, device| cached(table, device, Ipv4Addr::new(203, 0, 113, last));
        assert_eq!(find(21, "eth0"), Some([2, 0, 0, 0, 0, 0x0a]));
        assert_eq!(find(22, "eth0"), None, "incomplete");
        assert_eq!(find(23, "eth0"), None, "on another card");
        assert_eq!(find(23, "eth1"), Some([2, 0, 0, 0, 0, 0x0b]), "permanent");
        assert_eq!(find(24, "eth0"), None);
    }
}
