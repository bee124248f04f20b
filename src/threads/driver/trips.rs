//! What becomes of HELLO on each link: loss and round trip to the right neighbour, over the last half minute or
//! so. The driver writes it, the control threads read it.

use crate::controller::Links;
use crate::vocabulary::{Instant, LinkRole, NodeId};
use std::collections::VecDeque;
use std::time::Duration;

/// HELLOs that are remembered: at the usual ten a second nearly half a minute.
const REMEMBERED: usize = 256;

/// One HELLO, over each link on which it went.
#[derive(Debug, Clone, Copy)]
struct Hello {
    nonce: u64,
    at: Instant,
    sent: [bool; 2],
    took: [Option<Duration>; 2],
}

/// Those to the present right neighbour.
#[derive(Debug, Default)]
pub struct Trips {
    to: Option<NodeId>,
    hellos: VecDeque<Hello>,
}

/// The summary of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub role: LinkRole,
    /// To whom.
    pub to: Option<NodeId>,
    /// How many could have been answered.
    pub sent: u64,
    /// How many were.
    pub answered: u64,
    /// The median.
    pub round_trip: Option<Duration>,
}

impl Trips {
    /// HELLO goes out.
    pub fn sent(&mut self, now: Instant, to: NodeId, links: Links, nonce: u64) {
        if self.to.replace(to) != Some(to) {
            self.hellos.clear();
        }
        if self.hellos.len() == REMEMBERED {
            self.hellos.pop_front();
        }
        let sent = [links != Links::External, links != Links::Internal];
        self.hellos.push_back(Hello { nonce, at: now, sent, took: [None; 2] });
    }

    /// HELLO_ACK came.
    pub fn answered(&mut self, now: Instant, from: NodeId, link: LinkRole, nonce: u64) {
        let index = usize::from(link == LinkRole::External);
        let found = self.hellos.iter_mut().rev().find(|hello| hello.nonce == nonce);
        if let Some(hello) = found.filter(|_| self.to == Some(from)) {
            hello.took[index].get_or_insert(now.since(hello.at));
        }
    }

    /// Both links; what was sent within `patience` may still be answered.
    pub fn summaries(&self, now: Instant, patience: Duration) -> [Summary; 2] {
        LinkRole::ALL.map(|role| {
            let index = usize::from(role == LinkRole::External);
            let ripe = |hello: &&Hello| {
                hello.sent[index] && (hello.took[index].is_some() || now.since(hello.at) > patience)
            };
            let counted: Vec<&Hello> = self.hellos.iter().filter(ripe).collect();
            let mut took: Vec<Duration> = counted.iter().filter_map(|hello| hello.took[index]).collect();
            took.sort_unstable();
            Summary {
                role,
                to: self.to,
                sent: counted.len() as u64,
                answered: took.len() as u64,
                round_trip: took.get(took.len() / 2).copied(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_round_trip_are_those_of_each_link() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let (right, other) = (NodeId(2), NodeId(3));
        let mut trips = Trips::default();
        for number in 0..20 {
            trips.sent(at(number * 100), right, Links::All, number);
            trips.answered(at(number * 100 + 1 + number % 3), right, LinkRole::Internal, number);
            if number % 2 == 0 {
                trips.answered(at(number * 100 + 9), right, LinkRole::External, number);
                trips.answered(at(number * 100 + 50), right, LinkRole::External, number);
            }
            trips.answered(at(number * 100 + 2), other, LinkRole::External, number);
        }
        // The last one on the external link may still be answered.
        let [internal, external] = trips.summaries(at(1_950), Duration::from_millis(100));
        assert_eq!(
            (internal.sent, internal.answered, internal.round_trip),
            (20, 20, Some(Duration::from_millis(2)))
        );
        assert_eq!(
            (external.sent, external.answered, external.round_trip),
            (19, 10, Some(Duration::from_millis(9)))
        );
        trips.sent(at(2_000), other, Links::Internal, 99);
        let [internal, external] = trips.summaries(at(2_500), Duration::from_millis(100));
        assert_eq!((internal.to, internal.sent, internal.answered, external.sent), (Some(other), 1, 0, 0));
    }
}
