//! J: how a node comes in and goes out.

use super::bench::{Bench, Worker, serves};
use super::settings::{MEMBER, P, PATIENCE, T, mac, node, service, settings};
use crate::controller::{Event, Input, Planted, Why};
use crate::vocabulary::{Epoch, Incarnation};
use crate::wire::{Command, Header, Packet, Phase};
use std::time::Duration;

fn says_boot(packet: &Packet) -> bool {
    matches!(packet, Packet::IpCheck { boot: Some(_), .. })
}

#[test]
fn j1_a_node_that_boots_becomes_a_member_and_gets_its_service() {
    let mut bench = Bench::new(settings(3));
    bench.start(0);
    bench.start(1);
    bench.wait("a cluster of two with three services", 9000, |bench| {
        bench.is_settled() && !bench.holders(service(2)).is_empty()
    });
    bench.run(500);
    bench.forget();
    bench.start(2);
    let started = bench.now;
    bench.wait("the join", 3000, |bench| bench.members(2).len() == 3);
    assert!(bench.now >= started + MEMBER, "E5: its promises are forgotten");
    assert!(bench.now <= started + MEMBER + T * 3, "after {:?}", bench.now.since(started));
    let joined = Event::Joined { node: node(2), incarnation: Incarnation(1) };
    assert!((0..2).all(|at| bench.event(at, |event| *event == joined).is_some()));
    // Its service comes by a planned move, with nobody missing it.
    bench.wait("service 2 at home", 4000, |bench| serves(bench, 2, &[2]));
    let began = bench.machines[0].events.iter().filter(|(_, event)| matches!(event, Event::MoveBegan { .. }));
    let began: Vec<&Event> = began.map(|(_, event)| event).collect();
    let home = Event::MoveBegan { service: service(2), from: node(0), to: node(2), why: Why::Failback };
    assert_eq!(began, [&home]);
}

#[test]
fn j1_new_neighbours_introduce_themselves_and_suspect_nobody() {
    let mut bench = Bench::new(settings(3));
    bench.start(0);
    bench.start(1);
    bench.wait("a cluster of two", 9000, Bench::is_settled);
    bench.forget();
    bench.start(2);
    bench.wait("the join", 3000, |bench| bench.members(2).len() == 3);
    bench.run(1000);
    assert!(bench.packet(2, |packet| *packet == Packet::IAmLeft).is_some());
    assert!(bench.packet(2, |packet| *packet == Packet::IAmRight).is_some());
    assert!(bench.packet(1, |packet| *packet == Packet::IAmLeft).is_some(), "its right is node 2 now");
    for at in 0..3 {
        assert!(bench.event(at, |event| matches!(event, Event::Suspected { .. })).is_none(), "node {at}");
    }
}

#[test]
fn j1_a_node_restarted_at_once_is_a_member_again_and_its_service_is_not_lost() {
    let mut bench = Bench::formed(3);
    bench.kill(2);
    bench.run(20);
    bench.start(2);
    bench.wait("its second life", 3000, |bench| {
        bench.state(2).and_then(|state| state.member(node(2))).map(|member| member.incarnation)
            == Some(Incarnation(2))
    });
    bench.wait("peace", 6000, |bench| bench.is_settled() && serves(bench, 2, &[2]));
}

#[test]
fn j2_a_member_leaves_in_order() {
    let mut bench = Bench::formed(3);
    bench.input(2, Input::Stop);
    // Handed over first: nobody misses it.
    bench.wait("the goodbye", 3000, |bench| {
        assert!(!bench.holders(service(2)).is_empty(), "a gap");
        bench.machines[2].left.is_some()
    });
    let left = bench.now;
    assert!(bench.machines[2].aliases.is_empty());
    bench.wait("the removal", 100, |bench| bench.members(0).len() == 2);
    assert!(bench.now.since(left) < P, "no lease is waited for: {:?}", bench.now.since(left));
    bench.run(1);
    for at in 0..2 {
        assert!(bench.event(at, |event| matches!(event, Event::Suspected { .. })).is_none());
        assert!(bench.event(at, |event| *event == Event::Left { node: node(2) }).is_some());
    }
    assert_eq!(bench.count(2, |packet| matches!(packet, Packet::Leave { .. })), 3);
}

#[test]
fn j2_the_controller_leaves_in_order() {
    let mut bench = Bench::formed(3);
    bench.input(0, Input::Stop);
    bench.wait("the goodbye", 3000, |bench| {
        assert!((0..3).all(|at| !bench.holders(service(at)).is_empty()), "a gap");
        bench.machines[0].left.is_some()
    });
    let left = bench.now;
    bench.wait("the next one", 500, |bench| {
        bench.event(1, |event| matches!(event, Event::Elected { .. })).is_some()
    });
    assert!(bench.now.since(left) < PATIENCE, "nobody had to miss it: {:?}", bench.now.since(left));
    bench.always("three services", 2000, |bench| (0..3).all(|at| bench.holders(service(at)).len() == 1));
    assert_eq!(bench.members(1), [node(1), node(2)]);
}

#[test]
fn j2_nobody_leaves_before_its_faker_has_answered_the_last_order() {
    let mut bench = Bench::formed(3);
    bench.command(0, Command::Move { service: service(2), to: node(0) }).expect("moves");
    bench.wait("the move", 3000, |bench| serves(bench, 0, &[2]));
    bench.run(1000);
    bench.machines[2].faker = Worker::Hangs;
    bench.command(0, Command::Move { service: service(2), to: node(2) }).expect("moves");
    bench.wait("an order", 3000, |bench| bench.machines[2].order.services == [service(2)]);
    bench.input(2, Input::Stop);
    bench.wait("the last order", 20_000, |bench| bench.machines[2].order.services.is_empty());
    // Empty as well was the set that it answered last: the address may have come up between the two.
    let (report, left) = (bench.controller(2).report(bench.now), bench.machines[2].left);
    assert!(report.holding.contains(&service(2)) && left.is_none(), "{report:?}");
    bench.always("not gone", 20_000, |bench| bench.machines[2].left.is_none());
    bench.set_faker(2, Worker::Works);
    bench.wait("the goodbye", 1000, |bench| bench.machines[2].left.is_some());
    bench.wait("a holder", 1000, |bench| serves(bench, 0, &[2]));
}

#[test]
fn j2_the_last_one_leaves_without_waiting_for_anybody() {
    let mut bench = Bench::formed(3);
    bench.kill(1);
    bench.kill(2);
    bench.run(1000);
    bench.input(0, Input::Stop);
    bench.wait("the goodbye", 3000, |bench| bench.machines[0].left.is_some());
    assert!(bench.machines[0].aliases.is_empty());
}

#[test]
fn j2_the_goodbye_of_another_life_counts_for_nothing() {
    let mut bench = Bench::formed(3);
    let life = bench.state(0).expect("formed").members[2].incarnation;
    for other in [life.0 - 1, life.0 + 1] {
        bench.inject(2, 0, Packet::Leave { incarnation: Incarnation(other) });
        bench.run(300);
        assert_eq!(bench.members(0).len(), 3, "life {other}");
    }
}

/// Its worker dies, and its guardian says so to these.
fn worker_dies(bench: &mut Bench, at: usize, told: &[usize]) -> Header {
    let header = Header { epoch: Epoch::NONE, lineage: 0, ..bench.header(at) };
    bench.kill(at);
    guardian_says(bench, &header, told);
    header
}

fn guardian_says(bench: &mut Bench, header: &Header, told: &[usize]) {
    for &to in told {
        bench.inject_with(to, header.clone(), Packet::Leave { incarnation: header.incarnation });
    }
}

#[test]
fn j2_a_goodbye_of_the_guardian_frees_the_services_at_once() {
    let mut bench = Bench::formed(3);
    worker_dies(&mut bench, 2, &[0, 1]);
    let died = bench.now;
    bench.wait("service 2 elsewhere", 500, |bench| !bench.holders(service(2)).is_empty());
    assert!(bench.now.since(died) < P, "after {:?}", bench.now.since(died));
    bench.wait("the removal", 500, |bench| bench.members(0).len() == 2);
}

/// The kernel of a dead daemon answers for service 3; who was named for it, and those who were not.
fn waits_for_a_kernel(planted: Option<Planted>) -> (Bench, usize, Vec<usize>) {
    let mut bench = Bench::formed(4);
    bench.plant(planted);
    bench.kill(3);
    bench.kernel_answers(3, service(3), Duration::from_secs(60));
    let named = |bench: &Bench| (0..3).find(|&at| bench.holder(0, service(3)) == Some(node(at)));
    bench.wait("another holder", 1000, |bench| named(bench).is_some());
    bench.run(100);
    let waiting = named(&bench).expect("waited for");
    (bench, waiting, (0..3).filter(|&at| at != waiting).collect())
}

/// Who waits for that kernel dies as well. Its goodbye says nothing of the kernel.
#[test]
fn j2_a_goodbye_of_who_never_had_it_shortens_no_look() {
    for (planted, quick) in [(None, false), (Some(Planted::QuickWithoutProof), true)] {
        let (mut bench, waiting, others) = waits_for_a_kernel(planted);
        // As if the answers were lost.
        bench.answer_for(service(3), Duration::ZERO);
        worker_dies(&mut bench, waiting, &others);
        let died = bench.now;
        bench.wait("service 3 elsewhere", 1000, |bench| !bench.holders(service(3)).is_empty());
        let after = bench.now.since(died);
        assert_eq!(after < P, quick, "{after:?}");
        // Every p/2, and p is T/16 here.
        assert!(quick || after >= P * 4, "sixteen probes: {after:?}");
    }
}

/// Another state may be agreed before its TAKE_OVER is heard.
#[test]
fn j2_who_told_late_that_it_has_it_has_had_it() {
    for told in [false, true] {
        let mut bench = Bench::formed(4);
        bench.lose(|sent, _| matches!(sent.packet, Packet::TakeOver { .. } | Packet::FailbackOk { .. }));
        bench.kill(3);
        bench.wait("another holder", 1000, |bench| (0..3).any(|at| bench.holders(service(3)) == [at]));
        let holder = bench.holders(service(3))[0];
        let others: Vec<usize> = (0..3).filter(|&at| at != holder).collect();
        let header = bench.header(holder);
        bench.run(600);
        for &to in &others {
            let committed = bench.state(to).expect("formed").epoch;
            assert!(header.epoch < committed, "{:?}, {committed:?}", header.epoch);
            if told {
                bench.inject_with(to, header.clone(), Packet::TakeOver { service: service(3) });
            }
        }
        worker_dies(&mut bench, holder, &others);
        let died = bench.now;
        bench.wait("service 3 elsewhere", 1000, |bench| !bench.holders(service(3)).is_empty());
        let after = bench.now.since(died);
        assert_eq!(after < P, told, "{after:?}");
    }
}

#[test]
fn j2_a_goodbye_of_who_never_had_it_ends_no_latch() {
    let (mut bench, waiting, others) = waits_for_a_kernel(None);
    let header = Header { epoch: Epoch::NONE, lineage: 0, ..bench.header(waiting) };
    bench.kill(waiting);
    bench.wait("its removal", 1000, |bench| bench.members(others[0]).len() == 2);
    bench.answer_for(service(3), Duration::ZERO);
    guardian_says(&mut bench, &header, &others);
    bench.always("the latch", 1000, |bench| bench.holders(service(3)).is_empty());
    bench.wait("service 3 elsewhere", 3000, |bench| !bench.holders(service(3)).is_empty());
}

#[test]
fn j2_a_goodbye_of_the_controllers_guardian_elects_the_next_one_and_frees_its_services_at_once() {
    let mut bench = Bench::formed(3);
    worker_dies(&mut bench, 0, &[1, 2]);
    let died = bench.now;
    bench.wait("service 0 elsewhere", 500, |bench| !bench.holders(service(0)).is_empty());
    assert!(bench.now.since(died) < P, "after {:?}", bench.now.since(died));
    bench.always("the others' services", 1000, |bench| (1..3).all(|at| bench.holders(service(at)) == [at]));
}

/// E4: it released its own services, not those of others: leases that it granted may still be in force.
#[test]
fn j2_the_controllers_goodbye_frees_nobody_elses_services() {
    let mut bench = Bench::formed(5);
    bench.kill(4);
    let died = bench.now;
    bench.run(1);
    worker_dies(&mut bench, 0, &[1, 2, 3]);
    bench.wait("service 4 elsewhere", 2000, |bench| !bench.holders(service(4)).is_empty());
    assert!(bench.now.since(died) > MEMBER, "only {:?} after", bench.now.since(died));
}

#[test]
fn j2_who_misses_the_goodbye_waits_for_the_lease() {
    let mut bench = Bench::formed(3);
    worker_dies(&mut bench, 2, &[]);
    let died = bench.now;
    bench.wait("service 2 elsewhere", 1000, |bench| !bench.holders(service(2)).is_empty());
    assert!(bench.now.since(died) > P * 4, "only {:?} after", bench.now.since(died));
}

/// A worker that hung: its kernel has answered the look, and its guardian has ended it since.
#[test]
fn j2_a_goodbye_ends_a_latched_look_once() {
    for joiner in [false, true] {
        let mut bench = Bench::formed(3);
        if joiner {
            // The first state that it knows is the one in which the dead one was the holder.
            bench.kill(1);
            bench.wait("its removal", 3000, |bench| bench.members(0).len() == 2);
            bench.start(1);
            bench.wait("its return", 3000, |bench| bench.members(1).len() == 3);
            // All have said their STATUS.
            bench.run(20);
        }
        let header = Header { epoch: Epoch::NONE, lineage: 0, ..bench.header(2) };
        bench.kill(2);
        bench.kernel_answers(2, service(2), Duration::from_secs(60));
        bench.run(600);
        assert!(bench.holders(service(2)).is_empty(), "latched");
        bench.answer_for(service(2), Duration::ZERO);
        guardian_says(&mut bench, &header, &[0, 1]);
        let said = bench.now;
        bench.wait("service 2 elsewhere", 500, |bench| !bench.holders(service(2)).is_empty());
        let after = bench.now.since(said);
        // A quick one takes 3 ms.
        assert!(after >= P && after < P * 8, "a whole look, and no more: {after:?}");
        assert!(!joiner || bench.holders(service(2)) == [1]);
    }
}

/// The kernel answered before the guardian took the address away; that answer and the goodbye are heard by different threads.
#[test]
fn j2_an_answer_heard_just_behind_the_goodbye_is_from_before_it() {
    let mut bench = Bench::formed(3);
    let header = Header { epoch: Epoch::NONE, lineage: 0, ..bench.header(2) };
    bench.kill(2);
    bench.wait("a look", 400, |bench| (0..2).all(|at| !bench.machines[at].probes.is_empty()));
    guardian_says(&mut bench, &header, &[0, 1]);
    bench.run(1);
    let said = bench.now;
    for at in 0..2 {
        bench.input(at, Input::Claimed { service: service(2), mac: mac(2) });
    }
    bench.wait("service 2 elsewhere", 500, |bench| !bench.holders(service(2)).is_empty());
    let after = bench.now.since(said);
    assert!(after < P, "three probes, and no latch: {after:?}");
    let blocked = |event: &Event| matches!(event, Event::Blocked { .. });
    assert!((0..2).all(|at| bench.event(at, blocked).is_none()), "nobody else has it");
}

/// Killed with its guardian, and started again before its kernel dropped the address.
#[test]
fn j1_the_first_word_of_a_new_life_ends_a_latched_look() {
    let mut bench = Bench::formed(3);
    bench.kill(2);
    bench.kernel_answers(2, service(2), Duration::from_secs(60));
    bench.run(600);
    assert!(bench.holders(service(2)).is_empty(), "latched");
    bench.answer_for(service(2), Duration::ZERO);
    bench.start(2);
    let started = bench.now;
    bench.wait("service 2 elsewhere", 500, |bench| !bench.holders(service(2)).is_empty());
    assert!(bench.now.since(started) >= P, "a whole look: {:?}", bench.now.since(started));
}

/// It was not the old holder who answers: a goodbye said again is no new look.
#[test]
fn j2_a_goodbye_said_again_does_not_roll_the_dice_again() {
    let mut bench = Bench::formed(3);
    let header = Header { epoch: Epoch::NONE, lineage: 0, ..bench.header(2) };
    bench.kill(2);
    bench.kernel_answers(2, service(2), Duration::from_secs(60));
    bench.run(600);
    guardian_says(&mut bench, &header, &[0, 1]);
    bench.run_to(bench.now + P * 2);
    bench.answer_for(service(2), Duration::ZERO);
    for _ in 0..5 {
        guardian_says(&mut bench, &header, &[0, 1]);
        bench.run(100);
        assert!(bench.holders(service(2)).is_empty(), "latched by the answer after the goodbye");
    }
}

#[test]
fn j3_who_was_removed_comes_back_as_a_new_life() {
    let mut bench = Bench::formed(3);
    let life = bench.state(0).expect("formed").members[2].incarnation;
    bench.isolate(2);
    bench.wait("the removal", 1000, |bench| bench.members(0).len() == 2);
    bench.forget();
    bench.heal();
    bench.wait("a new life", 2000, |bench| {
        bench.event(2, |event| matches!(event, Event::Reborn { .. })).is_some()
    });
    let nacked = |at: usize| bench.packet(at, |packet| matches!(packet, Packet::Nack { known: Some(_), .. }));
    assert!(nacked(0).or(nacked(1)).is_some());
    // Released before the first word of the new life.
    let reborn = bench.event(2, |event| matches!(event, Event::Reborn { .. })).expect("waited for");
    assert!(bench.machines[2].aliases.is_empty());
    bench.wait("the join", 3000, |bench| bench.members(0).len() == 3);
    let word = bench.packet(2, says_boot).expect("J1").at;
    assert!(word >= reborn);
    let again = bench.state(0).expect("joined").member(node(2)).expect("a member").incarnation;
    assert_eq!(again, Incarnation(life.0 + 1));
    bench.wait("peace", 6000, |bench| bench.is_settled() && serves(bench, 2, &[2]));
}

#[test]
fn j3_a_nack_that_is_no_news_changes_nothing() {
    let mut bench = Bench::formed(3);
    let header = bench.header(0);
    let life = bench.state(0).expect("formed").members[1].incarnation;
    let term = header.epoch.term;
    let mut newer = header.clone();
    newer.epoch.version += 1;
    // (at which epoch, which life is down, is it reborn?)
    let table = [
        (header.clone(), Some(life), false),
        (newer.clone(), Some(Incarnation(life.0 - 1)), false),
        (newer.clone(), None, false),
        (newer, Some(life), true),
    ];
    for (header, known, reborn) in table {
        bench.forget();
        bench.inject_with(1, header.clone(), Packet::Nack { term, known });
        let is = bench.event(1, |event| matches!(event, Event::Reborn { .. })).is_some();
        assert_eq!(is, reborn, "{known:?} at {}", header.epoch);
    }
}

#[test]
fn j3_a_packet_of_an_earlier_life_is_answered_with_the_newest() {
    let mut bench = Bench::formed(3);
    let mut header = bench.header(1);
    header.incarnation = Incarnation(header.incarnation.0 - 1);
    bench.run(30);
    bench.forget();
    let heard = bench.controller(0).heard(node(1));
    bench.inject_with(0, header, Packet::Hello { nonce: 1 });
    assert!(bench.packet(0, |packet| matches!(packet, Packet::HelloAck { nonce: 1 })).is_none());
    let told = bench.packet(0, |packet| matches!(packet, Packet::Nack { .. })).expect("NACK");
    let Packet::Nack { known, .. } = told.packet else { unreachable!("a NACK") };
    assert_eq!(known, Some(Incarnation(1)));
    assert_eq!(bench.controller(0).heard(node(1)), heard, "no sign of life");
}

#[test]
fn a_state_that_a_neighbour_missed_comes_with_the_next_hello() {
    let mut bench = Bench::formed(3);
    bench.lose(|sent, to| to == 2 && matches!(sent.packet, Packet::State { .. }));
    assert_eq!(bench.command(0, crate::wire::Command::Freeze), Ok(()));
    bench.wait("the others", 200, |bench| bench.state(1).is_some_and(|state| state.frozen));
    assert!(!bench.state(2).expect("formed").frozen);
    bench.heal();
    bench.wait("node 2", T.as_millis() as u64 + 5, |bench| bench.state(2).is_some_and(|state| state.frozen));
}

/// The controller dies while somebody else leaves, whose service is not yet ready at its new place: the old lease lasts.
#[test]
fn j2_who_leaves_serves_on_under_another_controller() {
    let mut config = settings(4);
    super::settings::with_scripts(&mut config, 3);
    let mut bench = Bench::formed_of(config);
    (0..3).for_each(|at| bench.machines[at].scripts = Worker::Hangs);
    bench.input(3, Input::Stop);
    let moving = |bench: &Bench| matches!(bench.phase(1, service(3)), Phase::Prepare { .. });
    bench.wait("the move", 500, moving);
    bench.run(50);
    let incarnation = bench.header(0).incarnation;
    bench.inject(0, 1, Packet::Leave { incarnation });
    bench.kill(0);
    bench.wait("another controller", 1000, |bench| {
        bench.controller(3).committed.as_ref().is_some_and(|state| state.epoch.term.author == node(1))
    });
    bench.always("service 3 on node 3", 1000, |bench| bench.machines[3].aliases.contains(&service(3)));
    (1..3).for_each(|at| bench.set_scripts(at, Worker::Works));
    bench.wait("its goodbye", 3000, |bench| bench.machines[3].left.is_some());
    assert_eq!(bench.holders(service(3)).len(), 1);
}

/// Who was away on standby is on standby when the two parts are one again.
#[test]
fn standby_outlives_a_merge_that_is_lost() {
    let mut config = settings(3);
    config.cluster.quorum = crate::config::Quorum::None;
    let mut bench = Bench::formed_of(config);
    assert_eq!(bench.command(0, Command::Standby { node: node(2) }), Ok(()));
    bench.wait("standby", 3000, |bench| bench.machines[2].aliases.is_empty());
    bench.isolate(2);
    bench.wait("two parts", 3000, |bench| bench.members(0).len() == 2 && bench.members(2).len() == 1);
    bench.heal();
    bench.wait("one part", 5000, |bench| bench.members(0).len() == 3);
    bench.always("standby", 4000, |bench| bench.machines[2].aliases.is_empty());
}
