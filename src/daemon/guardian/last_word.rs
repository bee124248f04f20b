//! What is done for a worker that is dead: its aliases and routes go, and then all hear that it is gone.
//!
//! P1 rests on the order: LEAVE lets others take the addresses without waiting for any lease (J2), so it
//! is said only after the kernel, asked again, has shown that none is left. Owned by the guardian;
//! everything it needs is opened before it is needed, and opened again if it fails.

use crate::config::Config;
use crate::daemon::Plan;
use crate::daemon::bond::Territory;
use crate::os::alias::{Card, card_is_gone, index_of};
use crate::os::packet_socket::{Hears, PacketSocket};
use crate::os::udp::UdpSocket;
use crate::threads::hello_sender::Egress;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId};
use crate::wire::{Datagram, Header, Key, Keyring, Packet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct LastWord {
    me: NodeId,
    key: Key,
    config: Arc<Config>,
    /// The external card's name.
    device: String,
    card: Option<Card>,
    egress: Option<Egress>,
    /// The cards that had the names when that was opened.
    cards: [Option<u32>; 2],
    sealed: Vec<u8>,
}

impl LastWord {
    pub(super) fn new(plan: &Plan) -> Option<Self> {
        let node = plan.config.node(plan.me)?;
        let device = node.external.device.clone();
        let mut last_word = LastWord {
            me: plan.me,
            key: plan.keys.sealing().clone(),
            config: plan.config.clone(),
            card: Card::open(&device).ok(),
            device,
            egress: None,
            cards: [None; 2],
            sealed: Vec::with_capacity(512),
        };
        // What cannot be opened is the worker's to complain of: it needs the same.
        last_word.follow_cards();
        Some(last_word)
    }

    /// Seals with the key of this key file's content from now on; with the one before if it holds none.
    pub(super) fn take_key(&mut self, content: &[u8]) {
        if let Ok(keys) = Keyring::read(content, &self.config.cluster.name) {
            self.key = keys.sealing().clone();
        }
    }

    /// Opens what is not open, and anew what belongs to a card that has lost its name to another one. As long as that cannot be
    /// opened the other link still works by what there is.
    fn follow_cards(&mut self) {
        let internal = self.config.node(self.me).map(|node| node.internal.device.as_str());
        let cards = [internal, Some(&self.device)].map(|device| device.and_then(|it| index_of(it).ok()));
        if (self.egress.is_none() || cards != self.cards)
            && let Ok(egress) = self.open_egress()
        {
            (self.egress, self.cards) = (Some(egress), cards);
        }
    }

    fn open_egress(&self) -> io::Result<Egress> {
        let node = self.config.node(self.me).ok_or(io::ErrorKind::NotFound)?;
        let own = SocketAddrV4::new(self.me.address(), 0);
        let broadcast = node.internal.address.map_or(Ipv4Addr::BROADCAST, super::super::wiring::broadcast_of);
        Ok(Egress {
            internal: Arc::new(UdpSocket::bind_to_send(&node.internal.device, own)?),
            internal_broadcast: broadcast,
            // As frames: they need no address of the card's own.
            external: None,
            external_device: self.device.clone(),
            external_frames: PacketSocket::open(&self.device, Hears::Nothing).ok(),
            port: self.config.cluster.port,
        })
    }

    /// Removes every alias and route of ours. What was removed, once none is left; an error as long as one
    /// may be there.
    pub(super) fn clear(&mut self, territory: &Territory) -> Result<Vec<IpAddr>, String> {
        let cleared = self.try_clear(territory);
        if cleared.is_err() {
            // By other descriptors next time.
            self.card = None;
        }
        cleared.map_err(|error| format!("the addresses of {}: {error}", self.device))
    }

    fn try_clear(&mut self, territory: &Territory) -> io::Result<Vec<IpAddr>> {
        let card = match self.card.take() {
            Some(card) => self.card.insert(card),
            None => self.card.insert(Card::open(&self.device)?),
        };
        let cleared = card.clear_leftovers(&territory.addresses);
        for &gateway in &territory.gateways {
            // A route without its address reaches nobody: it does not keep LEAVE back.
            let _ = card.remove_default_route(gateway);
        }
        let gone = match cleared {
            // The card was taken away, and its addresses with it.
            Err(error) if card_is_gone(&error) => return Ok(Vec::new()),
            other => other?,
        };
        match card.leftovers(&territory.addresses) {
            Ok(left) if left.is_empty() => Ok(gone),
            Ok(left) => Err(io::Error::other(format!("{left:?} came back"))),
            Err(error) if card_is_gone(&error) => Ok(gone),
            Err(error) => Err(error),
        }
    }

    /// That life is gone and holds nothing: to all, on both links. `sequence` is the first to be used; the
    /// next one that is free comes back.
    pub(super) fn say(&mut self, life: Incarnation, sequence: u64) -> u64 {
        self.follow_cards();
        let mut next = sequence;
        for link in LinkRole::ALL {
            let datagram = goodbye(self.me, life, next, link);
            next += 1;
            self.key.seal(&datagram, &mut self.sealed);
            if let Some(egress) = &mut self.egress {
                // It is said several times, on both links; whoever hears none of it waits for the lease.
                let _ = egress.send_to_all(&self.config, link, &self.sealed);
            }
        }
        next
    }
}

/// Without an epoch: the guardian knows no state, and a life is over in every lineage.
fn goodbye(me: NodeId, life: Incarnation, sequence: u64, link: LinkRole) -> Datagram {
    let header =
        Header { from: me, to: None, incarnation: life, sequence, link, epoch: Epoch::NONE, lineage: 0 };
    Datagram { header, packet: Packet::Leave { incarnation: life } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::namespace::{cable, run, within};
    use std::time::Duration;

    const CONFIG: &str = "
[cluster]
name = test
[node a]
priority = 1
internal = eth1 192.168.10.1/24
external = eth0
[service www]
home = a
address = 203.0.113.21/24, 2001:db8::21/64
route = default via 203.0.113.1
";

    fn last_word() -> LastWord {
        let parsed = crate::config::parse("test", CONFIG.as_bytes()).expect("a right configuration");
        LastWord {
            me: NodeId::of(Ipv4Addr::new(192, 168, 10, 1)),
            key: Key::new(&[7; 32], "test").expect("long enough"),
            config: Arc::new(parsed.config),
            device: "eth0".to_owned(),
            card: Card::open("eth0").ok(),
            egress: None,
            cards: [None; 2],
            sealed: Vec::new(),
        }
    }

    #[test]
    fn everything_of_ours_goes_and_nothing_else() {
        within(|| {
            cable("eth0", "far");
            run("ip addr add 203.0.113.9/24 dev eth0");
            run("ip addr add 2001:db8::9/64 dev eth0 valid_lft 100 preferred_lft 0");
            let mut card = Card::open("eth0").expect("descriptors");
            let mut last_word = last_word();
            let territory = Territory::of(&last_word.config);
            assert_eq!(last_word.clear(&territory), Ok(vec![]), "nothing is there");
            for (address, prefix) in [("203.0.113.21", 24), ("2001:db8::21", 64), ("203.0.113.77", 24)] {
                let address = address.parse().expect("an address");
                card.add(address, prefix, Duration::from_secs(60), &|| true).expect("added");
            }
            card.add_default_route(Ipv4Addr::new(203, 0, 113, 1)).expect("added");
            // The third is ours by its label, though no service of the file has it any more.
            assert_eq!(last_word.clear(&territory).expect("all gone").len(), 3);
            // A worker that was killed between the ioctl and what makes the address mortal.
            run("ip addr add 203.0.113.21/24 dev eth0 label eth0:d0");
            assert_eq!(last_word.clear(&territory).expect("gone").len(), 1, "only begun to be made");
            assert_eq!(card.leftovers(&territory.addresses).expect("read"), [] as [IpAddr; 0]);
            let left = run("ip -o addr show dev eth0");
            assert!(left.contains("203.0.113.9/24") && left.contains("2001:db8::9/64"), "{left}");
            assert_eq!(run("ip route show default"), "");
            card.add("203.0.113.21".parse().expect("an address"), 24, Duration::from_secs(60), &|| true)
                .expect("added");
            run("ip link del eth0");
            assert_eq!(last_word.clear(&territory), Ok(vec![]), "it went with the card");
        });
    }

    /// It is tried again with each goodbye: a card that is missing now is no panic.
    #[test]
    fn without_links_nothing_is_said_and_the_numbers_go_on() {
        within(|| {
            let mut last_word = last_word();
            assert_eq!(last_word.say(Incarnation(1), 10), 12);
            assert_eq!(last_word.say(Incarnation(1), 12), 14);
        });
    }

    /// A card that was made anew is another one, and needs other sockets; one that is only gone keeps the other link's.
    #[test]
    fn the_goodbye_goes_out_of_the_cards_that_have_the_names_now() {
        within(|| {
            let internal = || {
                cable("eth1", "inside");
                run("ip addr add 192.168.10.1/24 brd + dev eth1");
            };
            cable("eth0", "far");
            internal();
            let mut last_word = last_word();
            let sends = |last_word: &mut LastWord| {
                last_word.say(Incarnation(1), 10);
                let egress = last_word.egress.as_mut().expect("opened");
                LinkRole::ALL.map(|link| egress.send_to_all(&last_word.config, link, b"word").is_ok())
            };
            assert_eq!(sends(&mut last_word), [true; 2]);
            run("ip link del eth1");
            let works = LinkRole::ALL.map(|link| link == LinkRole::External);
            assert_eq!(sends(&mut last_word), works);
            internal();
            assert_eq!(sends(&mut last_word), [true; 2]);
            run("ip link set eth0 down; ip link set eth0 name old0; ip link set old0 up");
            cable("eth0", "beyond");
            assert_eq!(sends(&mut last_word), [true; 2]);
            let named = ["eth1", "eth0"].map(|name| index_of(name).ok());
            assert_eq!(last_word.cards, named, "not by the one that had the name");
        });
    }

    #[test]
    fn the_goodbye_is_for_one_life_and_authentic() {
        let key = Key::new(&[7; 32], "test").expect("long enough");
        let me = NodeId::of(Ipv4Addr::new(192, 168, 10, 1));
        let mut sealed = Vec::new();
        key.seal(&goodbye(me, Incarnation(9), 4_000, LinkRole::External), &mut sealed);
        let Datagram { header, packet } = key.open(&sealed).expect("authentic");
        assert_eq!(packet, Packet::Leave { incarnation: Incarnation(9) });
        assert_eq!((header.from, header.to, header.incarnation), (me, None, Incarnation(9)));
        assert_eq!((header.sequence, header.epoch, header.lineage), (4_000, Epoch::NONE, 0));
    }
}
