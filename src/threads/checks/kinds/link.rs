//! `link`: is the card there, switched on, does it carry; how fast is it, how many packets come broken, and what of its
//! bond carries?

use crate::config::Check;
use crate::os::errors::why;
use crate::os::ethernet::speed;
use crate::os::link::card_state;
use crate::recovery::Finding;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// In files of the calling thread's own network.
const BONDS: &str = "/proc/thread-self/net/bonding";
const COUNTERS: &str = "/proc/thread-self/net/dev";
/// Of `errors_seen`: no run has looked yet.
pub const NOT_SEEN: u64 = u64::MAX;

/// `told`: the kernel has told that something changed, and what it is now is beyond doubt.
pub(super) fn look(check: &Check, errors_seen: &AtomicU64, told: bool) -> Finding {
    let device = check.target.as_str();
    let bad = |message: String| if told { Finding::gone(message) } else { Finding::bad(message) };
    match card_state(device) {
        Ok(state) if !state.on => return bad(format!("{device} is switched off")),
        Ok(state) if !state.carries => return bad(format!("{device} has no carrier")),
        Ok(_) => {}
        Err(error) => return bad(format!("{device}: {}", why(&error))),
    }
    let bond = fs::read_to_string(format!("{BONDS}/{device}")).ok().map(|text| Bond::parse(&text));
    // A bond that is up by its own word carries nothing if no card of it does.
    if let Some(bond) = bond.as_ref().filter(|bond| bond.carries() == 0) {
        return bad(format!("{device} says that it is up, but {}", bond.words()));
    }
    if let Err(wrong) = fast_enough(check).and_then(|()| few_errors(check, errors_seen)) {
        return Finding::bad(wrong);
    }
    match bond {
        Some(bond) if bond.carries() < bond.cards.len() => {
            Finding::warns(format!("{device} is up, but {}", bond.words()))
        }
        Some(_) | None => Finding::well(format!("{device} is up")),
    }
}

fn fast_enough(check: &Check) -> Result<(), String> {
    let device = &check.target;
    let Some(least) = check.options.speed else { return Ok(()) };
    match speed(device) {
        Ok(Some(speed)) if speed >= least => Ok(()),
        Ok(Some(speed)) => Err(format!("{device} runs at {speed} Mbit/s, {least} are the least")),
        Ok(None) => Err(format!("{device} does not know its speed")),
        Err(error) => Err(format!("{device} does not tell its speed: {}", why(&error))),
    }
}

fn few_errors(check: &Check, errors_seen: &AtomicU64) -> Result<(), String> {
    let device = &check.target;
    let Some(most) = check.options.errors else { return Ok(()) };
    let text = fs::read_to_string(COUNTERS).map_err(|error| format!("{COUNTERS}: {}", why(&error)))?;
    let now = errors(&text, device).ok_or_else(|| format!("{device} is not in {COUNTERS}"))?;
    let before = errors_seen.swap(now, Ordering::SeqCst);
    let new = if before == NOT_SEEN { 0 } else { now.saturating_sub(before) };
    if new > u64::from(most) {
        return Err(format!("{device}: {new} packets with errors since the last look, {most} are the most"));
    }
    Ok(())
}

/// Received and sent with errors. `  eth0: BYTES PACKETS ERRS DROP FIFO FRAME COMPRESSED MULTICAST BYTES PACKETS ERRS …`
fn errors(text: &str, device: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'))?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    Some(numbers.get(2)? + numbers.get(10)?)
}

/// What the kernel's driver says of a bond: each card of it, and whether that carries.
#[derive(Debug, PartialEq, Eq)]
struct Bond {
    cards: Vec<(String, bool)>,
}

impl Bond {
    /// `Slave Interface: eth1`, and after each its own `MII Status: up`.
    fn parse(text: &str) -> Self {
        let mut cards: Vec<(String, bool)> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("Slave Interface: ") {
                cards.push((name.trim().to_owned(), false));
            } else if let (Some(status), Some(card)) = (line.strip_prefix("MII Status: "), cards.last_mut()) {
                card.1 = status.trim() == "up";
            }
        }
        Bond { cards }
    }

    fn carries(&self) -> usize {
        self.cards.iter().filter(|(_, up)| *up).count()
    }

    fn words(&self) -> String {
        let down: Vec<&str> =
            self.cards.iter().filter(|(_, up)| !up).map(|(name, _)| name.as_str()).collect();
        match (self.cards.len(), down.len()) {
            (0, _) => "it has no card".to_owned(),
            (all, some) if all == some => format!("none of its cards carries ({})", down.join(", ")),
            (all, some) => format!("{some} of its {all} cards do not carry ({})", down.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOND: &str = "Ethernet Channel Bonding Driver: v6.1\n\nBonding Mode: fault-tolerance (active-backup)\n\
        Currently Active Slave: eth1\nMII Status: up\nMII Polling Interval (ms): 0\n\n\
        Slave Interface: eth1\nMII Status: ONE\nSpeed: 1000 Mbps\nPermanent HW addr: 02:00:00:00:00:01\n\n\
        Slave Interface: eth2\nMII Status: OTHER\nSpeed: Unknown\n";

    #[test]
    fn a_bond_carries_as_much_as_its_cards() {
        let bond = |one: &str, other: &str| Bond::parse(&BOND.replace("ONE", one).replace("OTHER", other));
        assert_eq!((bond("up", "up").carries(), bond("up", "up").cards.len()), (2, 2));
        assert_eq!(bond("up", "down").words(), "1 of its 2 cards do not carry (eth2)");
        assert_eq!(bond("down", "going back").carries(), 0);
        assert_eq!(bond("down", "down").words(), "none of its cards carries (eth1, eth2)");
        let empty = Bond::parse(BOND.split("\n\nSlave").next().expect("a part"));
        assert_eq!((empty.carries(), empty.words().as_str()), (0, "it has no card"));
    }

    #[test]
    fn errors_are_those_of_both_directions() {
        let text = "Inter-|   Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\neth01: 9 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(errors(text, "eth0"), Some(14));
        assert_eq!(errors(text, "eth1"), None);
    }
}
