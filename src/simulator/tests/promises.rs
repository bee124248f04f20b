//! The promises of the design, on fixed seeds.

use crate::config::ProbeInterval;
use crate::simulator::clock::{MILLI, Nanos, SECOND};
use crate::simulator::experiment::{Deaths, Victims, deaths};
use crate::simulator::plan::Drill;
use crate::simulator::run::{Kind, Outcome, Scenario, run};
use crate::vocabulary::LinkRole;

fn storm(seed: u64, nodes: usize) -> Scenario {
    Scenario { seed, nodes, duration: 120 * SECOND, kind: Kind::Storm, garbage: true, loud_from: Nanos::MAX }
}

fn kept(scenario: &Scenario) -> Outcome {
    let outcome = run(scenario);
    assert!(
        outcome.violations.is_empty(),
        "{scenario:?} {:?}\n{}",
        outcome.violations,
        outcome.trace.join("\n")
    );
    outcome
}

#[test]
fn one_seed_is_one_story() {
    let scenario = storm(11, 4);
    let (first, second) = (run(&scenario), run(&scenario));
    assert_eq!(first, second);
    assert_ne!(first.hash, run(&storm(12, 4)).hash);
}

#[test]
fn storms_break_no_promise() {
    for seed in 0..40 {
        kept(&storm(seed, 2 + (seed % 8) as usize));
    }
}

/// The look is blind, or the daemons die: leases alone, or the look alone.
#[test]
fn drills_break_no_promise() {
    for seed in 0..25 {
        for drill in
            [Drill::Isolation, Drill::Moves, Drill::Amnesia, Drill::Times, Drill::Stopped, Drill::Stalls]
        {
            let nodes = 3 + (seed % 4) as usize;
            kept(&Scenario { kind: Kind::Drill(drill), duration: 30 * SECOND, ..storm(seed, nodes) });
        }
    }
    // It had learnt from another whom it follows, gave up at once because it had never heard that one, and said so for
    // as long as no newer version came: no service came home.
    kept(&Scenario { kind: Kind::Drill(Drill::Isolation), duration: 30 * SECOND, ..storm(1365, 4) });
    // It had not heard the RESIGN that gave it its votes.
    kept(&Scenario { kind: Kind::Drill(Drill::Isolation), duration: 30 * SECOND, ..storm(770_148, 5) });
}

/// A service came up on who was leaving, its slow report was under way, and a new controller took it away again: the set
/// of wanted addresses was empty as before, the last answer was to an empty one too, and it said goodbye with the
/// address up.
#[test]
fn who_leaves_waits_for_the_answer_to_its_last_order() {
    kept(&storm(931_930, 4));
}

/// All of one daemon was killed; the next holder, which waited for its kernel, died as well, and its guardian's goodbye let the
/// third take the address after three probes, which were lost.
#[test]
fn the_goodbye_of_who_never_had_it_shortens_no_look() {
    kept(&storm(981_663, 9));
}

/// Nobody needs a majority there. It slept for two seconds in its look at what a dead node had; the first packet after that
/// let it be elected and take, while another had it by then.
#[test]
fn who_slept_has_seen_nothing() {
    kept(&storm(1_309_417, 3));
}

/// A fault of the world, not of the core: a carrier that went and came within a millisecond was told of the wrong way round, and
/// its node waited for it for ever.
#[test]
fn a_carrier_is_told_of_as_it_is() {
    kept(&storm(2_001_136, 2));
}

/// Two nodes joined at once, and the LANs were cut between the proposal and its commit: the old controller and the two had a
/// majority of the new members, which nobody had agreed to, the others one of the old members.
#[test]
fn joiners_alone_make_no_majority() {
    kept(&storm(967_141, 7));
}

/// Three and two of seven, and then two of those five on one external LAN: who was given a service by a planned move heard
/// the others' controller, its own did not, and nobody looked (H3): two holders.
#[test]
fn nothing_moves_to_who_hears_another_lineage() {
    kept(&storm(202_797, 7));
}

/// A voter followed the old controller again, which committed with it; what the candidate had stored by itself alone was of a newer
/// term. And three of four lost their power, forgot the terms and elected one that the fourth had long left behind.
#[test]
fn no_commit_is_lost_to_a_term_that_led_nobody() {
    kept(&storm(9_100_241, 3));
    kept(&Scenario { kind: Kind::Drill(Drill::Times), duration: 30 * SECOND, ..storm(40_019, 4) });
    kept(&Scenario { kind: Kind::Drill(Drill::Moves), duration: 30 * SECOND, ..storm(26, 4) });
}

/// It gave an address up and was to have it back at once; its faker's report was late, the old stay was taken for the new one, and the
/// other end, cut off, still had the address.
#[test]
fn what_is_left_of_an_earlier_stay_is_no_take() {
    kept(&Scenario { kind: Kind::Drill(Drill::Moves), duration: 30 * SECOND, ..storm(539, 6) });
}

/// `none`: the weaker part heard the stronger one and could not say a word.
#[test]
fn who_lost_and_cannot_speak_lets_go() {
    kept(&storm(9_415_218, 4));
}

/// A controller declined its own service while its external link was down for a moment, and gave it to itself again and again.
#[test]
fn what_a_controller_declined_it_gives_away() {
    kept(&storm(9_400_504, 2));
}

/// `arbiter`: the old controller was cut off just after the arbiter had answered it and before its beat was acknowledged. It went on by
/// that answer, the new one by an answer as old, and both LANs healed within the lease: two holders.
#[test]
fn an_answer_from_before_the_cut_holds_what_nobody_else_has() {
    kept(&storm(906_059, 5));
}

/// Others' hands, packet filters, strangers: storms that have some of that, by their last digit.
#[test]
fn foreign_causes_break_no_promise() {
    for tens in 10..15 {
        for digit in [4, 5, 8] {
            let seed = 10 * tens + digit;
            kept(&storm(seed, 2 + (seed % 8) as usize));
        }
    }
}

/// A fault of the world, not of the core: the lease ended before the faker had seen what hands had done, the address was
/// reported as up for ever, and its node never said that it is back.
#[test]
fn what_hands_took_away_is_not_reported_for_ever() {
    kept(&storm(4_000_824, 2));
}

/// `on_conflict = force`: a faker stalled, its probes left all at once, and their answers came while the take was under way. It
/// had not been blocked yet, so it was no take by force.
#[test]
fn an_answer_that_is_late_stops_a_take_that_is_not_by_force() {
    kept(&storm(7_003_535, 9));
}

/// A faker stalled for a whole look, and a packet filter refused what it sent then: the take went on.
#[test]
fn a_probe_that_could_not_leave_stops_a_take() {
    kept(&storm(7_017_584, 2));
}

/// A fault of the judge: two parts met, and hands had just taken the address from one of the two old holders. It put it back, and
/// was no new one.
#[test]
fn who_puts_it_back_has_had_it_all_along() {
    kept(&storm(7_001_685, 7));
}

/// A fault of the judge: a service was handed over, the faker came to it three seconds later, and meanwhile a stranger had come.
#[test]
fn a_stranger_who_comes_behind_the_order_is_no_ones_fault() {
    kept(&storm(7_016_188, 6));
}

/// `on_conflict = force`: a node without a lease had looked for long when a cut ended and another part's holder answered for the
/// first time. The latch of its look was over, and it took the address at once.
#[test]
fn who_takes_by_force_has_heard_the_other_for_long_enough() {
    kept(&storm(8_000_858, 4));
}

/// Some nodes are ill, and more than half of them are well: every address has a holder all the time.
#[test]
fn while_most_are_well_somebody_serves() {
    for seed in 0..60 {
        let nodes = 3 + (seed % 5) as usize;
        kept(&Scenario { kind: Kind::Drill(Drill::Few), duration: 40 * SECOND, ..storm(seed, nodes) });
    }
    // A controller was cut off for a moment and had let go of its service; it was given to one whose look it had answered before.
    kept(&Scenario { kind: Kind::Drill(Drill::Few), duration: 60 * SECOND, ..storm(100_249, 9) });
}

/// M1 where parts without a majority meet by their members, and their controllers do not.
#[test]
fn parts_that_meet_break_no_promise() {
    for seed in 0..24 {
        let nodes = 4 + (seed % 4) as usize;
        kept(&Scenario { kind: Kind::Drill(Drill::Parts), duration: 30 * SECOND, ..storm(seed, nodes) });
    }
    // Ready for a planned move, it heard another holder's TAKE_OVER before the old one's FAIL_BACK, and took (H3).
    kept(&Scenario { kind: Kind::Drill(Drill::Parts), duration: 30 * SECOND, ..storm(9007, 9) });
    // A look of the suspicion before saw the old holder, as it should be, and the move waited for its silence.
    kept(&Scenario { kind: Kind::Drill(Drill::Parts), duration: 30 * SECOND, ..storm(880_048, 6) });
}

/// Q2: the arbiter now on this side of a cut, now on that; two nodes first of all.
#[test]
fn arbiters_break_no_promise() {
    for seed in 0..24 {
        let nodes = 2 + (seed % 4) as usize;
        kept(&Scenario { kind: Kind::Drill(Drill::Arbiter), duration: 30 * SECOND, ..storm(seed, nodes) });
    }
    // Alone a second time in the lineage that it had begun alone, it took at once.
    kept(&Scenario { kind: Kind::Drill(Drill::Arbiter), duration: 40 * SECOND, ..storm(32, 2) });
    // It had looked where neither the arbiter nor the holder was.
    kept(&Scenario { kind: Kind::Drill(Drill::Arbiter), duration: 30 * SECOND, ..storm(770_098, 3) });
}

#[test]
fn a_fifth_of_one_lan_lost_moves_nothing() {
    for (seed, role) in [(1, LinkRole::Internal), (2, LinkRole::External), (3, LinkRole::Internal)] {
        for nodes in [2, 3, 5] {
            kept(&Scenario { kind: Kind::Calm(role), duration: 300 * SECOND, ..storm(seed, nodes) });
        }
    }
}

/// P7: the same run with garbled and replayed datagrams and without ends in the same state, by the same way.
#[test]
fn garbage_changes_nothing() {
    for seed in 0..4 {
        let calm = |garbage| Scenario {
            kind: Kind::Calm(LinkRole::Internal),
            duration: 30 * SECOND,
            garbage,
            ..storm(seed, 3)
        };
        let (clean, dirty) = (kept(&calm(false)), kept(&calm(true)));
        assert!(dirty.statistics.refused > clean.statistics.refused + 50);
        assert_eq!((clean.hash, clean.state_digest), (dirty.hash, dirty.state_digest));
    }
}

fn outages(victims: Victims, nodes: usize, probe: ProbeInterval) -> Vec<Nanos> {
    let mut all = Vec::new();
    for seed in 0..12 {
        let result = deaths(&Deaths { seed, nodes, victims, loss: 0, probe, loud_from: Nanos::MAX });
        assert!(result.failure.is_none(), "seed {seed}: {}", result.failure.unwrap_or_default());
        assert!(result.imbalance <= 1.0, "P4, seed {seed}: loads differ by {}", result.imbalance);
        all.extend(result.outages);
    }
    all.sort_unstable();
    all
}

/// P3, whatever N and whoever dies.
#[test]
fn deaths_are_taken_over_in_bounded_time() {
    // One, or two neighbours, whose watcher lives: T + g until suspicion (D2), four probes until the
    // verdict (D6), the lease of a holder that asked right before it died. Of three neighbours, the one in
    // the middle has no watcher left: its silence is seen when the roll is called (D4), a probe interval or
    // two later.
    let (one, chain) = (220 * MILLI, 245 * MILLI);
    let cases = [
        (Victims::Any, 2, one),
        (Victims::Any, 3, one),
        (Victims::Plain, 4, one),
        (Victims::Controller, 4, one),
        (Victims::Neighbours(2), 5, one),
        (Victims::Neighbours(3), 9, chain),
        (Victims::Any, 16, one),
    ];
    for (victims, nodes, bound) in cases {
        let all = outages(victims, nodes, ProbeInterval::Auto);
        let worst = all.last().copied().expect("somebody had a service");
        assert!(worst <= bound, "{victims:?} of {nodes}: worst {} ms", worst / MILLI);
    }
}
