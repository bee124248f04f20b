use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const LIFE: Incarnation = Incarnation(5);

#[test]
fn each_sequence_once_in_any_order() {
    let mut window = ReplayWindow::new(LIFE, 10);
    assert_eq!(window.accept(LIFE, 10), Err(Stale::Replayed));
    for sequence in [12, 11, 9, 0, 500] {
        assert_eq!(window.accept(LIFE, sequence), Ok(()), "{sequence}");
        assert_eq!(window.accept(LIFE, sequence), Err(Stale::Replayed), "{sequence}");
    }
}

#[test]
fn the_window_has_two_sharp_ends() {
    let mut window = ReplayWindow::new(LIFE, 5_000);
    assert_eq!(window.accept(LIFE, 5_000 - WINDOW), Err(Stale::Old));
    assert_eq!(window.accept(LIFE, 5_001 - WINDOW), Ok(()));
    assert_eq!(window.accept(LIFE, u64::MAX), Ok(()));
    assert_eq!(window.accept(LIFE, u64::MAX), Err(Stale::Replayed));
    assert_eq!(window.accept(LIFE, u64::MAX - WINDOW), Err(Stale::Old));
    assert_eq!(window.accept(LIFE, u64::MAX - WINDOW + 1), Ok(()));
}

#[test]
fn a_new_life_begins_anew_and_ends_the_old_one() {
    let mut window = ReplayWindow::new(LIFE, 1_000_000);
    assert_eq!(window.accept(Incarnation(6), 1), Ok(()));
    assert_eq!(window.accept(Incarnation(6), 1), Err(Stale::Replayed));
    assert_eq!(window.accept(LIFE, 1_000_001), Err(Stale::EndedLife));
    assert_eq!(window.accept(Incarnation(6), 2), Ok(()));
}

#[test]
fn a_refusal_changes_nothing() {
    let mut window = ReplayWindow::new(LIFE, 5_000);
    let before = window.clone();
    for (life, sequence) in [(LIFE, 5_000), (LIFE, 1), (Incarnation(4), 9_000)] {
        assert!(window.accept(life, sequence).is_err());
    }
    assert_eq!(window, before);
}

#[test]
fn senders_are_apart_and_bounded() {
    let mut windows = ReplayWindows::new();
    for sender in 0..MAX_SENDERS as u32 {
        assert_eq!(windows.accept(NodeId(sender), LIFE, 7), Ok(()));
    }
    assert_eq!(windows.accept(NodeId(9_999), LIFE, 7), Err(Stale::Crowd));
    assert_eq!(windows.accept(NodeId(3), LIFE, 7), Err(Stale::Replayed));
    assert_eq!(windows.accept(NodeId(3), LIFE, 8), Ok(()), "a known sender goes on");
}

proptest! {
    /// Against the plain truth: a set of all that was taken.
    #[test]
    fn as_a_set_would_have_it(steps in proptest::collection::vec(prop_oneof![
        20 => 0_u64..2_500, 5 => 0_u64..100_000, 1 => any::<u64>()
    ], 1..600)) {
        let mut window = ReplayWindow::new(LIFE, 0);
        let mut taken = BTreeSet::from([0]);
        for sequence in steps {
            let newest = *taken.last().expect("never empty");
            let expected = if taken.contains(&sequence) && newest - sequence < WINDOW {
                Err(Stale::Replayed)
            } else if sequence < newest && newest - sequence >= WINDOW {
                Err(Stale::Old)
            } else {
                Ok(())
            };
            prop_assert_eq!(window.accept(LIFE, sequence), expected);
            if expected.is_ok() {
                taken.insert(sequence);
            }
        }
    }
}
