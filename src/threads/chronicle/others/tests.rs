use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1_000_000_000 + millis * 1_000_000)
}

fn happening(number: u64) -> Happening {
    Happening { number, time_us: number, text: String::new(), fields: String::new() }
}

fn hear(other: &mut Other, millis: u64, after: u64, newest: u64, numbers: &[u64]) -> Vec<u64> {
    let events = numbers.iter().copied().map(happening).collect();
    let fresh = other.hear(at(millis), (9, after, newest), events);
    fresh.into_iter().map(|event| event.number).collect()
}

#[test]
fn what_is_repeated_or_overlaps_counts_once() {
    let mut other = Other::remembered(9, 4);
    assert_eq!(hear(&mut other, 0, 4, 6, &[5, 6]), [5, 6]);
    assert_eq!(hear(&mut other, 1, 4, 6, &[5, 6]), [0_u64; 0]);
    assert_eq!(hear(&mut other, 2, 5, 7, &[6, 7]), [7]);
    assert_eq!(hear(&mut other, 3, 7, 7, &[]), [0_u64; 0]);
    assert_eq!(other.due(), None);
}

#[test]
fn a_gap_is_asked_for_a_bounded_number_of_times_and_filled() {
    let mut other = Other::remembered(9, 4);
    assert_eq!(hear(&mut other, 0, 6, 8, &[7, 8]), [0_u64; 0], "5 and 6 come first");
    assert_eq!(other.question(at(10)), None, "the sender may still go on by itself");
    let mut questions = 0;
    for millis in (0..60_000).step_by(50) {
        questions += u32::from(other.question(at(millis)) == Some((9, 4)));
    }
    assert_eq!((questions, other.due()), (ASKED_MAX, None));
    // Its next word begins it again; an answer leads to the next question at once.
    hear(&mut other, 60_000, 8, 8, &[]);
    assert!(other.question(at(60_400)).is_some());
    assert_eq!(hear(&mut other, 60_401, 4, 8, &[5]), [5]);
    assert_eq!(other.question(at(60_460)), Some((9, 5)));
    // What the sender has forgotten is not waited for.
    assert_eq!(hear(&mut other, 60_461, 5, 8, &[]), [0_u64; 0]);
    assert_eq!(other.due(), None);
}

#[test]
fn a_lost_file_begins_another_list_and_the_past_is_bounded() {
    let mut other = Other::remembered(8, 500);
    assert_eq!(hear(&mut other, 0, 0, 2, &[1, 2]), [1, 2], "another list");
    let mut stranger = Other::default();
    hear(&mut stranger, 0, 100_000, 100_000, &[]);
    assert_eq!(stranger.question(at(1_000)), Some((9, 100_000 - PAST_MAX)));
}

#[test]
fn the_fastest_packet_tells_how_the_clocks_differ() {
    let mut other = Other::default();
    assert_eq!(other.own_time_us(5), 5);
    for (own, its) in [(10_900, 10), (10_400, 200), (50_000, 300)] {
        other.compare_clocks(own, its);
    }
    assert_eq!(other.offset_us(), 10_200);
    assert_eq!(other.own_time_us(1_000), 11_200);
    let mut behind = Other::default();
    behind.compare_clocks(0, u64::MAX);
    behind.compare_clocks(u64::MAX, 0);
    assert_eq!(behind.own_time_us(0), 0, "garbage moves nothing beyond the ends");
}
