//! What happened last, kept small and turned into words only when somebody asks. Owned by the world.

use super::clock::{MICRO, Nanos, SECOND};
use crate::controller;
use crate::vocabulary::NodeId;
use crate::wire::{Packet, Phase};
use std::collections::VecDeque;

/// How many happenings are kept: about the last second of a cluster in trouble.
const KEPT: usize = 250;

/// Something worth telling.
#[derive(Debug, Clone)]
pub enum Happening {
    /// The simulator did something to the cluster.
    Fault(String),
    /// A controller says so.
    Event(controller::Event),
    /// An address came up.
    Alias(usize),
    /// An address went, and why.
    NoAlias(usize, &'static str),
    /// A packet that is not everyday traffic left.
    Sent(controller::Destination, Packet),
}

/// The last happenings, and a hash over all that ever happened.
#[derive(Debug)]
pub struct Trace {
    ring: VecDeque<(Nanos, usize, Happening)>,
    hash: u64,
    /// Print each happening at once from this moment on.
    pub loud_from: Nanos,
}

impl Trace {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Trace { ring: VecDeque::with_capacity(KEPT), hash: 0xcbf2_9ce4_8422_2325, loud_from: Nanos::MAX }
    }

    /// Remember it.
    pub fn tell(&mut self, at: Nanos, node: usize, happening: Happening) {
        if at >= self.loud_from {
            println!("{}", line(at, node, &happening));
        }
        if self.ring.len() == KEPT {
            self.ring.pop_front();
        }
        self.ring.push_back((at, node, happening));
    }

    /// Mix it into the hash: two runs of one seed must agree on everything.
    pub fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    /// The hash over everything mixed in.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last happenings, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.ring.iter().map(|(at, node, happening)| line(*at, *node, happening)).collect()
    }
}

fn line(at: Nanos, node: usize, happening: &Happening) -> String {
    let (seconds, micros) = (at / SECOND, at % SECOND / MICRO);
    let what = match happening {
        Happening::Fault(text) => format!("!! {text}"),
        Happening::Event(event) => format!("{event:?}"),
        Happening::Alias(service) => format!("alias up   s{}", service + 1),
        Happening::NoAlias(service, why) => format!("alias gone s{} ({why})", service + 1),
        Happening::Sent(controller::Destination::All, packet) => format!("→ all: {}", words(packet)),
        Happening::Sent(controller::Destination::Node(to), packet) => {
            format!("→ n{}: {}", to.0 & 0xff, words(packet))
        }
    };
    format!("{seconds:>5}.{micros:06} n{} {what}", node + 1)
}

/// Does this packet tell a story? The others are everyday traffic.
pub fn is_story(packet: &Packet) -> bool {
    match packet {
        Packet::Hello { .. }
        | Packet::HelloAck { .. }
        | Packet::Beat { .. }
        | Packet::BeatAck { .. }
        | Packet::Grant { .. }
        | Packet::Suspect { candidacy: None, .. }
        | Packet::RollCall { vote: None, .. }
        | Packet::IpCheck { .. }
        | Packet::IpCheckAck { .. }
        | Packet::IAmLeft
        | Packet::IAmRight
        | Packet::Status(_)
        | Packet::StateAck { .. }
        | Packet::Forward { .. } => false,
        Packet::State { .. }
        | Packet::Nack { .. }
        | Packet::Suspect { .. }
        | Packet::RollCall { .. }
        | Packet::FailDown { .. }
        | Packet::FailOver { .. }
        | Packet::Ready { .. }
        | Packet::TakeOver { .. }
        | Packet::FailBack { .. }
        | Packet::FailbackOk { .. }
        | Packet::Command { .. }
        | Packet::CommandAck { .. }
        | Packet::Resign { .. }
        | Packet::Aside(_)
        | Packet::Leave { .. } => true,
    }
}

fn words(packet: &Packet) -> String {
    let Packet::State { committed, state } = packet else { return format!("{packet:?}") };
    let short = |id: NodeId| id.0 & 0xff;
    let members: Vec<_> = state
        .members
        .iter()
        .map(|member| {
            let flags = [(member.standby, "s"), (member.leaving, "l")];
            let flags: String = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
            format!("{}/{}{flags}", short(member.id), member.incarnation)
        })
        .collect();
    let table: Vec<_> = state
        .table
        .iter()
        .map(|slot| {
            let holder = slot.holder.map_or("-".to_owned(), |holder| short(holder).to_string());
            match slot.phase {
                Phase::Held => holder,
                Phase::Prepare { to } => format!("{holder}…{}", short(to)),
                Phase::Handover { to } => format!("{holder}→{}", short(to)),
                Phase::Abort { to } => format!("{holder}↛{}", short(to)),
                Phase::Failed => format!("{holder}✗"),
            }
        })
        .collect();
    format!(
        "{} {} by {} lineage {:x} members [{}] table [{}]",
        if *committed { "committed" } else { "proposed" },
        state.epoch,
        short(state.epoch.term.author),
        state.lineage & 0xffff,
        members.join(" "),
        table.join(" ")
    )
}
