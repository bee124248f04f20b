use super::*;
use crate::config::EVENTS;
use crate::control::status::samples::{WEB1, WEB2, config, www};
use crate::controller::{LocalFault, Tampering};
use crate::vocabulary::{Epoch, Incarnation, LinkRole, Term};
use std::collections::{BTreeMap, BTreeSet};

const MANUAL: &str = include_str!("../../../man/diehard.conf.5");

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

/// Nobody waits for what the core never says.
#[test]
fn every_event_is_told_somewhere_in_the_core() {
    let mut core = String::new();
    let mut folders = vec![source("controller"), source("controller.rs")];
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            let inside = std::fs::read_dir(&path).expect("the sources");
            folders.extend(inside.map(|entry| entry.expect("a file").path()));
        } else if !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")) {
            core += &std::fs::read_to_string(&path).expect("text");
        }
    }
    for (event, _) in every_event() {
        let debug = format!("{event:?}");
        let name = debug.split([' ', '{']).next().expect("its name");
        let told = [" ", ";", ")"].map(|end| format!("event(Event::{name}{end}"));
        let planned = format!("push(Event::{name} ");
        let queued = format!("Effect::Event(Event::{name} ");
        assert!(
            told.iter().chain([&planned, &queued]).any(|call| core.contains(call.as_str())),
            "{name} is never told"
        );
    }
}

fn source(part: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part)
}

/// Every word in the modules that have them, with the names of its fields.
fn words_and_fields() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    let inside = |part: &str| {
        std::fs::read_dir(source(part)).expect("the sources").map(|entry| entry.expect("a file").path())
    };
    let files = inside("control").filter(|path| path.to_string_lossy().ends_with("_words.rs"));
    for path in files.chain([source("threads/keeper/events.rs")]) {
        let text = std::fs::read_to_string(&path).expect("text");
        let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        // Those of checks are made of a table: ("check-step", json!({...})).
        for rest in text.split("\"event\": \"").skip(1).chain(text.split("=> (\"").skip(1)) {
            let (word, rest) = rest.split_once('"').expect("its end");
            let (object, _) = rest.split_once("})").expect("the object's end");
            // A name is what a colon follows.
            let pieces: Vec<&str> = object.split('"').collect();
            let names =
                pieces.windows(2).filter(|pair| pair[1].starts_with(':')).map(|pair| pair[0].to_owned());
            assert_eq!(found.insert(word.to_owned(), names.collect()), None, "{word} twice");
        }
    }
    found
}

/// The configuration can name each of them, the log knows how grave it is, and the manual has both and the fields.
#[test]
fn every_word_is_in_the_configurations_table_and_in_the_manual() {
    let (_, chapter) = MANUAL.split_once("\n.Ss Events\n").expect("the chapter");
    let (chapter, _) = chapter.split_once("\n.El\n").expect("its end");
    let mut manual = BTreeMap::new();
    for entry in chapter.split("\n.It Cm ").skip(1) {
        let (head, text) = entry.split_once('\n').expect("a text");
        let (word, level) = head.split_once(" Pq ").expect("a level");
        let fields = text.split_once("\n.br\n.Va ").map_or("", |(_, fields)| fields);
        let fields =
            fields.split(" , ").filter(|field| !field.is_empty()).map(|field| field.trim().to_owned());
        manual.insert(word.to_owned(), (level, fields.collect::<BTreeSet<String>>()));
    }
    let found = words_and_fields();
    let built = found.into_iter().map(|(word, fields)| {
        let (_, severity) =
            EVENTS.iter().find(|(known, _)| **known == *word).unwrap_or_else(|| panic!("{word}"));
        (word, (severity.word(), fields))
    });
    let built: BTreeMap<_, _> = built.collect();
    assert_eq!(built.len(), EVENTS.len());
    assert_eq!(built, manual);
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
