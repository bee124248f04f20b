use super::*;
use crate::config::EVENTS;
use crate::control::status::samples::{WEB1, WEB2, config, www};
use crate::controller::{LocalFault, Tampering};
use crate::vocabulary::{Epoch, Incarnation, LinkRole, Term};

const MAC: [u8; 6] = [0, 0x16, 0x3e, 0, 0, 1];

fn every_event() -> Vec<(Event, &'static str)> {
    let epoch = Epoch { term: Term { round: 3, author: WEB1, life: Incarnation(1) }, version: 17 };
    let incarnation = Incarnation(17);
    let (node, service, why) = (WEB2, www(2), Why::HelloOverdue);
    vec![
        (Event::Booted { incarnation }, "started as incarnation 17"),
        (Event::Suspected { node, why }, "web2 is suspect: its HELLO is overdue on all links"),
        (Event::Cleared { node, why: Why::Heard }, "web2 is cleared of suspicion: it was heard"),
        (
            Event::Down { node, incarnation, after: Duration::from_micros(92_400) },
            "web2 is down (incarnation 17), 92 ms after the suspicion",
        ),
        (Event::Elected { epoch }, "this node is the controller now, epoch 3.17"),
        (Event::Following { controller: WEB1, epoch }, "following web1 as the controller, epoch 3.17"),
        (Event::ControllerLost { controller: WEB1 }, "the controller web1 is lost"),
        (Event::Joined { node, incarnation }, "web2 joined the cluster (incarnation 17)"),
        (Event::Left { node }, "web2 is no member of the cluster any more"),
        (Event::Committed { epoch }, "a majority stored the state 3.17"),
        (Event::Taken { service, from: Some(node) }, "www2 is served here now, taken over from web2"),
        (Event::Taken { service, from: None }, "www2 is served here now"),
        (Event::Released { service, why: Why::LeaseEnded }, "www2 is no longer served here: the lease ended"),
        (
            Event::MoveBegan { service, from: WEB1, to: WEB2, why: Why::Failback },
            "www2 begins to move from web1 to web2: it goes back home",
        ),
        (Event::MoveDone { service, to: WEB2 }, "www2 has moved to web2"),
        (
            Event::MoveAborted { service, to: WEB2, why: Why::TimedOut },
            "the move of www2 to web2 was given up: it took too long",
        ),
        (
            Event::Assigned { service, from: Some(WEB2), to: Some(WEB1), why: Why::HolderDown },
            "www2 is assigned to web1 instead of web2: its holder is down",
        ),
        (
            Event::Assigned { service, from: None, to: None, why: Why::ColdStart },
            "www2 is assigned to nobody instead of nobody: the cluster starts",
        ),
        (
            Event::Blocked { service, mac: MAC },
            "www2 is not taken: 00:16:3e:00:00:01 still answers for its address",
        ),
        (
            Event::Rival { service, mac: MAC },
            "www2 is claimed by 00:16:3e:00:00:01 too, while it is served here",
        ),
        (
            Event::Forced { service, mac: Some(MAC) },
            "www2 is TAKEN BY FORCE (on_conflict = force) although 00:16:3e:00:00:01 still answers for its \
             address: two machines may have it now",
        ),
        (Event::RivalGone { service }, "www2 is claimed by nobody else any more"),
        (
            Event::CheckSuspected { service, nodes: 2 },
            "ALERT: checks of www2 fail on 2 nodes at once: they are suspected, or what stands behind them; \
             nothing is moved",
        ),
        (
            Event::Tampered { service, how: Tampering::Removed },
            "somebody removed an address of www2 from this node: put back",
        ),
        (
            Event::GaveUp { service, how: Tampering::Changed, times: 6 },
            "www2 is given up, another node shall have it: somebody goes on changing its addresses on this \
             node (6 times within a minute)",
        ),
        (
            Event::SendsFail { role: LinkRole::Internal, fault: LocalFault::Refused },
            "this machine cannot send on the internal link: a packet filter refuses it; a fault of its own, \
             no silence of the others",
        ),
        (Event::SendsWork { role: LinkRole::External }, "sending on the external link works again"),
        (Event::StartFailed { service }, "www2 could not be started here: another node shall have it"),
        (Event::LeaseLost, "the lease ran out: nothing is served here"),
        (Event::LeaseGained { epoch }, "a lease was granted at epoch 3.17: this node may serve"),
        (Event::QuorumLost, "quorum is lost: nothing is served here"),
        (
            Event::WentAlone { lineage: 0xab },
            "going on without a majority, as the quorum rule allows (lineage 00000000000000ab)",
        ),
        (Event::Merged { winner: WEB1 }, "two parts of the cluster met again, web1 leads"),
        (
            Event::Late { by: Duration::from_micros(2_340) },
            "this machine woke 2.3 ms late: silence in that time counts for nothing",
        ),
        (Event::Link { role: LinkRole::External, up: false }, "the external link is down"),
        (Event::Link { role: LinkRole::Internal, up: true }, "the internal link is up"),
        (Event::HearsNobody, "this node hears nobody: it takes itself for cut off, and nobody for dead"),
        (
            Event::GatewaySuspected { nodes: 3 },
            "ALERT: the gateway does not answer 3 nodes at once: it is suspected itself; nothing is moved",
        ),
        (Event::PathFault { node }, "the path to web2 is cut, but others hear it: no takeover"),
        (
            Event::Reborn { incarnation },
            "the others took this node for dead: it released everything and rejoins as 17",
        ),
        (Event::StoreFailed, "the state could not be written to disk: this node promises nothing"),
        (Event::Reloaded, "the configuration was reloaded"),
        (Event::Leaving, "leaving in order: services are handed over first"),
    ]
}

#[test]
fn every_event_is_one_clear_line() {
    for (event, expected) in every_event() {
        assert_eq!(event_text(&event, &config()), expected);
    }
}

#[test]
fn every_event_has_its_own_name_and_whole_content() {
    let mut names = std::collections::BTreeSet::new();
    for (event, _) in every_event() {
        let fields = event_fields(&event, &config());
        names.insert(fields["event"].as_str().expect("a name").to_owned());
        // What Rust calls the fields of the variant is in the JSON as well (durations with their unit).
        let debug = format!("{event:?}");
        let inner = debug.split_once('{').map_or("", |(_, inner)| inner);
        for name in ["node", "service", "incarnation", "from", "to", "why", "epoch", "mac", "lineage", "up"] {
            if inner.contains(&format!(" {name}: ")) {
                assert!(fields.contains_key(name), "{name} of {debug} in {fields:?}");
            }
        }
    }
}

/// The configuration can name each of them, and the log knows how grave it is. (Those of checks are built from a table
/// of their own, which is compared beside it.)
#[test]
fn every_word_in_these_modules_is_in_the_configurations_table() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |part: &str| std::fs::read_dir(root.join(part)).expect("the sources");
    let mut words = std::collections::BTreeSet::new();
    for entry in files("src/control").chain(files("src/threads/keeper")).map(|entry| entry.expect("a file")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with("_words.rs")
            || (name == "events.rs" && !entry.path().starts_with(root.join("src/control")))
        {
            let text = std::fs::read_to_string(entry.path()).expect("text");
            let after = text.split("\"event\": \"").skip(1);
            words.extend(after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    let of_a_check = |word: &str| word.starts_with("check-") && word != "check-suspected";
    let known = EVENTS.iter().map(|(word, _)| (*word).to_owned()).filter(|word| !of_a_check(word));
    assert_eq!(words, known.collect());
}

#[test]
fn fields_are_what_status_calls_them() {
    let event =
        Event::Down { node: WEB2, incarnation: Incarnation(17), after: Duration::from_micros(92_400) };
    let expected = json!({"event": "down", "node": "web2", "incarnation": 17, "after_ms": 92.4});
    assert_eq!(Value::Object(event_fields(&event, &config())), expected);
    let event = Event::Assigned { service: www(2), from: None, to: Some(WEB1), why: Why::Operator };
    let expected =
        json!({"event": "assigned", "service": "www2", "from": null, "to": "web1", "why": "operator"});
    assert_eq!(Value::Object(event_fields(&event, &config())), expected);
}

#[test]
fn strangers_are_named_by_their_numbers() {
    let event = Event::Taken { service: ServiceId(0xbeef), from: Some(NodeId(0xc0a8_0a63)) };
    assert_eq!(
        event_text(&event, &config()),
        "service 0000beef is served here now, taken over from 192.168.10.99"
    );
}
