use super::*;
use crate::threads::driver::Told;
use crate::threads::mailbox::{Received, latest, mailbox};
use crate::vocabulary::{Instant, ServiceId};
use crate::wire::{Member, Phase, Slot};
use std::path::PathBuf;
use std::time::Duration;

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("diehard-storage-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).expect("made");
    path
}

fn state(version: u64) -> State {
    let id = NodeId(1);
    State {
        epoch: Epoch { term: Term { round: 3, author: id, life: Incarnation(5) }, version },
        lineage: 9,
        hello_interval: Duration::from_millis(100),
        probe_divisor: 8,
        longest_interval: Duration::from_millis(100),
        coarsest_divisor: 8,
        frozen: false,
        members: vec![Member { id, incarnation: Incarnation(5), standby: true, leaving: false }],
        base: vec![],
        table: vec![Slot {
            service: ServiceId::of("www1"),
            holder: Some(id),
            phase: Phase::Held,
            pinned: true,
        }],
    }
}

fn record() -> Record {
    let voted = Term { round: 8, author: NodeId(2), life: Incarnation(6) };
    Record { incarnation: Incarnation(7), voted, committed: Some(state(4)), proposed: Some(state(5)) }
}

#[test]
fn records_go_round_and_garbled_ones_are_refused() {
    let full = record();
    let nothing = Record { committed: None, proposed: None, ..record() };
    let half = Record { committed: None, ..record() };
    for record in [full, nothing, half] {
        let bytes = encode(&record);
        assert_eq!(decode(&bytes), Some(record));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut to {length}");
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(decode(&[&[VERSION + 1], &bytes[1..]].concat()), None);
    }
}

#[test]
fn every_life_is_newer_than_all_before() {
    let directory = directory("lives");
    let (first, nothing) = Storage::begin(&directory, 1_000).expect("begins");
    assert_eq!((first.incarnation(), nothing), (Incarnation(1_000), None));
    let (second, remembered) = Storage::begin(&directory, 900).expect("begins");
    assert_eq!(second.incarnation(), Incarnation(1_001), "whatever the wall clock says");
    assert_eq!(remembered.map(|record| record.incarnation), Some(Incarnation(1_000)));
    assert!(Storage::begin(&directory.join("missing"), 1).is_err());
    std::fs::remove_dir_all(directory).expect("ours");
}

#[test]
fn the_newest_order_is_written_and_answers_for_all() {
    let directory = directory("orders");
    let (storage, _) = Storage::begin(&directory, 1).expect("begins");
    let (place, orders) = latest::<Order>();
    let (driver, told) = mailbox(8);
    place.change(|order| order.record = Some((Box::new(Record { voted: Epoch::NONE.term, ..record() }), 1)));
    place.change(|order| order.record = Some((Box::new(record()), 2)));
    place.change(|order| order.incarnation = Some(Incarnation(8)));
    drop(place);
    storage.run(&orders, &driver);
    match told.receive_until(Instant::MAX) {
        Received::Message(Told::Happened(input)) => {
            assert!(matches!(*input, Input::Stored { token: 2, ok: true }), "{input:?}");
        }
        other => panic!("{other:?}"),
    }
    let (third, remembered) = Storage::begin(&directory, 1).expect("begins");
    assert_eq!(third.incarnation(), Incarnation(9));
    assert_eq!(remembered, Some(Record { incarnation: Incarnation(8), ..record() }));
    std::fs::remove_dir_all(directory).expect("ours");
}
