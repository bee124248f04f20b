//! The protocol core: events and `now` in, effects out. PURE: no clock, no I/O, no randomness not given.
//!
//! ```text
//!            IP_CHECK(boot)          STATE with me               office won
//!  booting ───────────────▶ joining ───────────────▶ member ◀──────────────▶ controller
//!     ▲                                                 │      newer term       │
//!     └────────────── NACK: you are down (J3) ──────────┴───────────────────────┘
//! ```
//! One file a concern, each an `impl Controller`: `detector` (D), `lease` (L), `office` (the controller's
//! side of L and S), `agreement` (the member's side of S), `succession` (E), `plan` (what the state should
//! be next: placement, moves, membership), `serving` (what this node does about the services it was
//! given: F, H), `membership` (J, M, C), `arbiter` (Q2), `history` (what moved, for people). `ownership`,
//! `placement` and `timing` are functions without memory.
//! The rules' names (D1, L5, …) are those of protocol.md, told again in ARCHITECTURE.md.

use crate::config::{Config, Quorum};
use crate::vocabulary::{Epoch, Incarnation, Instant, LinkRole, NodeId, ServiceId, Term};
use crate::wire::{Boot, Header, Packet, State, Status};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timing::Timing;

mod agreement;
mod arbiter;
mod detector;
mod dispatch;
mod effect;
mod history;
mod input;
mod lease;
mod membership;
mod office;
mod ownership;
mod picture;
mod placement;
mod plan;
mod planted;
mod serving;
mod succession;
mod timing;
mod view;
pub use effect::*;
pub use input::*;
pub use placement::*;
pub use planted::Planted;
pub use view::*;

#[cfg(test)]
mod tests;

/// What the world writes into the header of every packet that this node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// This life.
    pub incarnation: Incarnation,
    /// The committed epoch.
    pub epoch: Epoch,
    /// Its lineage.
    pub lineage: u64,
}

impl Stamp {
    /// The header of what `from` says; number and link are the sender's to fill in.
    pub fn header(self, from: NodeId, to: Destination) -> Header {
        let to = match to {
            Destination::Node(node) => Some(node),
            Destination::All => None,
        };
        let Stamp { incarnation, epoch, lineage } = self;
        Header { from, to, incarnation, sequence: 0, link: LinkRole::Internal, epoch, lineage }
    }
}

/// One node's mind. The world calls `handle` for everything that happens and `handle_timeout` when
/// `next_timeout` has come, and after each call takes effects from `next_effect` until there are none.
pub struct Controller {
    config: Arc<Config>,
    me: NodeId,
    incarnation: Incarnation,
    random: u64,
    effects: VecDeque<Effect>,
    planted: Option<Planted>,

    timing: Timing,
    lateness: Duration,
    /// When this life began.
    started: Instant,
    /// Forgotten promises of an earlier life have run out (E5).
    may_vote_at: Instant,

    /// The newest committed state that this life knows.
    committed: Option<State>,
    /// The newest proposal stored, in this life or an earlier one, always newer than `committed`.
    proposed: Option<State>,
    /// The newest committed state that an earlier life knew: counts for quorum (Q1) and for votes.
    remembered: Option<State>,
    /// The newest term voted for.
    voted: Term,
    /// This node follows nobody else before (L2, E2).
    promise: Promise,
    /// The proposal whose fsync is under way, to be acknowledged then.
    storing: Option<(u64, Epoch)>,
    /// What this node's last term left that could not begin.
    resumes: Option<succession::Resumed>,
    /// The proposal whose fsync failed.
    unstored: Option<Epoch>,
    next_token: u64,

    peers: BTreeMap<NodeId, Peer>,
    /// The longest by which anything in the cluster may be in force.
    longest: Timing,
    /// Times that were replaced, until when a promise by them may be in force; and when the last were.
    former: Vec<(Timing, Instant)>,
    retimed_at: Instant,
    ring: detector::Ring,
    suspicions: BTreeMap<NodeId, detector::Suspicion>,
    /// Suspicions of others: who, when told last.
    rumours: BTreeMap<NodeId, Instant>,
    roll_calls: Vec<detector::PendingRollCall>,
    lease: lease::Lease,
    following: Option<lease::Following>,
    office: Option<Box<office::Office>>,
    /// To whom this node offered its office, when last, and how often in vain before.
    offered: BTreeMap<NodeId, (Instant, u32)>,
    candidacy: Option<succession::Candidacy>,
    /// It asked for votes in vain, hearing no majority: until when it lets others have their turn.
    rests_until: Instant,
    ballot: Option<succession::Ballot>,
    asking: arbiter::Asking,
    services: serving::Services,
    /// What the own checks say: unfit for these, and of those, given up.
    unfit: Vec<ServiceId>,
    given_up: Vec<ServiceId>,
    /// The gateway does not answer this node.
    cut_off: bool,
    /// What `load` measures here, in thousandths.
    measured: Option<u32>,
    /// What the controller told of places beside the state, and what moved.
    told: Option<plan::Told>,
    history: history::History,
    serving: serving::Serving,
    boot: membership::Booting,
    commands: Vec<membership::Forwarded>,
    links: BTreeMap<LinkRole, LinkHealth>,
    leaving: Option<Instant>,
    /// The orderly leave has come to its end: nothing is taken any more.
    parting: bool,
    gone: bool,
    /// The lineage in which the held services were announced last.
    serving_lineage: u64,
    config_digest: u64,
    /// The latest `now`.
    clock: Instant,
    next_status: Instant,
    /// Something changed that `plan` may want to act upon.
    dirty: bool,
    /// Something changed that may concern the own services.
    stirred: bool,
}

/// To whom this node is bound, and until when.
#[derive(Debug, Clone, Copy)]
struct Promise {
    term: Term,
    until: Instant,
    /// A controller gave it back before it lapsed, and nobody has led since: what it granted may go on for longer.
    released: bool,
}

impl Promise {
    /// By LEAVE, RESIGN.
    fn release(&mut self, now: Instant) {
        self.until = now;
        self.released = true;
    }
}

/// All that this node knows first-hand of another.
#[derive(Debug, Clone)]
struct Peer {
    incarnation: Incarnation,
    heard: Instant,
    heard_on: [Instant; 2],
    /// Of its last acknowledged HELLO, while it is the right neighbour; older otherwise.
    round_trip: Option<Duration>,
    status: Option<Status>,
    /// Hardware address of its external link, as it said last. It outlasts its life: its kernel may answer still.
    mac: Option<[u8; 6]>,
    boot: Option<(Instant, Boot)>,
    /// It said goodbye in this life (J2).
    left: Option<Incarnation>,
    /// When it said that it holds nothing, by a goodbye or by the first word of a life; `ZERO`: never.
    let_go: Instant,
    /// Its kernel answered a look of this node.
    answers: bool,
    /// It was its own goodbye: a guardian, which knows no state, says it without an epoch.
    in_order: bool,
    /// It says that it follows this controller (IP_CHECK_ACK).
    follows: Option<NodeId>,
    state_sent: Instant,
    /// «Not following you», and «that life is none of ours».
    nack_sent: [Instant; 2],
    path_fault: bool,
}

/// Own health of a link.
#[derive(Debug, Clone, Copy)]
struct LinkHealth {
    carrier: bool,
    /// Sends fail for a local reason since.
    failing: Option<Instant>,
}

const NO_TERM: Term = Epoch::NONE.term;

/// Of a state that may not be there: then before every other.
fn epoch_of(state: Option<&State>) -> Epoch {
    state.map_or(Epoch::NONE, |state| state.epoch)
}

impl Controller {
    /// A node that has just started.
    pub fn new(config: Arc<Config>, identity: Identity, now: Instant) -> Self {
        let timing = Timing::new(config.cluster.hello_interval, 8);
        let record = identity.record.as_ref();
        let remembered = record.and_then(|record| record.committed.clone());
        let known = epoch_of(remembered.as_ref());
        let proposed = record.and_then(|record| record.proposed.clone()).filter(|state| state.epoch > known);
        let voted = identity.record.as_ref().map_or(NO_TERM, |record| record.voted);
        let link = LinkHealth { carrier: true, failing: None };
        let mut controller = Controller {
            me: identity.id,
            incarnation: identity.incarnation,
            random: identity.seed ^ u64::from(identity.id.0).rotate_left(32) ^ identity.incarnation.0,
            effects: VecDeque::new(),
            planted: None,
            timing,
            lateness: Duration::ZERO,
            started: now,
            may_vote_at: now,
            committed: None,
            proposed,
            remembered,
            voted,
            promise: Promise { term: NO_TERM, until: Instant::ZERO, released: false },
            storing: None,
            unstored: None,
            resumes: None,
            next_token: 1,
            peers: BTreeMap::new(),
            longest: timing,
            former: Vec::new(),
            retimed_at: now,
            ring: detector::Ring::new(),
            suspicions: BTreeMap::new(),
            rumours: BTreeMap::new(),
            roll_calls: Vec::new(),
            lease: lease::Lease::none(),
            following: None,
            office: None,
            offered: BTreeMap::new(),
            candidacy: None,
            rests_until: Instant::ZERO,
            ballot: None,
            asking: arbiter::Asking::new(),
            services: serving::Services::default(),
            unfit: Vec::new(),
            given_up: Vec::new(),
            cut_off: false,
            measured: None,
            told: None,
            history: history::History::default(),
            serving: serving::Serving::new(),
            boot: membership::Booting::new(now),
            commands: Vec::new(),
            links: BTreeMap::from([(LinkRole::Internal, link), (LinkRole::External, link)]),
            leaving: None,
            parting: false,
            gone: false,
            serving_lineage: 0,
            config_digest: crate::config::digest(&config),
            clock: now,
            next_status: now,
            dirty: true,
            stirred: true,
            config,
        };
        controller.may_vote_at = now + controller.forgotten();
        controller.event(Event::Booted { incarnation: controller.incarnation });
        controller
    }

    /// E5: as long as anything that it may have promised before it started.
    fn forgotten(&self) -> Duration {
        let states = [&self.remembered, &self.proposed].into_iter().flatten();
        let longest = states.map(|state| state.longest_interval).fold(self.timing.t, Duration::max);
        Timing::new(longest, 8).member + self.margin()
    }

    /// Something happened. `now` never goes back.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.gone {
            return;
        }
        self.clock = now;
        // Most packets are heartbeats and their answers, which change nothing here.
        self.stirred |= !matches!(input, Input::Packet { .. });
        match input {
            Input::Packet { header, packet } => self.on_packet(now, &header, packet),
            Input::Present { answers, up, announced } => self.on_present(now, answers, &up, &announced),
            Input::Claimed { service, mac } => self.on_claimed(now, service, mac),
            Input::ArbiterAnswered { arbiter } => self.on_arbiter_answered(now, arbiter),
            Input::Ran { service, action, token, ok } => self.on_ran(now, service, action, token, ok),
            Input::Stored { token, ok } => self.on_stored(now, token, ok),
            Input::Link { role, up } => self.on_link(now, role, up),
            Input::SendFailed { role, fault } => self.on_send_failed(now, role, fault),
            Input::Tampered { service, how } => self.on_tampered(now, service, how),
            Input::Unfit { services, given_up } => self.on_unfit(now, services, given_up),
            Input::Gateway { silent } => self.on_gateway(now, silent),
            Input::Load(measured) => self.on_load(now, measured),
            Input::Late { by } => self.on_late(now, by),
            Input::Lateness(lateness) => self.lateness = lateness,
            Input::Command { id, command } => self.on_operator(now, id, command),
            Input::Reload(config) => self.on_reload(now, config),
            Input::Stop => self.on_stop(now),
        }
        self.settle(now);
    }

    /// When `handle_timeout` wants to be called next; `Instant::MAX`: never.
    pub fn next_timeout(&self) -> Instant {
        if self.gone {
            return Instant::MAX;
        }
        [
            self.detector_timeout(),
            self.lease_timeout(),
            self.office_timeout(),
            self.succession_timeout(),
            self.serving_timeout(),
            self.membership_timeout(),
            self.arbiter_timeout(),
        ]
        .into_iter()
        .min()
        .unwrap_or(Instant::MAX)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.gone {
            return;
        }
        self.clock = now;
        self.stirred = true;
        // What a lost lease takes away goes first (L6).
        self.serving_tick(now);
        self.lease_tick(now);
        self.detector_tick(now);
        self.succession_tick(now);
        self.office_tick(now);
        self.membership_tick(now);
        self.settle(now);
    }

    /// The next thing that the world shall do, in order.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// For the header of the packets: read it when the effect is taken.
    pub fn stamp(&self) -> Stamp {
        Stamp { incarnation: self.incarnation, epoch: self.epoch(), lineage: self.lineage() }
    }

    /// Builds in one of the known mistakes, so that a test can show that it is caught.
    #[doc(hidden)]
    pub fn plant(&mut self, planted: Planted) {
        self.planted = Some(planted);
    }

    /// After every input and every timeout: whatever has become possible is done, in this order.
    fn settle(&mut self, now: Instant) {
        self.settle_arbiter(now);
        self.settle_succession(now);
        self.settle_office(now);
        self.settle_serving(now);
        self.settle_leaving(now);
    }

    // ── small words that all files use ──────────────────────────────────────────────────────────────

    fn epoch(&self) -> Epoch {
        epoch_of(self.committed.as_ref())
    }

    fn lineage(&self) -> u64 {
        self.committed.as_ref().map_or(0, |state| state.lineage)
    }

    /// The committed state has this life as a member.
    fn is_member(&self) -> bool {
        self.committed
            .as_ref()
            .and_then(|state| state.member(self.me))
            .is_some_and(|member| member.incarnation == self.incarnation)
    }

    fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.committed.iter().flat_map(|state| state.members.iter().map(|member| member.id))
    }

    /// Whom this node takes for the controller.
    fn controller(&self) -> Option<NodeId> {
        if self.office.is_some() {
            return Some(self.me);
        }
        self.following.as_ref().map(|following| following.term.author).filter(|&author| author != self.me)
    }

    fn margin(&self) -> Duration {
        if self.planted(Planted::NoMargin) {
            return Duration::ZERO;
        }
        self.timing.margin(self.lateness)
    }

    fn priority(&self, node: NodeId) -> u16 {
        ownership::priority(&self.config, node)
    }

    fn planted(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    fn heard(&self, node: NodeId) -> Instant {
        self.peers.get(&node).map_or(Instant::ZERO, |peer| peer.heard)
    }

    /// That life of that node said goodbye.
    fn has_left(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.peers.get(&node).and_then(|peer| peer.left).is_some_and(|left| left >= incarnation)
    }

    /// SplitMix64 on the seed that was given.
    fn nonce(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) | 1
    }

    fn send(&mut self, to: Destination, links: Links, packet: Packet) {
        if to != Destination::Node(self.me) {
            self.effects.push_back(Effect::Send { to, links, packet });
        }
    }

    fn tell(&mut self, to: NodeId, packet: Packet) {
        self.send(Destination::Node(to), Links::All, packet);
    }

    fn tell_all(&mut self, packet: Packet) {
        self.send(Destination::All, Links::All, packet);
    }

    fn event(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    fn store(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        let record = Box::new(Record {
            incarnation: self.incarnation,
            voted: self.voted,
            committed: self.committed.clone().or_else(|| self.remembered.clone()),
            proposed: self.proposed.clone(),
        });
        self.effects.push_back(Effect::Store { record, token });
        token
    }
}
