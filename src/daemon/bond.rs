//! What guardian and worker say to each other, and the worker's place to wait for it.
//!
//! ```text
//!   guardian ── leave · end · reload · picture ──▶ worker
//!   guardian ◀── territory · keys · ready · failed · doomed ── worker
//! ```
//! The guardian alone hears signals. When its end is closed it is dead, whenever that was: the worker
//! leaves in order then, and ends.

use crate::config::Config;
use crate::os::doorbell::{self, Doorbell};
use crate::os::pair::{End, Waiting};
use crate::vocabulary::Instant;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

/// Guardian → worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// TERM, INT: in order.
    Leave,
    /// The same again: at once.
    End,
    /// HUP.
    Reload,
    /// USR1: the whole picture into the log.
    Picture,
}

/// Worker → guardian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It really runs.
    Ready,
    /// It cannot: exit code, and why.
    Failed(u8, String),
    /// What it may put on the external card from now on. Said before it does.
    Territory(Territory),
    /// With what it seals from now on: a key file's content.
    Keys(Vec<u8>),
    /// Why it is about to be dead: which thread panicked, where and why, or what it cannot go on with.
    Doomed(String),
}

/// Addresses and default routes of services.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Territory {
    pub addresses: Vec<IpAddr>,
    pub gateways: Vec<Ipv4Addr>,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Bond {
    end: End,
    bell: Doorbell,
    reload: bool,
    picture: bool,
    ends: u32,
    orphaned: bool,
}

/// What the log takes of a panic's message, in bytes.
const LONGEST_DOOM: usize = 2_000;

const ORDERS: [(u8, Order); 4] =
    [(b'L', Order::Leave), (b'E', Order::End), (b'R', Order::Reload), (b'P', Order::Picture)];

impl Order {
    pub(super) fn bytes(self) -> [u8; 1] {
        let letter = ORDERS.iter().find(|(_, order)| *order == self).map(|(letter, _)| *letter);
        [letter.expect("every order has a letter")]
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        ORDERS.iter().find(|(letter, _)| bytes == [*letter]).map(|(_, order)| *order)
    }
}

impl Territory {
    /// Everything that this configuration may put on a card.
    pub(super) fn of(config: &Config) -> Self {
        let services = config.services.iter();
        Territory {
            addresses: services.clone().flat_map(|s| s.addresses.iter().map(|a| a.address)).collect(),
            gateways: services.filter_map(|service| service.route).collect(),
        }
    }

    /// What was allowed before may still be there.
    pub(super) fn join(&mut self, other: Territory) {
        for address in other.addresses {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        for gateway in other.gateways {
            if !self.gateways.contains(&gateway) {
                self.gateways.push(gateway);
            }
        }
    }
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Word::Ready => vec![b'r'],
            Word::Failed(code, text) => [&[b'f', *code], text.as_bytes()].concat(),
            Word::Keys(content) => [b"k", &**content].concat(),
            Word::Doomed(text) => [b"d", &text.as_bytes()[..text.len().min(LONGEST_DOOM)]].concat(),
            Word::Territory(Territory { addresses, gateways }) => {
                let mut bytes = vec![b't'];
                for address in addresses {
                    match address {
                        IpAddr::V4(v4) => {
                            bytes.push(4);
                            bytes.extend(v4.octets());
                        }
                        IpAddr::V6(v6) => {
                            bytes.push(6);
                            bytes.extend(v6.octets());
                        }
                    }
                }
                for gateway in gateways {
                    bytes.push(b'g');
                    bytes.extend(gateway.octets());
                }
                bytes
            }
        }
    }

    /// `None`: not said by a worker of this program.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match kind {
            b'r' => Some(Word::Ready),
            b'f' => {
                let (code, text) = rest.split_first()?;
                Some(Word::Failed(*code, String::from_utf8_lossy(text).into_owned()))
            }
            b'k' => Some(Word::Keys(rest.to_vec())),
            b'd' => Some(Word::Doomed(String::from_utf8_lossy(rest).into_owned())),
            b't' => territory(rest).map(Word::Territory),
            _ => None,
        }
    }
}

fn territory(mut bytes: &[u8]) -> Option<Territory> {
    let mut territory = Territory::default();
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = match kind {
            4 => {
                let (octets, rest) = rest.split_first_chunk::<4>()?;
                territory.addresses.push(IpAddr::from(*octets));
                rest
            }
            6 => {
                let (octets, rest) = rest.split_first_chunk::<16>()?;
                territory.addresses.push(IpAddr::from(*octets));
                rest
            }
            b'g' => {
                let (octets, rest) = rest.split_first_chunk::<4>()?;
                territory.gateways.push(Ipv4Addr::from(*octets));
                rest
            }
            _ => return None,
        };
    }
    Some(territory)
}

impl Bond {
    /// # Errors
    /// No descriptor left.
    pub(super) fn new(end: End) -> io::Result<Self> {
        let bell = Doorbell::new()?;
        Ok(Bond { end, bell, reload: false, picture: false, ends: 0, orphaned: false })
    }

    /// Wakes the waiter as an order does.
    pub(super) fn bell(&self) -> Doorbell {
        self.bell.clone()
    }

    pub(super) fn tell(&self, word: &Word) {
        // A dead guardian is seen at the next wait.
        if let Err(error) = self.end.send(&word.bytes()) {
            log::debug!("the guardian does not hear: {error}");
        }
    }

    /// For a thread that panics: tells the guardian, and waits for nothing. False: nobody hears.
    ///
    /// # Errors
    /// No descriptor left.
    pub(super) fn crier(&self) -> io::Result<impl Fn(&str) -> bool + Send + Sync + use<>> {
        let end = self.end.try_clone()?;
        Ok(move |text: &str| end.send(&Word::Doomed(text.to_owned()).bytes()).is_ok())
    }

    /// Until an order, the bell, the guardian's death, or the instant.
    pub(super) fn wait_until(&mut self, until: Option<Instant>) {
        // A failing wait would be a busy loop; it can only fail for want of memory, which passes.
        let until = until.unwrap_or(Instant::MAX);
        let _ = match self.orphaned {
            // Its end would wake for ever.
            true => doorbell::wait(&[self.bell.as_fd()], until),
            false => doorbell::wait(&[self.bell.as_fd(), self.end.as_fd()], until),
        };
        self.bell.hush();
        while !self.orphaned {
            match self.end.receive() {
                Waiting::Nothing => return,
                Waiting::Closed => self.orphaned = true,
                Waiting::Message(bytes) => match Order::of(&bytes) {
                    Some(Order::Leave | Order::End) => self.ends += 1,
                    Some(Order::Reload) => self.reload = true,
                    Some(Order::Picture) => self.picture = true,
                    None => log::error!("the guardian said something unknown"),
                },
            }
        }
    }

    pub(super) fn wants_reload(&mut self) -> bool {
        std::mem::take(&mut self.reload)
    }

    pub(super) fn wants_picture(&mut self) -> bool {
        std::mem::take(&mut self.picture)
    }

    /// How often the end was asked for.
    pub(super) fn wants_end(&self) -> u32 {
        self.ends
    }

    pub(super) fn is_orphaned(&self) -> bool {
        self.orphaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::pair::pair;

    #[test]
    fn orders_wake_and_a_dead_guardian_is_seen() {
        let (guardian, worker) = pair().expect("descriptors");
        let mut bond = Bond::new(worker).expect("a bell");
        for order in [Order::Reload, Order::Picture, Order::Leave] {
            guardian.send(&order.bytes()).expect("sent");
        }
        bond.wait_until(None);
        assert!(bond.wants_reload() && !bond.wants_reload());
        assert!(bond.wants_picture() && !bond.wants_picture());
        assert_eq!((bond.wants_end(), bond.is_orphaned()), (1, false));
        bond.bell().ring();
        bond.wait_until(None);
        bond.wait_until(Some(Instant::ZERO));
        guardian.send(&Order::End.bytes()).expect("sent");
        drop(guardian);
        bond.wait_until(None);
        assert_eq!((bond.wants_end(), bond.is_orphaned()), (2, true));
        bond.wait_until(Some(Instant::ZERO));
        bond.tell(&Word::Ready);
    }

    #[test]
    fn what_the_worker_says_arrives_as_it_was_said() {
        let (guardian, worker) = pair().expect("descriptors");
        let bond = Bond::new(worker).expect("a bell");
        let territory = Territory {
            addresses: vec!["203.0.113.1".parse().expect("v4"), "2001:db8::1".parse().expect("v6")],
            gateways: vec![Ipv4Addr::new(203, 0, 113, 254)],
        };
        let words = [
            Word::Ready,
            Word::Failed(2, "no such card".to_owned()),
            Word::Territory(territory.clone()),
            Word::Keys(b"0123456789abcdef".to_vec()),
            Word::Doomed("thread 'faker' panicked at src/x.rs:1:2: why".to_owned()),
        ];
        for word in words {
            bond.tell(&word);
            let Waiting::Message(bytes) = guardian.receive() else { panic!("{word:?} is lost") };
            assert_eq!(Word::of(&bytes), Some(word.clone()));
            // Cut anywhere it is another word or none, and never a panic.
            for length in 0..bytes.len() {
                assert_ne!(Word::of(&bytes[..length]), Some(word.clone()));
            }
        }
        let cry = bond.crier().expect("a descriptor");
        assert!(cry(&"ä".repeat(5_000)), "it goes out, cut");
        let Waiting::Message(bytes) = guardian.receive() else { panic!("lost") };
        assert!(matches!(Word::of(&bytes), Some(Word::Doomed(text)) if text.starts_with("ää")));
        drop(guardian);
        assert!(!cry("nobody hears it"));
        let mut joined = territory.clone();
        joined.join(territory.clone());
        assert_eq!(joined, territory);
        joined.join(Territory { addresses: vec![IpAddr::from([192, 0, 2, 1])], gateways: vec![] });
        assert_eq!(joined.addresses.len(), 3);
    }
}
