//! Made-up histories: what is wrong is found, what is right passes.

use super::*;

const T: Duration = Duration::from_millis(100);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A server that answers from one moment to another.
fn stretch(server: usize, from: u64, to: u64) -> Stretch {
    Stretch {
        server,
        first_sent: ms(from),
        first_received: ms(from) + Duration::from_micros(100),
        sent: ms(to),
        received: ms(to) + Duration::from_micros(100),
        answers: (to - from) / 3 + 1,
    }
}

fn deed(fault: Fault, begin: u64, end: u64) -> Deed {
    Deed { fault, begin: ms(begin), end: ms(end) }
}

/// Watched from 0 to `end`.
fn history(stretches: Vec<Stretch>, deeds: Vec<Deed>, end: u64) -> History {
    History { stretches: vec![stretches], doubles: Vec::new(), deeds, watched: (ms(0), ms(end)), interval: T }
}

fn double(servers: [usize; 2], first: u64, last: u64) -> Double {
    Double { address: 0, servers: servers.to_vec(), first: ms(first), last: ms(last) }
}

fn complaints(history: &History) -> Vec<String> {
    history.judge().violations.into_iter().map(|violation| violation.what).collect()
}

#[test]
fn a_takeover_and_a_return_are_right() {
    // Power cut at 10 s, taken over after 170 ms; home again, with both ends answering in turns for 20 ms.
    let stretches = vec![
        stretch(0, 1, 9_999),
        stretch(1, 10_170, 16_000),
        stretch(0, 16_003, 16_009),
        stretch(1, 16_012, 16_020),
        stretch(0, 16_023, 30_000),
    ];
    let mut history = history(stretches, vec![deed(Fault::PowerCut(0), 10_000, 13_000)], 30_000);
    history.doubles.push(double([0, 1], 16_001, 16_021));
    let verdict = history.judge();
    assert_eq!(verdict.violations, []);
    let (count, outages) = &verdict.figures[&Class::PowerCut];
    assert_eq!((*count, outages.count()), (1, 1));
    assert!((170.0..172.0).contains(&outages.worst()), "{}", outages.worst());
    assert_eq!(verdict.handovers.count(), 1);
}

#[test]
fn two_that_answer_one_question_for_too_long_are_found() {
    let mut history = history(vec![stretch(0, 1, 20_000)], Vec::new(), 20_000);
    history.doubles.push(double([0, 2], 5_000, 5_041));
    let found = history.judge().violations;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].from, found[0].to), (ms(5_000), ms(5_041)));
    assert!(found[0].what.contains("web1 and web3 answered at the same time"), "{}", found[0].what);
}

#[test]
fn a_giver_that_is_stopped_in_the_very_handover_is_excused_and_counted() {
    let stopped = vec![deed(Fault::StopWhole(0), 5_000, 9_000)];
    let mut history = history(vec![stretch(0, 1, 20_000)], stopped, 20_000);
    history.doubles.push(double([0, 2], 5_010, 7_030));
    let verdict = history.judge();
    assert_eq!((verdict.violations.len(), verdict.excused), (0, 1));
    // Not if the kernel's lifetime is over, not if another was stopped, not if it is no handover's moment.
    for wrong in [double([0, 2], 5_010, 7_200), double([1, 2], 5_010, 7_000), double([0, 2], 5_200, 7_000)] {
        history.doubles = vec![wrong.clone()];
        assert_eq!(history.judge().violations.len(), 1, "{wrong:?}");
    }
}

#[test]
fn answers_in_turns_are_two_holders() {
    // The client's cache is torn between two for 300 ms, no two ever seen by one question.
    let mut stretches = vec![stretch(0, 1, 5_000)];
    for turn in 0..10_u64 {
        let (from, server) = (5_003 + turn * 30, usize::from(turn % 2 == 0));
        stretches.push(stretch(server, from, from + 27));
    }
    stretches.push(stretch(1, 5_303, 10_000));
    let found = complaints(&history(stretches, Vec::new(), 10_000));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("in turns"), "{found:?}");
}

#[test]
fn one_late_return_is_two_holders_and_a_later_one_is_a_move() {
    let back_after = |pause: u64| {
        let back = 5_003 + pause;
        let stretches = vec![stretch(0, 1, 5_000), stretch(1, 5_003, back - 3), stretch(0, back, 9_000)];
        complaints(&history(stretches, Vec::new(), 9_000)).len()
    };
    assert_eq!(back_after(20), 0, "a handover");
    assert_eq!(back_after(60), 1, "too long for a handover, too short for anything else");
    assert_eq!(back_after(400), 0, "taken, and taken again");
}

#[test]
fn an_overtaken_answer_is_no_return() {
    // Asked at 4,990 while server 0 had it, received after server 1's first answer.
    let mut late = stretch(0, 4_990, 4_990);
    late.first_received = ms(5_060);
    late.received = ms(5_060);
    let stretches = vec![stretch(0, 1, 4_987), stretch(1, 5_000, 5_057), late, stretch(1, 5_061, 9_000)];
    assert_eq!(complaints(&history(stretches, Vec::new(), 9_000)), Vec::<String>::new());
}

#[test]
fn an_outage_beyond_the_bound_is_found() {
    let after = |outage: u64| {
        let stretches = vec![stretch(0, 1, 9_999), stretch(1, 9_999 + outage, 20_000)];
        complaints(&history(stretches, vec![deed(Fault::PowerCut(0), 10_000, 13_000)], 20_000))
    };
    assert_eq!(after(500), Vec::<String>::new());
    let found = after(600);
    assert!(found.len() == 1 && found[0].contains("nobody answered for 600ms"), "{found:?}");
}

#[test]
fn an_outage_without_a_fault_is_found() {
    let stretches = vec![stretch(0, 1, 9_999), stretch(0, 10_400, 20_000)];
    let found = complaints(&history(stretches.clone(), Vec::new(), 20_000));
    assert!(found.len() == 1 && found[0].contains("(no fault)"), "{found:?}");
    // One long before or after explains nothing.
    for begin in [1_000, 15_000] {
        let deeds = vec![deed(Fault::PowerCut(1), begin, begin + 500)];
        assert_eq!(complaints(&history(stretches.clone(), deeds, 20_000)).len(), 1, "fault at {begin}");
    }
}

#[test]
fn faults_that_overlap_may_cost_the_sum() {
    let stretches = vec![stretch(0, 1, 9_999), stretch(1, 10_690, 20_000)];
    let one = deed(Fault::PowerCut(0), 10_000, 12_000);
    let other = deed(Fault::PowerCut(2), 10_100, 12_000);
    assert_eq!(complaints(&history(stretches.clone(), vec![one.clone()], 20_000)).len(), 1);
    assert_eq!(complaints(&history(stretches, vec![one, other], 20_000)).len(), 0);
}

#[test]
fn a_second_stopped_server_may_cost_a_second_lifetime() {
    let stretches = vec![stretch(0, 1, 11_999), stretch(3, 14_600, 20_000)];
    let one = deed(Fault::StopWhole(0), 10_000, 16_000);
    let other = deed(Fault::StopWhole(1), 11_900, 16_000);
    assert_eq!(complaints(&history(stretches.clone(), vec![one.clone()], 20_000)).len(), 1);
    assert_eq!(complaints(&history(stretches, vec![one, other], 20_000)).len(), 0);
}

#[test]
fn what_is_deleted_from_a_stopped_server_may_cost_its_lifetime() {
    let stretches = vec![stretch(0, 1, 10_500), stretch(3, 12_600, 20_000)];
    let stopped = deed(Fault::StopWhole(0), 10_000, 16_000);
    let deleted = deed(Fault::AliasDeleted(0), 10_500, 10_502);
    for deeds in [vec![stopped.clone()], vec![deleted.clone()]] {
        assert_eq!(complaints(&history(stretches.clone(), deeds, 20_000)).len(), 1);
    }
    assert_eq!(complaints(&history(stretches, vec![stopped, deleted], 20_000)).len(), 0);
}

#[test]
fn silence_at_the_beginning_and_at_the_end_counts() {
    let late = history(vec![stretch(0, 900, 10_000)], Vec::new(), 10_000);
    let early = history(vec![stretch(0, 1, 9_000)], Vec::new(), 10_000);
    let never = history(Vec::new(), Vec::new(), 10_000);
    for history in [late, early, never] {
        assert_eq!(complaints(&history).len(), 1, "{:?}", history.stretches);
    }
}

#[test]
fn an_unseen_cut_explains_an_outage_as_long_as_itself_and_no_longer() {
    let after = |outage: u64| {
        let stretches = vec![stretch(0, 1, 9_999), stretch(0, 9_999 + outage, 20_000)];
        let cut = Fault::Cut(0, crate::world::Lan::External, crate::world::Direction::Both);
        complaints(&history(stretches, vec![deed(cut, 10_000, 13_000)], 20_000)).len()
    };
    assert_eq!((after(3_200), after(3_400)), (0, 1));
}

#[test]
fn every_class_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(names.len(), Class::ALL.len());
}
