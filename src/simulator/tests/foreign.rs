//! Causes from outside, one at a time on a cluster that is otherwise well, and the judge of strangers.

use crate::config::OnConflict;
use crate::controller::{Destination, LocalFault, Planted};
use crate::simulator::checkers::{Checker, Minorities, Take};
use crate::simulator::clock::{MILLI, Nanos, SECOND};
use crate::simulator::plan::{Class, FOREIGN, Plan, node_id};
use crate::simulator::random::Random;
use crate::simulator::run::{BOUND, Kind, Scenario, cold_start, draw};
use crate::simulator::settle::{Patience, settle};
use crate::simulator::world::World;
use crate::vocabulary::ServiceId;
use crate::wire::Packet;

const SERVICE: ServiceId = ServiceId(1);
/// At home on the first node.
const HOME: usize = 0;

/// Everything up and at home; faults are on, and none is drawn.
fn world(planted: Option<Planted>) -> World {
    let mut random = Random::new(7);
    let plan = Plan::quiet(3, &mut random);
    let mut world = World::new(plan, random, planted);
    cold_start(&mut world);
    assert!(settle(&mut world, Patience::Bound(BOUND)).is_some());
    world.storm();
    world
}

fn runs_for(world: &mut World, time: Nanos) {
    world.run_until(world.now + time);
}

fn told(world: &World, word: &str) -> usize {
    world.trace.lines().iter().filter(|line| line.contains(word)).count()
}

/// All is well again, and no promise was broken.
fn heals(mut world: World) {
    world.heal();
    let settled = settle(&mut world, Patience::Bound(BOUND));
    world.ended = true;
    assert!(settled.is_some(), "{:?}", world.checker.violations);
}

#[test]
fn what_hands_take_away_is_put_back() {
    let mut world = world(None);
    world.take_away(HOME, SERVICE, 0, SECOND);
    assert!(!world.hosts[HOME].has(SERVICE));
    runs_for(&mut world, 10 * MILLI);
    assert!(world.hosts[HOME].has(SERVICE));
    runs_for(&mut world, 100 * MILLI);
    assert_eq!((told(&world, "Tampered {"), told(&world, "GaveUp")), (1, 0));
    heals(world);
}

#[test]
fn hands_that_go_on_make_it_go_elsewhere() {
    let mut world = world(None);
    world.take_away(HOME, SERVICE, 5, 50 * MILLI);
    runs_for(&mut world, SECOND);
    assert_eq!((told(&world, "Tampered {"), told(&world, "GaveUp")), (5, 1));
    assert!(!world.hosts[HOME].has(SERVICE) && world.hosts[1..].iter().any(|host| host.has(SERVICE)));
    heals(world);
}

#[test]
fn what_the_kernel_does_not_take_back_goes_elsewhere() {
    let mut world = world(None);
    world.plan.classes.push((Class::Hands, 1_000 * SECOND));
    world.hosts[HOME].no_room = Some((SERVICE, Nanos::MAX));
    world.take_away(HOME, SERVICE, 0, SECOND);
    runs_for(&mut world, 2 * SECOND);
    assert_eq!((told(&world, "how: Refused }"), told(&world, "GaveUp")), (5, 1));
    assert!(world.hosts[1..].iter().any(|host| host.has(SERVICE)));
    heals(world);
}

#[test]
fn who_can_say_nothing_is_heard_of_no_more_and_its_services_move() {
    let mut world = world(None);
    world.hosts[HOME].refuses = [Some(LocalFault::Refused); 2];
    runs_for(&mut world, 4 * SECOND);
    assert!(told(&world, "SendsFail") > 0);
    assert!(!world.hosts[HOME].has(SERVICE) && world.hosts[1..].iter().any(|host| host.has(SERVICE)));
    heals(world);
}

#[test]
fn what_a_stranger_has_is_left_to_it() {
    let mut right = world(None);
    assert!(right.stranger_takes(SERVICE, true, true) && !right.stranger_takes(SERVICE, true, true));
    runs_for(&mut right, 100 * MILLI);
    assert!(right.hosts[HOME].has(SERVICE) && told(&right, "Rival") == 1, "a holder defends it");
    right.power_cut(HOME);
    runs_for(&mut right, 5 * SECOND);
    assert!(!right.hosts.iter().any(|host| host.has(SERVICE)) && told(&right, "Blocked") > 0);
    heals(right);
}

#[test]
fn the_judge_sees_who_takes_what_a_stranger_has() {
    for on_conflict in [OnConflict::Wait, OnConflict::Force] {
        let mut wrong = world(Some(Planted::TakeWithoutLook));
        let mut config = (*wrong.config).clone();
        config.cluster.on_conflict = on_conflict;
        wrong.config = config.into();
        wrong.stranger_takes(SERVICE, false, false);
        wrong.power_cut(HOME);
        runs_for(&mut wrong, SECOND);
        wrong.ended = true;
        let seen: Vec<_> = wrong.checker.violations.iter().map(|violation| violation.promise).collect();
        let expected: &[&str] =
            if on_conflict == OnConflict::Wait { &["F2 a stranger's address is left alone"] } else { &[] };
        assert_eq!(seen, expected, "{on_conflict:?}");
    }
}

#[test]
fn only_what_its_answers_may_not_have_told_excuses_a_take() {
    let take = Take {
        node: 1,
        service: SERVICE,
        ordered: 11 * SECOND,
        looks_since: 10 * SECOND,
        answered: Some(10 * SECOND),
        stranger_since: 9 * SECOND,
        reached: true,
        surely: false,
    };
    let offered = |take: Take, healed_at: Nanos, offer: Option<Nanos>| {
        let mut checker = Checker::new(100 * MILLI, Minorities::Stop);
        checker.healed_at = healed_at;
        if let Some(at) = offer {
            let to = Destination::Node(node_id(take.node));
            checker.sent(at, 0, to, &Packet::FailBack { service: SERVICE, nonce: 1 });
        }
        checker.taken(11 * SECOND, &take);
        checker.violations.len()
    };
    let broken = |take: Take, healed_at: Nanos| offered(take, healed_at, None);
    assert_eq!(broken(take, 0), 1, "it heard the answer");
    assert_eq!(broken(Take { answered: None, surely: true, ..take }, 0), 1, "it must have heard it");
    assert_eq!(broken(Take { answered: None, ..take }, 0), 0, "the answers may have been lost");
    assert_eq!(broken(take, 10 * SECOND + 1), 0, "the LAN is another one since");
    assert_eq!(broken(Take { stranger_since: 10 * SECOND + 1, ..take }, 0), 0, "it came in between");
    assert_eq!(broken(Take { reached: false, ..take }, 0), 0, "it is not on that side of a cut");
    assert_eq!(offered(take, 0, Some(10 * SECOND + 1)), 0, "it was handed over");
    assert_eq!(offered(take, 0, Some(10 * SECOND)), 1, "that is too long ago");
    let late = Take { ordered: 10 * SECOND + 1, ..take };
    assert_eq!(offered(late, 0, Some(10 * SECOND)), 0, "the faker was late, not the order");
}

#[test]
fn storms_without_foreign_causes_are_what_they_were() {
    let plan = |seed| {
        let scenario = Scenario {
            seed,
            nodes: 5,
            duration: SECOND,
            kind: Kind::Storm,
            garbage: true,
            loud_from: Nanos::MAX,
        };
        draw(&scenario)
    };
    let (mut with, mut forced) = (0, 0);
    for seed in 0..1_000 {
        let mut random = Random::new(seed);
        let storm = Plan::storm(5, &mut random);
        let (drawn, chance) = plan(seed);
        assert_eq!(random, chance, "the rest of the story has the same chance");
        let foreign = FOREIGN.into_iter().any(|class| drawn.has(class));
        assert_eq!(foreign, [4, 5, 8].contains(&(seed % 10)), "seed {seed}");
        assert_eq!(drawn.classes[..storm.classes.len()], storm.classes);
        if !foreign {
            assert_eq!((drawn.classes, drawn.ills, drawn.config), (storm.classes, storm.ills, storm.config));
            continue;
        }
        with += 1;
        forced += usize::from(drawn.config.cluster.on_conflict == OnConflict::Force);
    }
    assert!(with == 300 && (20..90).contains(&forced), "{with} {forced}");
}
