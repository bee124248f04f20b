//! Values that are addresses, cards and routes. Called by `parse` for each such key, as `values` is for the
//! others; ends with a type that no host's configuration can refuse, or with what was expected instead.

use super::error::wrong;
use super::types::*;
use super::values::{Value, digits};
use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address of one host.
pub(super) fn host4(text: &str) -> Value<Ipv4Addr> {
    let address: Ipv4Addr = text.parse().map_err(|_| wrong("an IPv4 address", text))?;
    match unfit4(address) {
        None => Ok(address),
        Some(why) => Err(format!("{}, which is {why}", wrong("an IPv4 address of a host", text))),
    }
}

/// `DEVICE ADDRESS/PREFIX`: the internal card, on whose network everybody can be reached by broadcast.
pub(super) fn internal(text: &str) -> Value<Interface> {
    let expected = "`DEVICE ADDRESS/PREFIX` with an IPv4 address and a prefix from 8 to 30";
    let (device_text, rest) = text.split_once(char::is_whitespace).ok_or_else(|| wrong(expected, text))?;
    let address = prefixed4(rest.trim(), expected, text)?;
    if !(8..=30).contains(&address.prefix) {
        return Err(wrong(expected, text));
    }
    Ok(Interface { device: device(device_text)?, address: Some(address) })
}

/// `DEVICE [ADDRESS/PREFIX]`
pub(super) fn external(text: &str) -> Value<Interface> {
    let expected = "`DEVICE` or `DEVICE ADDRESS/PREFIX` with an IPv4 address and a prefix from 1 to 32";
    match text.split_once(char::is_whitespace) {
        None if text.is_empty() => Err(wrong(expected, text)),
        None => Ok(Interface { device: device(text)?, address: None }),
        Some((device_text, rest)) => {
            let address = prefixed4(rest.trim(), expected, text)?;
            Ok(Interface { device: device(device_text)?, address: Some(address) })
        }
    }
}

/// The name of a network card, as the kernel allows it; `:` would make it a label.
pub(super) fn device(text: &str) -> Value<String> {
    let bad = |c: char| c.is_whitespace() || matches!(c, '/' | ':');
    if !(1..=15).contains(&text.len()) || text.contains(bad) || matches!(text, "." | ".." | "lo") {
        return Err(wrong("a network device of 1 to 15 bytes without `/` and `:`, and not `lo`", text));
    }
    Ok(text.to_owned())
}

fn prefixed4(text: &str, expected: &str, whole: &str) -> Value<Prefixed<Ipv4Addr>> {
    let Some(Prefixed { address: IpAddr::V4(address), prefix }) = prefixed(text) else {
        return Err(wrong(expected, whole));
    };
    fit(Prefixed { address: address.into(), prefix }, text)?;
    Ok(Prefixed { address, prefix })
}

/// `ADDRESS/PREFIX` of either family: a host's address that clients may use.
pub(super) fn service_address(text: &str) -> Value<Prefixed<IpAddr>> {
    let expected = "`ADDRESS/PREFIX` (IPv4 with a prefix from 1 to 32, IPv6 with one from 1 to 128)";
    let prefixed = prefixed(text).ok_or_else(|| wrong(expected, text))?;
    fit(prefixed, text)?;
    Ok(prefixed)
}

fn prefixed(text: &str) -> Option<Prefixed<IpAddr>> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = digits(prefix).filter(|prefix| (1..=most).contains(prefix))?;
    Some(Prefixed { address, prefix: u8::try_from(prefix).ok()? })
}

/// Whether one machine can have this address and others can reach it there.
fn fit(prefixed: Prefixed<IpAddr>, text: &str) -> Value<()> {
    let unfit = match prefixed.address {
        IpAddr::V4(address) => unfit4(address).or_else(|| edge_of_network(address, prefixed.prefix)),
        IpAddr::V6(address) if address.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(address) if address.is_loopback() => Some("a loopback address"),
        IpAddr::V6(address) if address.is_multicast() => Some("a multicast address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        IpAddr::V6(_) => None,
    };
    match unfit {
        None => Ok(()),
        Some(why) => Err(format!("{}, which is {why}", wrong("an address of a host", text))),
    }
}

fn unfit4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets()[0] {
        0 => Some("an unspecified address"),
        127 => Some("a loopback address"),
        224..=239 => Some("a multicast address"),
        240..=255 => Some("a reserved or broadcast address"),
        _ => None,
    }
}

fn edge_of_network(address: Ipv4Addr, prefix: u8) -> Option<&'static str> {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    match u32::from(address) & host {
        // RFC 3021: a /31 has two hosts and neither edge; a /32 has one.
        _ if prefix >= 31 => None,
        0 => Some("the network's own address"),
        bits if bits == host => Some("the network's broadcast address"),
        _ => None,
    }
}

/// `default via GATEWAY`
pub(super) fn route(text: &str) -> Value<Ipv4Addr> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["default", "via", gateway] => host4(gateway),
        _ => Err(wrong("`default via A.B.C.D`", text)),
    }
}
