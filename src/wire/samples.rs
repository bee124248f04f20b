//! Datagrams for the tests of this module: one fixed of each type, and arbitrary ones.

use super::*;
use crate::vocabulary::{Epoch, Incarnation, LinkRole, NodeId, ServiceId, Term};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use std::time::Duration;

pub const CLUSTER: &str = "www";
pub const SECRET: &[u8] = b"an example secret, of no use\n";

pub fn key() -> Key {
    Key::new(SECRET, CLUSTER).expect("the secret is long enough")
}

pub fn datagram(packet: Packet) -> Datagram {
    let header = Header {
        from: node(1),
        to: Some(node(2)),
        incarnation: Incarnation(7),
        sequence: 0x0102_0304_0506_0708,
        link: LinkRole::External,
        epoch: epoch(3, 41),
        lineage: 0xfeed,
    };
    Datagram { header, packet }
}

pub fn node(last: u8) -> NodeId {
    NodeId(0xc0a8_0a00 + u32::from(last))
}

fn epoch(round: u32, version: u64) -> Epoch {
    Epoch { term: Term { round, author: node(4), life: Incarnation(7) }, version }
}

/// A state with so many members and services, as full as it can be.
pub fn state(members: u32, services: u32) -> State {
    let to = node(2);
    State {
        epoch: epoch(3, 42),
        lineage: 0xfeed,
        hello_interval: Duration::from_millis(100),
        probe_divisor: 8,
        longest_interval: Duration::from_millis(100),
        coarsest_divisor: 8,
        frozen: true,
        members: (1..=members)
            .map(|id| Member {
                id: NodeId(id),
                incarnation: Incarnation(9),
                standby: id % 2 == 0,
                leaving: id % 3 == 0,
            })
            .collect(),
        base: (2..=members + 1).map(NodeId).collect(),
        table: (1..=services)
            .map(|service| Slot {
                service: ServiceId(service),
                holder: Some(node(1)),
                pinned: service % 2 == 0,
                phase: [Phase::Prepare { to }, Phase::Handover { to }, Phase::Abort { to }]
                    [service as usize % 3],
            })
            .collect(),
    }
}

/// One packet of each type, with its name in the golden vectors.
pub fn one_of_each() -> Vec<(&'static str, Packet)> {
    let (service, incarnation, nonce, term) =
        (ServiceId::of("www1"), Incarnation(5), 0xabcd, epoch(4, 0).term);
    let mut held = state(3, 2);
    held.table.push(Slot { service: ServiceId(8), holder: None, phase: Phase::Failed, pinned: false });
    held.table.push(Slot { service: ServiceId(9), holder: Some(node(3)), phase: Phase::Held, pinned: true });
    let report = Report {
        holding: vec![service],
        ready: vec![ServiceId(1), ServiceId(2)],
        failed: vec![ServiceId(3)],
        ousted: vec![ServiceId(3)],
        blocked: vec![],
        unfit: vec![service, ServiceId(4)],
        given_up: vec![service],
        external_ok: true,
        leaving: false,
        lateness_us: 120,
        load_permille: Some(450),
        cut_off: true,
    };
    let boot = Boot { remembers: epoch(2, 30), priority: 40, may_vote: true, standby: false };
    let link = |device: &str, role, up| LinkStatus {
        device: device.into(),
        role,
        up,
        hears_left: up,
        hears_right: false,
    };
    let status = Status {
        name: "web1".into(),
        load_permille: 500,
        config_digest: 0xc0f1,
        links: vec![link("eth0", LinkRole::External, true), link("eth1", LinkRole::Internal, false)],
        lateness_us: 80,
        rejected: 3,
        mac: [2, 0, 0, 0, 0, 1],
        strangers: vec![Stranger { service, mac: [2, 0, 0, 0, 0, 9], served: true }],
        measured: true,
        remarks: vec![Remark {
            node: node(2),
            service: Some(service),
            penalty: 2600,
            damped: true,
            failed_ms: Some(599_000),
            unfit: true,
        }],
        moves: vec![Moved {
            service,
            epoch: epoch(3, 40),
            from: Some(node(2)),
            to: Some(node(1)),
            step: MoveStep::Assigned,
            cause: Cause::HolderDown,
            ago_ms: 60_000,
        }],
        version: ConfigVersion { number: 12, digest: 0xd19e57 },
        key: 0x5ea1,
        next_key: 0,
    };
    let suspect = node(3);
    let inner = Packet::BeatAck { number: 0, nonce, report: Report::default() };
    vec![
        ("hello", Packet::Hello { nonce }),
        ("hello-ack", Packet::HelloAck { nonce }),
        ("beat", Packet::Beat { number: 12, members: 3, priority: 40 }),
        ("beat-ack", Packet::BeatAck { number: 12, nonce, report }),
        ("grant", Packet::Grant { nonce, remaining_us: 195_000 }),
        ("state", Packet::State { committed: true, state: held.clone() }),
        ("state-ack", Packet::StateAck { epoch: held.epoch, digest: digest(&held) }),
        ("nack", Packet::Nack { term, known: Some(incarnation) }),
        ("suspect", Packet::Suspect { suspect, incarnation, candidacy: Some((term, 157_500)), nonce }),
        (
            "roll-call",
            Packet::RollCall {
                suspect,
                nonce,
                heard_us: Some(1500),
                vote: Some(Vote { term, released: true }),
                newest: Some((false, held)),
            },
        ),
        ("ip-check", Packet::IpCheck { nonce, boot: Some(boot) }),
        ("ip-check-ack", Packet::IpCheckAck { nonce, controller: Some(node(4)) }),
        ("fail-down", Packet::FailDown { node: suspect, incarnation }),
        ("fail-over", Packet::FailOver { service, prepare: true }),
        ("ready", Packet::Ready { service, ok: false }),
        ("take-over", Packet::TakeOver { service }),
        ("fail-back", Packet::FailBack { service, nonce }),
        ("failback-ok", Packet::FailbackOk { service }),
        ("i-am-left", Packet::IAmLeft),
        ("i-am-right", Packet::IAmRight),
        ("status", Packet::Status(status)),
        ("command", Packet::Command { id: 77, command: Command::Move { service, to: node(2) } }),
        ("command-ack", Packet::CommandAck { id: 77, result: Err("web2 is on standby".into()) }),
        ("leave", Packet::Leave { incarnation }),
        ("resign", Packet::Resign { to: suspect }),
        ("aside", Packet::Aside(aside())),
        (
            "forward",
            Packet::Forward {
                origin: node(3),
                incarnation,
                epoch: epoch(3, 41),
                to: node(4),
                packet: Box::new(inner),
            },
        ),
    ]
}

fn any_node() -> impl Strategy<Value = NodeId> {
    any::<u32>().prop_map(NodeId)
}

fn any_service() -> impl Strategy<Value = ServiceId> {
    any::<u32>().prop_map(ServiceId)
}

fn any_incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation)
}

fn any_term() -> impl Strategy<Value = Term> {
    (any::<u32>(), any_node(), any::<u64>()).prop_map(|(round, author, life)| Term {
        round,
        author,
        life: Incarnation(life),
    })
}

fn any_epoch() -> impl Strategy<Value = Epoch> {
    (any_term(), any::<u64>()).prop_map(|(term, version)| Epoch { term, version })
}

fn any_link() -> impl Strategy<Value = LinkRole> {
    any::<bool>().prop_map(|external| if external { LinkRole::External } else { LinkRole::Internal })
}

fn any_phase() -> impl Strategy<Value = Phase> {
    (0..5, any_node()).prop_map(|(number, to)| match number {
        0 => Phase::Held,
        1 => Phase::Prepare { to },
        2 => Phase::Handover { to },
        3 => Phase::Abort { to },
        _ => Phase::Failed,
    })
}

pub fn any_state() -> impl Strategy<Value = State> {
    let members = btree_map(any::<u32>(), (any_incarnation(), any::<bool>(), any::<bool>()), 0..=MAX_MEMBERS);
    let table =
        btree_map(any::<u32>(), (option::of(any_node()), any_phase(), any::<bool>()), 0..=MAX_SERVICES);
    let divisors = prop_oneof![Just((8_u8, 8_u8)), Just((16, 8)), Just((16, 16))];
    let intervals = (1_000..=60_000_000_u64, 0..=60_000_000_u64);
    let settings = (intervals, divisors, any::<bool>());
    let base = proptest::collection::btree_set(any::<u32>(), 0..6);
    (any_epoch(), any::<u64>(), settings, members, base, table).prop_map(
        |(
            epoch,
            lineage,
            ((interval, longer), (probe_divisor, coarsest_divisor), frozen),
            members,
            base,
            table,
        )| State {
            epoch,
            lineage,
            hello_interval: Duration::from_micros(interval),
            probe_divisor,
            longest_interval: Duration::from_micros((interval + longer).min(60_000_000)),
            coarsest_divisor,
            frozen,
            members: members
                .into_iter()
                .map(|(id, (incarnation, standby, leaving))| Member {
                    id: NodeId(id),
                    incarnation,
                    standby,
                    leaving,
                })
                .collect(),
            base: base.into_iter().map(NodeId).collect(),
            table: table
                .into_iter()
                .map(|(id, (holder, phase, pinned))| Slot { service: ServiceId(id), holder, phase, pinned })
                .collect(),
        },
    )
}

fn any_report() -> impl Strategy<Value = Report> {
    let services = || vec(any_service(), 0..=12);
    let lists = (services(), services(), services(), services(), services());
    (lists, services(), services(), any::<bool>(), any::<bool>(), any::<(u32, Option<u32>, bool)>()).prop_map(
        |(
            (holding, ready, failed, ousted, blocked),
            unfit,
            given_up,
            external_ok,
            leaving,
            (lateness_us, load_permille, cut_off),
        )| {
            Report {
                holding,
                ready,
                failed,
                ousted,
                blocked,
                unfit,
                given_up,
                external_ok,
                leaving,
                lateness_us,
                load_permille,
                cut_off,
            }
        },
    )
}

fn any_status() -> impl Strategy<Value = Status> {
    let link = ("[a-z0-9.:]{0,15}", any_link(), any::<[bool; 3]>()).prop_map(
        |(device, role, [up, hears_left, hears_right])| LinkStatus {
            device,
            role,
            up,
            hears_left,
            hears_right,
        },
    );
    let stranger = (any_service(), any::<[u8; 6]>(), any::<bool>())
        .prop_map(|(service, mac, served)| Stranger { service, mac, served });
    let lists =
        (vec(link, 0..=MAX_LINKS), vec(stranger, 0..=12), vec(any_remark(), 0..=9), vec(any_moved(), 0..=9));
    ("[A-Za-z0-9._-]{0,32}", any::<[u32; 2]>(), any::<([u64; 6], bool, [u8; 6])>(), lists).prop_map(
        |(
            name,
            [load_permille, lateness_us],
            ([config_digest, rejected, number, digest, key, next_key], measured, mac),
            (links, strangers, remarks, moves),
        )| Status {
            version: ConfigVersion { number, digest },
            key,
            next_key,
            name,
            load_permille,
            config_digest,
            links,
            lateness_us,
            rejected,
            mac,
            strangers,
            measured,
            remarks,
            moves,
        },
    )
}

fn any_remark() -> impl Strategy<Value = Remark> {
    let said = (any::<u32>(), any::<[bool; 2]>(), option::of(any::<u32>()));
    (any_node(), option::of(any_service()), said).prop_map(
        |(node, service, (penalty, [damped, unfit], failed_ms))| Remark {
            node,
            service,
            penalty,
            damped,
            failed_ms,
            unfit,
        },
    )
}

fn any_moved() -> impl Strategy<Value = Moved> {
    let steps = [MoveStep::Assigned, MoveStep::Began, MoveStep::Done, MoveStep::Aborted];
    let causes = [Cause::HolderDown, Cause::Operator, Cause::TimedOut, Cause::HandedOver];
    let ends = (option::of(any_node()), option::of(any_node()));
    let how = (0..steps.len(), 0..causes.len(), any::<u32>());
    (any_service(), any_epoch(), ends, how).prop_map(
        move |(service, epoch, (from, to), (step, cause, ago_ms))| Moved {
            service,
            epoch,
            from,
            to,
            step: steps[step],
            cause: causes[cause],
            ago_ms,
        },
    )
}

fn aside() -> Aside {
    let happening = |number| Happening {
        number,
        time_us: 1_790_000_000_000_000 + number,
        text: "www1 is served here now".into(),
        fields: r#"{"event":"taken","service":"www1"}"#.into(),
    };
    let events = vec![happening(5), happening(7)];
    Aside::Events { log: 0x0dd, now_us: 1_790_000_000_500_000, after: 4, newest: 9, events }
}

fn any_aside() -> impl Strategy<Value = Aside> {
    let text = "[ -~]{0,40}";
    let happening = (any::<u64>(), text, text).prop_map(|(time_us, text, fields)| Happening {
        number: 0,
        time_us,
        text,
        fields,
    });
    let events = (any::<[u64; 2]>(), 0..u64::MAX / 2, 0..9_u64, vec(happening, 0..=MAX_ASIDE)).prop_map(
        |([log, now_us], after, more, mut events)| {
            for (event, number) in events.iter_mut().zip(after + 1..) {
                event.number = number;
            }
            Aside::Events { log, now_us, after, newest: after + events.len() as u64 + more, events }
        },
    );
    let sighting = (any::<u32>(), option::of(any::<[u8; 6]>()), option::of(any::<[u8; 6]>()))
        .prop_map(|(address, answers, cached)| Sighting { address: address.into(), answers, cached });
    let sees = (any_service(), any::<u64>(), vec(sighting, 0..=MAX_ASIDE))
        .prop_map(|(service, nonce, sightings)| Aside::Sees { service, nonce, sightings });
    let who_has = (any_service(), any::<u64>()).prop_map(|(service, nonce)| Aside::WhoHas { service, nonce });
    let more = any::<[u64; 2]>().prop_map(|[log, after]| Aside::More { log, after });
    prop_oneof![events, sees, who_has, more]
}

fn any_command() -> impl Strategy<Value = Command> {
    (0..6, any_service(), any_node(), any::<bool>()).prop_map(|(number, service, node, one)| match number {
        0 => Command::Move { service, to: node },
        1 => Command::Failback { service: one.then_some(service) },
        2 => Command::Standby { node },
        3 => Command::Online { node },
        4 => Command::Freeze,
        _ => Command::Thaw,
    })
}

/// Every packet but FORWARD.
fn any_plain_packet() -> impl Strategy<Value = Packet> {
    let number = any::<u64>;
    prop_oneof![
        number().prop_map(|nonce| Packet::Hello { nonce }),
        number().prop_map(|nonce| Packet::HelloAck { nonce }),
        (number(), any::<u16>(), any::<u16>()).prop_map(|(number, members, priority)| Packet::Beat {
            number,
            members,
            priority
        }),
        (number(), number(), any_report()).prop_map(|(number, nonce, report)| Packet::BeatAck {
            number,
            nonce,
            report
        }),
        (number(), any::<u32>()).prop_map(|(nonce, remaining_us)| Packet::Grant { nonce, remaining_us }),
        (any::<bool>(), any_state()).prop_map(|(committed, state)| Packet::State { committed, state }),
        (any_epoch(), number()).prop_map(|(epoch, digest)| Packet::StateAck { epoch, digest }),
        (any_term(), option::of(any_incarnation())).prop_map(|(term, known)| Packet::Nack { term, known }),
        (any_node(), any_incarnation(), option::of((any_term(), any::<u32>())), number()).prop_map(
            |(suspect, incarnation, candidacy, nonce)| Packet::Suspect {
                suspect,
                incarnation,
                candidacy,
                nonce
            }
        ),
        (
            (any_node(), number(), option::of(any::<u32>())),
            option::of((any_term(), any::<bool>()).prop_map(|(term, released)| Vote { term, released })),
            option::of((any::<bool>(), any_state()))
        )
            .prop_map(|((suspect, nonce, heard_us), vote, newest)| Packet::RollCall {
                suspect,
                nonce,
                heard_us,
                vote,
                newest
            }),
        (number(), option::of((any_epoch(), any::<u16>(), any::<[bool; 2]>()))).prop_map(|(nonce, boot)| {
            let boot = boot.map(|(remembers, priority, [may_vote, standby])| Boot {
                remembers,
                priority,
                may_vote,
                standby,
            });
            Packet::IpCheck { nonce, boot }
        }),
        (number(), option::of(any_node()))
            .prop_map(|(nonce, controller)| Packet::IpCheckAck { nonce, controller }),
        (any_node(), any_incarnation())
            .prop_map(|(node, incarnation)| Packet::FailDown { node, incarnation }),
        (any_service(), any::<bool>()).prop_map(|(service, prepare)| Packet::FailOver { service, prepare }),
        (any_service(), any::<bool>()).prop_map(|(service, ok)| Packet::Ready { service, ok }),
        any_service().prop_map(|service| Packet::TakeOver { service }),
        (any_service(), number()).prop_map(|(service, nonce)| Packet::FailBack { service, nonce }),
        any_service().prop_map(|service| Packet::FailbackOk { service }),
        Just(Packet::IAmLeft),
        Just(Packet::IAmRight),
        any_status().prop_map(Packet::Status),
        (number(), any_command()).prop_map(|(id, command)| Packet::Command { id, command }),
        (number(), proptest::result::maybe_ok(Just(()), "[ -~äß€]{0,170}"))
            .prop_map(|(id, result)| Packet::CommandAck { id, result }),
        any_incarnation().prop_map(|incarnation| Packet::Leave { incarnation }),
        any_node().prop_map(|to| Packet::Resign { to }),
        any_aside().prop_map(Packet::Aside),
    ]
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let forward = (any_node(), any_incarnation(), any_epoch(), any_node(), any_plain_packet()).prop_map(
        |(origin, incarnation, epoch, to, packet)| Packet::Forward {
            origin,
            incarnation,
            epoch,
            to,
            packet: Box::new(packet),
        },
    );
    prop_oneof![25 => any_plain_packet(), 4 => forward]
}

pub fn any_datagram() -> impl Strategy<Value = Datagram> {
    let header =
        (any_node(), option::of(any_node()), any_incarnation(), any_link(), any_epoch(), any::<[u64; 2]>())
            .prop_map(|(from, to, incarnation, link, epoch, [sequence, lineage])| Header {
                from,
                to,
                incarnation,
                sequence,
                link,
                epoch,
                lineage,
            });
    (header, any_packet()).prop_map(|(header, packet)| Datagram { header, packet })
}
