use super::*;
use crate::config::{CheckKind, CheckScope};
use crate::vocabulary::ServiceId;

const FORGET: Duration = Duration::from_secs(600);

fn check(policy: Vec<PolicyStep>) -> Check {
    Check {
        name: "www1-http".to_owned(),
        scope: CheckScope::Service(ServiceId::of("www1")),
        kind: CheckKind::Http,
        target: "http://203.0.113.21/".to_owned(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        fail: 3,
        rise: 2,
        policy,
        options: crate::config::CheckOptions::default(),
    }
}

fn restart(times: u32, seconds: u64) -> PolicyStep {
    PolicyStep::Restart { times, window: Duration::from_secs(seconds) }
}

fn at(second: u64) -> Instant {
    Instant::from_nanos(second * 1_000_000_000)
}

/// One result a second from the first second on: `x` bad, `X` certain, `.` good.
fn play(check: &Check, results: &str) -> (Ladder, Vec<(u64, Outcome)>) {
    let mut ladder = Ladder::new(check, at(0));
    let mut outcomes = Vec::new();
    for (second, result) in (1..).zip(results.chars()) {
        let finding = match result {
            '.' => Finding::well("200"),
            'x' => Finding::bad("500"),
            _ => Finding::gone("ended by signal 9"),
        };
        let outcome = ladder.take(check, FORGET, at(second), finding, true);
        if outcome != Outcome::Nothing {
            outcomes.push((second, outcome));
        }
    }
    (ladder, outcomes)
}

#[test]
fn only_failures_in_a_row_count() {
    let check = check(vec![PolicyStep::Alert]);
    let (ladder, outcomes) = play(&check, "xx.xx.xx.");
    assert_eq!(outcomes, []);
    assert_eq!(ladder.standing(), Standing::Well);
    let (ladder, outcomes) = play(&check, ".xxx.x..");
    assert_eq!(outcomes, [(4, Outcome::Step(PolicyStep::Alert)), (8, Outcome::Recovered)]);
    assert_eq!((ladder.standing(), ladder.since()), (Standing::Well, at(8)));
    assert_eq!(ladder.message(), "200");
}

#[test]
fn what_is_certain_needs_no_repetition() {
    let check = check(vec![restart(1, 60)]);
    let (ladder, outcomes) = play(&check, ".X");
    assert_eq!(outcomes, [(2, Outcome::Step(restart(1, 60)))]);
    assert_eq!(ladder.message(), "ended by signal 9");
}

#[test]
fn the_ladder_runs_as_written() {
    let check = check(vec![restart(3, 60), PolicyStep::Move, PolicyStep::Standby]);
    let (ladder, outcomes) = play(&check, &"x".repeat(30));
    let steps = [
        (3, Outcome::Step(restart(3, 60))),
        (6, Outcome::Step(restart(3, 60))),
        (9, Outcome::Step(restart(3, 60))),
        (12, Outcome::Step(PolicyStep::Move)),
        (15, Outcome::Step(PolicyStep::Standby)),
        (18, Outcome::Exhausted),
    ];
    assert_eq!(outcomes, steps, "and nothing after that but the first");
    assert_eq!((ladder.standing(), ladder.since()), (Standing::Failing, at(3)));
}

#[test]
fn a_window_gives_its_budget_back_and_forget_all_of_it() {
    let check = check(vec![restart(1, 10), PolicyStep::Move]);
    let (_, outcomes) = play(&check, &"x".repeat(16));
    let steps: Vec<u64> = outcomes.iter().map(|(second, _)| *second).collect();
    assert_eq!(steps, [3, 6, 9, 15], "restart, move, nothing left, restart again");
    assert_eq!(outcomes[3].1, Outcome::Step(restart(1, 10)));
    let mut ladder = play(&check, "xxxxxx").0;
    let mut late = |second| ladder.take(&check, FORGET, at(second), Finding::gone("gone"), true);
    assert_eq!(late(605), Outcome::Step(restart(1, 10)));
    assert_eq!(late(606), Outcome::Step(PolicyStep::Move), "10 min after the first one");
    assert_eq!(late(607), Outcome::Exhausted);
}

#[test]
fn recovery_does_not_give_the_budget_back() {
    let check = check(vec![restart(1, 60), PolicyStep::Move]);
    let (_, outcomes) = play(&check, "xxx..xxx");
    let steps =
        [(3, Outcome::Step(restart(1, 60))), (5, Outcome::Recovered), (8, Outcome::Step(PolicyStep::Move))];
    assert_eq!(outcomes, steps, "who fails again and again is moved");
}

#[test]
fn who_does_not_hold_the_service_takes_no_step_and_spends_no_budget() {
    let check = check(vec![restart(1, 60), PolicyStep::Move]);
    let mut ladder = Ladder::new(&check, at(0));
    for second in 1..=9 {
        let outcome = ladder.take(&check, FORGET, at(second), Finding::bad("500"), false);
        assert_eq!(outcome, Outcome::Nothing);
    }
    assert_eq!((ladder.standing(), ladder.since()), (Standing::Failing, at(3)));
    let outcome = ladder.take(&check, FORGET, at(10), Finding::gone("gone"), true);
    assert_eq!(outcome, Outcome::Step(restart(1, 60)));
}

#[test]
fn who_begins_anew_remembers_what_was_done() {
    let check = check(vec![restart(1, 60), PolicyStep::Move]);
    let (mut ladder, outcomes) = play(&check, "xxxxx");
    assert_eq!(outcomes.len(), 1);
    ladder.begin_anew(at(6), "it came here");
    assert_eq!((ladder.standing(), ladder.since(), ladder.bad_in_a_row()), (Standing::Unknown, at(6), 0));
    let outcome = ladder.take(&check, FORGET, at(7), Finding::gone("gone"), true);
    assert_eq!(outcome, Outcome::Step(PolicyStep::Move), "the restart was spent");
}

#[test]
fn what_was_tried_is_counted_until_it_is_forgotten() {
    let check = check(vec![restart(3, 60), PolicyStep::Move]);
    let (ladder, _) = play(&check, "xxxxxxxxxxxxx");
    let tally = |second| ladder.tally(&check, FORGET, at(second));
    assert_eq!(tally(14).bad_in_a_row, 1);
    let tried =
        |second| tally(second).steps.iter().map(|it| (it.used, it.of, it.forgotten)).collect::<Vec<_>>();
    assert_eq!(tried(14), [(3, 3, Some(at(63))), (1, 1, Some(at(612)))]);
    assert_eq!(tried(64), [(2, 3, Some(at(66))), (1, 1, Some(at(612)))]);
    assert_eq!(tried(612), [(0, 3, None), (0, 1, None)]);
}
