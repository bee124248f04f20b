//! Own faults, cut paths, one direction only: reported, no takeover of a node that others hear, no storm.

use super::bench::{Bench, serves};
use super::settings::{T, node, service, settings};
use crate::controller::{Event, Input, LocalFault};
use crate::vocabulary::{Instant, LinkRole};
use crate::wire::Packet;

fn is_down(event: &Event) -> bool {
    matches!(event, Event::Down { .. })
}

fn suspicions(bench: &Bench, by: usize) -> usize {
    bench.machines[by].events.iter().filter(|(_, event)| matches!(event, Event::Suspected { .. })).count()
}

/// Sends of that node fail on every link, until the test says otherwise.
fn mute(bench: &mut Bench, at: usize, millis: u64) {
    bench.lose(move |sent, _| sent.from == at);
    for _ in 0..millis / 50 {
        for role in LinkRole::ALL {
            bench.input(at, Input::SendFailed { role, fault: LocalFault::Down });
        }
        bench.run(50);
    }
}

#[test]
fn who_hears_nobody_suspects_itself() {
    for nodes in [3, 5, 8] {
        let mut bench = Bench::formed(nodes);
        let lone = nodes - 1;
        bench.isolate(lone);
        bench.run(5000);
        assert!(bench.event(lone, is_down).is_none(), "{nodes} nodes: it declares nobody dead");
        let down = |packet: &Packet| matches!(packet, Packet::FailDown { .. });
        assert_eq!(bench.count(lone, down), 0);
        assert!(bench.event(lone, |event| *event == Event::HearsNobody).is_some());
        assert!(bench.machines[lone].aliases.is_empty(), "it fences itself");
        assert!(suspicions(&bench, lone) <= 2, "its neighbours, not everybody");
        bench.heal();
        bench.wait("everything at home", 9000, Bench::is_settled);
    }
}

#[test]
fn who_is_deaf_disturbs_nobody() {
    // It hears nobody on any link; everybody hears it.
    for deaf in [2, 4] {
        let mut bench = Bench::formed(5);
        let others: Vec<usize> = (0..5).filter(|&at| at != deaf).collect();
        bench.forget();
        others.iter().for_each(|&at| bench.cut(at, deaf));
        bench.run(4000);
        for &at in &others {
            assert!(bench.event(at, is_down).is_none(), "{deaf} is heard by {at}");
            assert!(bench.holders(service(at)) == [at], "{at} goes on");
            assert!(suspicions(&bench, at) <= 40, "{} suspicions at {at}", suspicions(&bench, at));
        }
        assert!(bench.machines[deaf].aliases.is_empty(), "without a lease it serves nothing");
    }
}

#[test]
fn a_deaf_controller_is_succeeded() {
    let mut bench = Bench::formed(5);
    (1..5).for_each(|at| bench.cut(at, 0));
    bench.wait("the end of its lease", 500, |bench| bench.machines[1].aliases.is_empty());
    bench.wait("the services of the others", 10_000, |bench| (1..5).all(|at| serves(bench, at, &[at])));
    bench.wait("its own with another", 10_000, |bench| bench.holders(service(0)).len() == 1);
    bench.heal();
    bench.wait("everything at home", 60_000, Bench::is_settled);
}

#[test]
fn what_a_deaf_node_cannot_serve_goes_to_others_and_comes_home() {
    let mut bench = Bench::formed(4);
    (0..3).for_each(|at| bench.cut(at, 3));
    bench.wait("its service with another", 8000, |bench| {
        bench.holders(service(3)).first().is_some_and(|&at| at != 3)
    });
    bench.always("one holder", 3000, |bench| bench.holders(service(3)).len() == 1);
    bench.heal();
    bench.wait("its return", 9000, |bench| bench.is_settled() && serves(bench, 3, &[3]));
}

#[test]
fn a_send_that_fails_is_no_silence_of_the_other_side() {
    for nodes in [2, 3, 5] {
        let mut bench = Bench::formed_of(settings(nodes));
        bench.forget();
        mute(&mut bench, 1, 3000);
        assert!(bench.event(1, is_down).is_none(), "{nodes} nodes");
        assert_eq!(bench.count(1, |packet| matches!(packet, Packet::FailDown { .. })), 0);
        let link = |event: &Event| matches!(event, Event::SendsFail { .. });
        assert!(bench.event(1, link).is_some(), "it reports its own links");
        bench.heal();
        bench.wait("everything at home", 9000, Bench::is_settled);
    }
}

/// The node without its external link has nothing left, so it is the least-loaded; and who becomes the controller has no report
/// of it yet. STATUS has said it, if the link was lost long ago.
#[test]
fn a_new_controller_leaves_nothing_with_a_node_without_its_external_link() {
    for before in [30, 3000] {
        let mut bench = Bench::formed(5);
        bench.run(3000);
        bench.input(4, Input::Link { role: LinkRole::External, up: false });
        bench.wait("its service elsewhere", 1000, |bench| {
            let holders = bench.holders(service(4));
            holders.len() == 1 && holders != [4]
        });
        bench.run(before);
        bench.kill(0);
        let served = |bench: &Bench, at: usize| {
            let holders = bench.holders(service(at));
            holders.len() == 1 && ![0, 4].contains(&holders[0])
        };
        bench.wait("all of them served", 600, |bench| (0..5).all(|at| served(bench, at)));
        let blindly = |event: &Event| matches!(event, Event::Assigned { to: Some(to), .. } if *to == node(4));
        assert_eq!(bench.event(1, blindly).is_some(), before < 100, "it did not know, or did");
        let failed =
            |event: &Event| matches!(event, Event::Assigned { why: crate::controller::Why::StartFailed, .. });
        assert!((1..5).all(|at| bench.event(at, failed).is_none()), "nobody has failed");
        bench.input(4, Input::Link { role: LinkRole::External, up: true });
        bench.start(0);
        bench.wait("everything at home", 20_000, Bench::is_settled);
    }
}

#[test]
fn a_path_cut_between_two_moves_nothing() {
    // (from, to, both directions)
    let cuts = [(0, 2, true), (1, 2, true), (0, 1, false), (2, 1, false), (1, 0, false), (3, 0, true)];
    for (one, other, both) in cuts {
        let mut bench = Bench::formed(4);
        bench.forget();
        bench.cut(one, other);
        if both {
            bench.cut(other, one);
        }
        bench.always("everybody at home", 6000, |bench| (0..4).all(|at| serves(bench, at, &[at])));
        for at in 0..4 {
            assert!(bench.event(at, is_down).is_none(), "{one} to {other}");
            assert_eq!(bench.members(at).len(), 4);
            // The faulty path is looked at again every T or so, by its two ends and those they ask.
            assert!(suspicions(&bench, at) <= 40, "{} suspicions at {at}", suspicions(&bench, at));
        }
        bench.heal();
        bench.run(1000);
        bench.forget();
        bench.run(1000);
        assert!((0..4).all(|at| suspicions(&bench, at) == 0), "over when it is mended");
    }
}

#[test]
fn the_office_is_not_offered_again_and_again_to_whom_no_majority_hears() {
    // Node 0, of the highest priority, is heard by node 1 alone; 1 is heard by all.
    let mut bench = Bench::formed(5);
    for other in 2..5 {
        bench.cut(0, other);
        bench.cut(other, 0);
    }
    // Whoever leads first: the next in priority that a majority hears gets the office in the end.
    bench.wait("another controller", 15_000, |bench| {
        (1..5).all(|at| bench.controller(at).view(bench.now).controller == Some(node(1)))
    });
    bench.forget();
    bench.run(20_000);
    let offers = bench.count(1, |packet| matches!(packet, Packet::Resign { .. }));
    assert!(offers <= 1, "offered {offers} times in 20 s");
    bench.always("all served", 5000, |bench| (0..5).all(|at| bench.holders(service(at)).len() == 1));
    bench.heal();
    bench.wait("node 0 leads again", 300_000, |bench| {
        (0..5).all(|at| bench.controller(at).view(bench.now).controller == Some(node(0)))
    });
}

#[test]
fn partitions_cut_and_healed_flap_nothing() {
    // Each cut, then healed: who loses releases first, the winner announces again, and no service changes
    // its holder more often than away from home and back.
    let cuts: [&[usize]; 6] = [&[0], &[1], &[3], &[0, 1], &[2, 3], &[0, 3]];
    for part in cuts {
        let mut bench = Bench::formed(4);
        let other: Vec<usize> = (0..4).filter(|at| !part.contains(at)).collect();
        for &a in part {
            for &b in &other {
                bench.cut(a, b);
                bench.cut(b, a);
            }
        }
        bench.run(6000);
        bench.forget();
        bench.heal();
        bench.always("never two, but in a handover", 300, |bench| {
            (0..4).all(|at| bench.holders(service(at)).len() <= 1)
        });
        bench.wait("peace", 9000, Bench::is_settled);
        bench.run(5000);
        for at in 0..4 {
            let mut takers: Vec<(Instant, usize)> = Vec::new();
            for (by, machine) in bench.machines.iter().enumerate() {
                let taken = machine.events.iter().filter(
                    |(_, event)| matches!(event, Event::Taken { service: it, .. } if *it == service(at)),
                );
                takers.extend(taken.map(|(when, _)| (*when, by)));
            }
            takers.sort_unstable();
            let mut takers: Vec<usize> = takers.into_iter().map(|(_, by)| by).collect();
            takers.dedup();
            assert!(takers.len() <= 1, "service {at} after {part:?}: {takers:?}");
        }
        assert!(bench.now.since(bench.machines[0].states.last().map_or(bench.now, |(when, _)| *when)) > T);
    }
}
