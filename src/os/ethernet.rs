//! What the driver of a card says of its cable. Called by a worker of the checks.

use super::alias::interface_request;
use std::io;
use std::os::fd::AsRawFd;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GSET: u32 = 1;
/// struct ethtool_cmd.
const COMMAND: usize = 44;
/// Where in it the speed is: 16 low bits, 16 high ones.
const SPEED: (usize, usize) = (12, 28);
const UNKNOWN: u32 = u32::MAX;

/// The speed of a card of the calling thread's network in Mbit/s; `None`: its driver does not know.
///
/// # Errors
/// ENODEV; EOPNOTSUPP from cards without a cable.
pub fn speed(device: &str) -> io::Result<Option<u32>> {
    if device.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let mut request = interface_request(device);
    let mut command = [0_u8; COMMAND];
    command[..4].copy_from_slice(&ETHTOOL_GSET.to_ne_bytes());
    request.ifr_ifru.ifru_data = command.as_mut_ptr().cast();
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: SIOCETHTOOL reads the name and, through the pointer, reads and writes one ethtool_cmd: `command`,
    // which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let half = |at: usize| u32::from(u16::from_ne_bytes([command[at], command[at + 1]]));
    let speed = half(SPEED.1) << 16 | half(SPEED.0);
    // 0 and 65535: what drivers say that know it only while there is a carrier.
    Ok((speed != UNKNOWN && speed != 0 && speed != u32::from(u16::MAX)).then_some(speed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::namespace;

    #[test]
    fn a_cable_has_a_speed_and_a_loop_has_none() {
        namespace::within(|| {
            namespace::cable("eth7", "eth8");
            assert_eq!(speed("eth7").expect("veth says"), Some(10_000));
            assert_eq!(speed("lo").expect_err("no cable").raw_os_error(), Some(libc::EOPNOTSUPP));
            assert_eq!(speed("eth9").expect_err("none").raw_os_error(), Some(libc::ENODEV));
            assert!(speed("a-name-of-16-byt").is_err());
        });
    }
}
