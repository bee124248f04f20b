//! Two LANs as switches: who reaches whom, how late, how often in vain. Owned by the world.

use super::clock::{MICRO, MILLI, Nanos};
use super::random::Random;
use crate::vocabulary::LinkRole;

/// Most nodes of a run: a bit each in a `u64` would do for the 64 of a ring.
pub const MAX_NODES: usize = 64;

/// How bad one LAN is; all rates in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Datagrams that vanish.
    pub loss: u64,
    /// Datagrams that come twice.
    pub duplication: u64,
    /// Datagrams held back for up to 3 ms, so that later ones overtake them.
    pub reordering: u64,
    /// Datagrams held back for up to 60 ms.
    pub delay: u64,
}

/// One node's plug in one switch.
#[derive(Debug, Clone, Copy)]
struct Port {
    /// Frames from the node reach the switch.
    out: bool,
    /// Frames from the switch reach the node.
    inward: bool,
    /// Only ports of one group reach each other.
    group: u8,
}

const WHOLE: Port = Port { out: true, inward: true, group: 0 };

/// Both LANs.
#[derive(Debug)]
pub struct Network {
    ports: [Vec<Port>; 2],
    /// Bit `to` of entry `from`: frames of that pair vanish in that direction.
    pairs: [Vec<u64>; 2],
    /// The group of the external LAN that the arbiter's cable is in.
    pub arbiter: u8,
    /// It is switched on.
    pub arbiter_on: bool,
    /// How bad each LAN is at this moment.
    pub weather: [Weather; 2],
}

/// Where a LAN stands in the arrays.
pub fn lan(role: LinkRole) -> usize {
    match role {
        LinkRole::Internal => 0,
        LinkRole::External => 1,
    }
}

impl Network {
    /// Two good LANs.
    pub fn new(nodes: usize) -> Self {
        assert!(nodes <= MAX_NODES, "pairs are bits of a u64");
        Network {
            ports: [vec![WHOLE; nodes], vec![WHOLE; nodes]],
            pairs: [vec![0; nodes], vec![0; nodes]],
            arbiter: 0,
            arbiter_on: true,
            weather: [Weather::default(); 2],
        }
    }

    /// Does a frame get from one node to the other, if chance lets it?
    pub fn path(&self, role: LinkRole, from: usize, to: usize) -> bool {
        let at = lan(role);
        let (source, target) = (self.ports[at][from], self.ports[at][to]);
        source.out && target.inward && source.group == target.group && self.pairs[at][from] & (1 << to) == 0
    }

    /// The group of clients on the external LAN that talks with this node in both directions, if any.
    pub fn clients(&self, node: usize) -> Option<u8> {
        let group = self.ports[lan(LinkRole::External)][node].group;
        self.is_plugged(LinkRole::External, node).then_some(group)
    }

    /// Frames get from this node to the switch and back.
    pub fn is_plugged(&self, role: LinkRole, node: usize) -> bool {
        let port = self.ports[lan(role)][node];
        port.out && port.inward
    }

    /// The arbiter and this node hear each other, if chance lets them.
    pub fn has_arbiter(&self, node: usize) -> bool {
        self.arbiter_on && self.clients(node) == Some(self.arbiter)
    }

    /// A frame gets from this node to a machine that is none. That one is in the first group of every split.
    pub fn reaches_stranger(&self, node: usize) -> bool {
        let port = self.ports[lan(LinkRole::External)][node];
        port.out && port.group == 0
    }

    /// A frame gets from that machine to this node.
    pub fn hears_stranger(&self, node: usize) -> bool {
        let port = self.ports[lan(LinkRole::External)][node];
        port.inward && port.group == 0
    }

    /// The switch port's two directions.
    pub fn plug(&mut self, role: LinkRole, node: usize, out: bool, inward: bool) {
        let port = &mut self.ports[lan(role)][node];
        port.out = out;
        port.inward = inward;
    }

    /// Splits a LAN: each node into the group that stands at its place.
    pub fn split(&mut self, role: LinkRole, groups: &[u8]) {
        for (port, group) in self.ports[lan(role)].iter_mut().zip(groups) {
            port.group = *group;
        }
    }

    /// Cuts one direction of a pair, or mends it.
    pub fn cut_pair(&mut self, role: LinkRole, from: usize, to: usize, cut: bool) {
        let pairs = &mut self.pairs[lan(role)][from];
        if cut {
            *pairs |= 1 << to;
        } else {
            *pairs &= !(1 << to);
        }
    }

    /// Everything plugged and whole, no loss.
    pub fn heal(&mut self) {
        (self.arbiter, self.arbiter_on) = (0, true);
        for at in 0..2 {
            self.ports[at].fill(WHOLE);
            self.pairs[at].fill(0);
            self.weather[at] = Weather::default();
        }
    }

    /// When copies of a frame sent now arrive: none, one or two.
    pub fn copies(&self, role: LinkRole, random: &mut Random) -> [Option<Nanos>; 2] {
        let weather = self.weather[lan(role)];
        if random.chance(weather.loss) {
            return [None, None];
        }
        let twice = random.chance(weather.duplication);
        let first = transit(weather, random);
        [Some(first), twice.then(|| transit(weather, random))]
    }
}

fn transit(weather: Weather, random: &mut Random) -> Nanos {
    let usual = random.between(50 * MICRO, 250 * MICRO);
    if random.chance(weather.delay) {
        usual + random.below(60 * MILLI)
    } else if random.chance(weather.reordering) {
        usual + random.below(3 * MILLI)
    } else {
        usual
    }
}
